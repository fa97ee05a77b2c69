"""Profiles a live endpoint: one probe, then the ramp, each step a run of the load generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import aiohttp

from controller.load.probe import probe
from controller.load.prompts import TokenScale
from controller.load.row import RequestRow
from controller.load.run import LoadPlan, run_load
from controller.load.schedule import Arrival
from controller.load.target import Target
from controller.ports import Clock
from controller.profile.ramp import RampPlan, RampStep, climb
from controller.profile.result import Profile, profile_of

PATIENCE = 10.0
"""A request that takes this many times its promised time has failed."""


async def measure(target: Target, plan: RampPlan, *, clock: Clock, on_step: Callable[[RampStep], None]) -> Profile:
    """Ramp the endpoint up to its objectives and fit the model.

    Raises:
        UnavailableError: the service does not answer the first request.
        BadInputError: it does not serve the model.

    """
    promised_s = plan.ttft_s + 2.0 * plan.output_tokens * plan.tpot_s
    patient = replace(target, timeout_s=min(target.timeout_s, PATIENCE * promised_s))
    async with aiohttp.ClientSession() as session:
        scale = await probe(patient, session, seed=plan.seed) or TokenScale()

    async def send(arrivals: Sequence[Arrival]) -> Sequence[RequestRow]:
        rows: list[RequestRow] = []
        load = LoadPlan(target=patient, schedule=arrivals, seed=plan.seed, token_scale=scale)
        await run_load(load, clock=clock, on_row=rows.append, on_tick=_unseen)
        return rows

    return profile_of(await climb(plan, send, on_step=on_step))


def _unseen(_: object) -> None:
    return
