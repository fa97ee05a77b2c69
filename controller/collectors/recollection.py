"""What a new controller can know of the weeks before it: demand that Prometheus recorded."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.collectors.past_demand import Floats, read_demand
from controller.collectors.prometheus_api import PrometheusApi
from controller.domain.identity import DeploymentId
from controller.domain.signals import MEASURED, Signal
from controller.errors import UnavailableError

_TOGETHER = 4
_LEAST_GAP_S = 300.0
"""A shorter gap in what the store knows is not worth the queries."""

_FINEST_S = 30.0
"""Rates over a minute say nothing finer; finer bins repeat them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grain:
    """One resolution that is kept: bins of ``step_s`` over ``span_s`` seconds."""

    step_s: float
    span_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastDemand:
    """One signal's past in bins of ``step_s`` from ``start`` (Unix seconds), NaN where unknown."""

    deployment: DeploymentId
    signal: Signal
    start: float
    step_s: float
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What was found, and sentences about it for people."""

    past: tuple[PastDemand, ...] = ()
    said: tuple[str, ...] = ()


async def recollect(
    api: PrometheusApi,
    deployments: Sequence[DeploymentId],
    *,
    known_until: Mapping[DeploymentId, float],
    grains: Sequence[Grain],
    now: float,
    within_s: float = 30.0,
) -> Recollection:
    """Read what is not known yet of each deployment's past, several at once, for ``within_s`` seconds at most.

    ``known_until`` says when what the store knows of a deployment ends (Unix seconds). What cannot be read is said,
    and learned from now on.
    """
    gate = asyncio.Semaphore(_TOGETHER)
    wanted = [one for one in deployments if now - known_until.get(one, 0.0) > _LEAST_GAP_S]

    async def read(deployment: DeploymentId) -> tuple[PastDemand, ...]:
        async with gate:
            found: list[PastDemand] = []
            for grain in grains:
                since = max(now - grain.span_s, known_until.get(deployment, 0.0))
                found += await _read(api, deployment, grain, since=since, until=now)
            return tuple(found)

    tasks = {deployment: asyncio.create_task(read(deployment)) for deployment in wanted}
    if tasks:
        _, late = await asyncio.wait(tasks.values(), timeout=within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    answers = {deployment: _answer(task, within_s) for deployment, task in tasks.items()}
    return Recollection(
        past=tuple(one for answer in answers.values() if not isinstance(answer, str) for one in answer),
        said=tuple(f"{deployment}: {_said(answer)}" for deployment, answer in answers.items()),
    )


async def _read(
    api: PrometheusApi, deployment: DeploymentId, grain: Grain, *, since: float, until: float
) -> list[PastDemand]:
    step_s = max(grain.step_s, _FINEST_S)
    # Whole bins of both steps; the newest one is not over yet.
    start, end = math.floor(since / step_s) * step_s, math.floor(until / step_s) * step_s
    values = await read_demand(api, deployment, MEASURED, since=start, until=end, step_s=step_s)
    each = round(step_s / grain.step_s)
    return [
        PastDemand(
            deployment=deployment, signal=signal, start=start, step_s=grain.step_s, values=np.repeat(found, each)
        )
        for signal, found in values.items()
    ]


def _answer(task: asyncio.Task[tuple[PastDemand, ...]], within_s: float) -> tuple[PastDemand, ...] | str:
    if task.cancelled():
        return f"its past could not be read within {within_s:g} s; it is learned from now on"
    error = task.exception()
    if isinstance(error, UnavailableError):
        return f"its past could not be read and is learned from now on: {error}"
    if error is not None:
        raise error
    return task.result()


def _said(answer: tuple[PastDemand, ...] | str) -> str:
    if isinstance(answer, str):
        return answer
    hours = max((np.isfinite(one.values).sum() * one.step_s / 3600.0 for one in answer), default=0.0)
    return f"{hours:.1f} h of its past read from Prometheus" if hours else "Prometheus knows nothing of its past"
