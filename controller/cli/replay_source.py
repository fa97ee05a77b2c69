"""Where the demand of a replay comes from: a trace, the controller's own store, or Prometheus."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from controller.clock import SystemClock
from controller.domain.identity import DeploymentId
from controller.errors import BadInputError
from controller.load.schedule import scale_rate
from controller.load.trace import read_trace
from controller.settings import prometheus_token
from controller.simulation.demand import Demand
from controller.simulation.from_prometheus import read_prometheus
from controller.simulation.from_store import read_store
from controller.simulation.past import Past, read_past
from controller.simulation.rates import Rates, recent, requests_of

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST_S = 31 * 86_400.0
_PAST_S = 15 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is replayed. ``origin`` is the Unix time of its second 0, None where nobody knows."""

    title: str
    demand: Demand
    past: Past | None = None
    origin: float | None = None
    deployment: DeploymentId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says about the demand."""

    trace: Path | None
    history: Path | None
    from_history: Path | None
    prometheus: str | None
    token_file: Path | None
    deployment: DeploymentId | None
    last_s: float
    scale: float
    from_s: float
    duration_s: float | None


def read_source(wanted: Wanted, progress: Callable[[str], Callable[[float], None]]) -> Source:
    """Read the one source that is given.

    Raises:
        BadInputError: none or several are given, or it is wrong.
        UnavailableError: Prometheus does not answer.

    """
    given = [one for one in (wanted.trace, wanted.from_history, wanted.prometheus) if one is not None]
    if len(given) != 1:
        msg = "give one of --trace FILE, --from-history STORE and --prometheus URL: what is to be replayed?"
        raise BadInputError(msg)
    if wanted.trace is not None:
        return _of_trace(wanted, wanted.trace)
    if wanted.history is not None:
        msg = "--history goes with --trace; what came before is taken from the same place here"
        raise BadInputError(msg)
    if wanted.from_history is not None:
        path = wanted.from_history
        deployment, rates = read_store(
            path, wanted.deployment, last_s=wanted.last_s, progress=progress(f"reading {path.name}")
        )
        return _of_rates(wanted, deployment, rates, source=str(path))
    return _of_prometheus(wanted, wanted.prometheus or "")


def parse_last(text: str) -> float:
    """Read ``90m``, ``12h`` or ``7d`` as seconds. Raises BadInputError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhd])\s*", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0.0 < seconds <= _LONGEST_S:
        msg = f"--last {text!r}: expected a time such as 90m, 12h or 7d, at most 31d"
        raise BadInputError(msg)
    return seconds


def _of_trace(wanted: Wanted, path: Path) -> Source:
    """Scale the trace as `foreserve load --rate-scale` does, then cut out the part that is wanted."""
    trace = read_trace(path)
    times, rows = scale_rate(trace.t_s, wanted.scale, trace.length_s, np.random.default_rng([0, 0]))
    whole = Demand(
        arrival_s=times,
        prompt_tokens=trace.prompt_tokens[rows],
        output_tokens=trace.output_tokens[rows],
        length_s=trace.length_s,
    )
    past = None if wanted.history is None else read_past(wanted.history, scale=wanted.scale).until(wanted.from_s)
    title = f"{path.name.split('.')[0]} x {wanted.scale:g}"
    return Source(title=title, demand=_excerpt(wanted, whole, path), past=past, deployment=wanted.deployment)


def _of_prometheus(wanted: Wanted, url: str) -> Source:
    if wanted.deployment is None:
        msg = "--prometheus needs --deployment APPLICATION/DEPLOYMENT, or a --policy: whose traffic is meant?"
        raise BadInputError(msg)
    deployment, now = wanted.deployment, SystemClock().now()
    token = prometheus_token(wanted.token_file)

    async def read() -> Rates:
        async with aiohttp.ClientSession() as session:
            return await read_prometheus(
                session, url, deployment, token=token, since=now - wanted.last_s - _PAST_S, until=now
            )

    return _of_rates(wanted, deployment, asyncio.run(read()), source=url)


def _of_rates(wanted: Wanted, deployment: DeploymentId, rates: Rates, *, source: str) -> Source:
    part, past = recent(rates, wanted.last_s, source=f"{source}: {deployment}")
    whole = requests_of(part, scale=wanted.scale, seed=0)
    return Source(
        title=f"{deployment}, its last {whole.length_s / 3600:.1f} h"
        + (f" x {wanted.scale:g}" if wanted.scale != 1 else ""),
        demand=_excerpt(wanted, whole, source),
        past=None if past is None else past.scaled(wanted.scale).until(wanted.from_s),
        origin=part.start + wanted.from_s,
        deployment=deployment,
    )


def _excerpt(wanted: Wanted, whole: Demand, source: object) -> Demand:
    end_s = whole.length_s if wanted.duration_s is None else wanted.from_s + wanted.duration_s
    part = whole.excerpt(wanted.from_s, end_s)
    if not len(part):
        msg = f"{source}: no request from {wanted.from_s:g} s to {end_s:g} s; it is {whole.length_s:.0f} s long"
        raise BadInputError(msg)
    return part
