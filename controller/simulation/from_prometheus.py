"""A deployment's history out of a Prometheus-compatible API, as rates to replay."""

from __future__ import annotations

import math

import aiohttp

from controller.collectors.past_demand import history_api, read_demand
from controller.domain.identity import DeploymentId
from controller.simulation.rates import SIGNALS, Rates

STEP_S = 30.0


async def read_prometheus(
    session: aiohttp.ClientSession,
    base_url: str,
    deployment: DeploymentId,
    *,
    token: str | None,
    since: float,
    until: float,
) -> Rates:
    """Ask for requests, prompt tokens and output tokens per second from ``since`` to ``until`` (Unix seconds).

    Raises:
        BadInputError: the URL cannot be fetched.
        UnavailableError: it does not answer, or not as Prometheus does.

    """
    start, end = math.floor(since / STEP_S) * STEP_S, math.ceil(until / STEP_S) * STEP_S
    api = history_api(base_url, session, token)
    values = await read_demand(api, deployment, SIGNALS, since=start, until=end, step_s=STEP_S)
    return Rates(start=start, step_s=STEP_S, values=values)
