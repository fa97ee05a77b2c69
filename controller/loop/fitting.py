"""Fits forecast models in one worker process beside the loop, so that no tick ever waits for a fit."""

from __future__ import annotations

import multiprocessing
import os
import resource
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from controller.domain.snapshot import History
from controller.forecast.adaptive import TrackKey
from controller.forecast.announced import Announced
from controller.forecast.fitted import FittedModel
from controller.forecast.fitting import fit
from controller.ports import Clock

_NICENESS = 19


@dataclass(frozen=True, slots=True)
class FitRequest:
    """One signal's coarse history, and what to learn from it."""

    key: TrackKey
    history: History
    horizon_s: float
    probabilities: tuple[float, ...]
    seed: int = 0
    announced: tuple[Announced, ...] = ()


@dataclass(frozen=True, slots=True)
class FitResult:
    """What came of a request: a model, or None and the reason."""

    key: TrackKey
    model: FittedModel | None
    problem: str | None = None


def fitted(request: FitRequest) -> FittedModel | None:
    """Fit what was asked for; None when there is too little to learn from."""
    return fit(
        request.history,
        horizon_s=request.horizon_s,
        probabilities=request.probabilities,
        seed=request.seed,
        announced=request.announced,
    )


class FitWorker:
    """Runs one fit at a time at the lowest priority, within ``max_memory_bytes`` and ``timeout_s``.

    ``offer`` and ``poll`` return at once. A fit that takes too long is killed with its process, and so is
    one that needs too much memory; the next one gets a new process. Meanwhile the last model is used.
    """

    def __init__(self, *, clock: Clock, timeout_s: float = 120.0, max_memory_bytes: int = 2 * 1024**3) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_memory_bytes = max_memory_bytes
        self._pool: ProcessPoolExecutor | None = None
        self._running: tuple[FitRequest, Future[FittedModel | None], float] | None = None

    @property
    def busy(self) -> bool:
        """Whether a fit is under way."""
        return self._running is not None

    def offer(self, request: FitRequest) -> bool:
        """Start a fit, unless one is under way."""
        if self._running is not None:
            return False
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_settle,
                initargs=(self._max_memory_bytes,),
            )
        try:
            future = self._pool.submit(fitted, request)
        except BrokenProcessPool:
            self._stop()
            return False
        self._running = (request, future, self._clock.monotonic())
        return True

    def poll(self) -> FitResult | None:
        """Return what has come of the fit under way; None while there is nothing to tell."""
        if self._running is None:
            return None
        request, future, began = self._running
        if not future.done():
            if self._clock.monotonic() - began < self._timeout_s:
                return None
            self._stop()
            return FitResult(request.key, None, f"no model within {self._timeout_s:.0f} s")
        self._running = None
        error = future.exception()
        if error is None:
            model = future.result()
            return FitResult(request.key, model, None if model is not None else "not enough history")
        if isinstance(error, BrokenProcessPool):
            self._stop()
        return FitResult(request.key, None, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """End the worker, whatever it does."""
        self._stop()

    def _stop(self) -> None:
        pool, self._pool, self._running = self._pool, None, None
        if pool is None:
            return
        workers = list(pool._processes.values())  # noqa: SLF001 - a pool cannot be told to end a running call
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()


def _settle(max_memory_bytes: int) -> None:
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
