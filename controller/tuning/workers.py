"""Who replays the candidates: this process, or Ray tasks here or on a cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from controller.errors import BadInputError, UnavailableError
from controller.tuning.problem import Problem, evaluate
from controller.tuning.search import Trial

_LOCAL_STORE_BYTES = 200_000_000
_RETRIES = 1
_KNOCK_S = 5.0


class Workers(Protocol):
    """Replays trials; gives each back as soon as it is finished, in any order."""

    def run(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Replay all of them."""
        ...


class InProcess:
    """One after the other, without Ray."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def run(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Replay all of them, in their order."""
        for trial in trials:
            yield evaluate(self._problem, trial)


class RayTasks:
    """One task with one CPU for each trial."""

    def __init__(self, ray: Any, problem: Problem) -> None:
        self._ray = ray
        self._problem = ray.put(problem)
        self._evaluate = ray.remote(num_cpus=1, max_retries=_RETRIES)(evaluate)

    def run(self, trials: Sequence[Trial]) -> Iterator[Trial]:
        """Replay all of them at once; one whose worker died says so."""
        running = {self._evaluate.remote(self._problem, trial): trial for trial in trials}
        while running:
            finished, _ = self._ray.wait(list(running), num_returns=1)
            trial = running.pop(finished[0])
            try:
                yield self._ray.get(finished[0])
            except self._ray.exceptions.RayError as error:
                yield replace(trial, problem=f"its worker failed: {str(error).splitlines()[0][:300]}")


@contextmanager
def workers(problem: Problem, *, jobs: int, address: str | None) -> Iterator[Workers]:
    """Give workers: in this process for one job; else a Ray of ``jobs`` CPUs, or the cluster at ``address``.

    Raises:
        BadInputError: Ray is needed and not installed.
        UnavailableError: the cluster does not answer.

    """
    if jobs == 1 and address is None:
        yield InProcess(problem)
        return
    if address is not None:
        _check_reachable(address)
    ray = _ray()
    # One thread each: a task has one CPU.
    environment = {"env_vars": dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    try:
        if address is not None:
            ray.init(address=address, runtime_env=environment, log_to_driver=False)
        else:
            ray.init(
                address="local",
                num_cpus=jobs,
                object_store_memory=_LOCAL_STORE_BYTES,
                include_dashboard=False,
                runtime_env=environment,
                log_to_driver=False,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "this machine"
        msg = f"Ray on {where}: {error}; check --address, or use --jobs 1"
        raise UnavailableError(msg) from error
    try:
        yield RayTasks(ray, problem)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Knock at HOST:PORT, as Ray ends the whole process when nobody is there. Raises UnavailableError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
    except (OSError, OverflowError) as error:
        msg = f"Ray on {address}: {error}; check --address, or leave it out to run here"
        raise UnavailableError(msg) from error


def default_jobs() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415 - an extra
        import ray.exceptions  # noqa: PLC0415
    except ImportError:
        msg = "--jobs above 1 and --address need Ray: pip install 'foreserve[local]'; --jobs 1 works without it"
        raise BadInputError(msg) from None
    return ray
