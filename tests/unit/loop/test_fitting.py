"""A real worker process: it fits, is killed when it takes too long, and works again afterwards."""

import asyncio
import time

import numpy as np
import pytest

from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.loop.fitting import FitRequest, FitResult, FitWorker

pytestmark = pytest.mark.timeout(300)
"""A worker of the lowest priority waits for all others on a busy machine."""

KEY = (DeploymentId("app", "llm"), Signal.REQUESTS, 180.0)


class RealTime:
    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Hurried(RealTime):
    """A clock on which an hour passes between two looks."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        self.at += 3600
        return self.at


def request(bins: int = 600) -> FitRequest:
    values = tuple(np.random.default_rng(1).poisson(20, bins).astype(float).tolist())
    return FitRequest(KEY, History(start=0, step_s=60, values=values), 180.0, (0.9,))


async def result_of(worker: FitWorker) -> FitResult:
    result = worker.poll()
    while result is None:
        await asyncio.sleep(0.02)
        result = worker.poll()
    return result


async def test_a_model_is_fitted_beside_the_loop() -> None:
    worker = FitWorker(clock=RealTime())

    began = time.monotonic()
    assert worker.offer(request())
    assert not worker.offer(request())
    assert worker.poll() is None
    assert time.monotonic() - began < 1.0
    result = await result_of(worker)
    worker.close()

    assert result.problem is None
    assert result.model is not None
    assert result.model.rows == 597


async def test_a_fit_that_takes_too_long_is_given_up_and_the_next_one_is_not() -> None:
    worker = FitWorker(clock=Hurried(), timeout_s=60)

    worker.offer(request())
    assert worker.poll() == FitResult(KEY, None, "no model within 60 s")
    worker._clock = RealTime()
    assert worker.offer(request(bins=50))
    result = await result_of(worker)
    worker.close()

    assert result == FitResult(KEY, None, "not enough history")


async def test_a_fit_that_needs_too_much_memory_is_a_problem_and_not_a_crash() -> None:
    worker = FitWorker(clock=RealTime(), max_memory_bytes=64 * 1024**2)

    worker.offer(request())
    result = await result_of(worker)
    worker.close()

    assert result.model is None
    assert result.problem
