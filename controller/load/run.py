"""One run from beginning to end: connection pool, probe, generator, summary."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import aiohttp

from controller.load.generator import LoadGenerator
from controller.load.probe import probe
from controller.load.prompts import PromptSource, TokenScale
from controller.load.row import RequestRow
from controller.load.schedule import Arrival
from controller.load.summary import LoadSummary, SummaryFold
from controller.load.target import ChatSender, Target
from controller.load.tick import LoadTick, Meter
from controller.ports import Clock

DEFAULT_MAX_IN_FLIGHT = 4096
_KEEP_ALIVE_S = 3.0
"""Shorter than any server's, so that no request goes out on a connection that is just being closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to send where. ``token_scale`` None: ask the server with two tiny requests first."""

    target: Target
    schedule: Iterable[Arrival]
    seed: int = 0
    token_scale: TokenScale | None = None
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    drain_s: float = 10.0


async def run_load(
    plan: LoadPlan,
    *,
    clock: Clock,
    on_row: Callable[[RequestRow], None],
    on_tick: Callable[[LoadTick], None],
    stop_signals: Sequence[signal.Signals] = (),
) -> LoadSummary:
    """Run a plan to its end, or until one of ``stop_signals`` (a second one ends it at once).

    Raises:
        UnavailableError: the service does not answer the first request.
        BadInputError: it does not serve the model.

    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        scale = plan.token_scale or await probe(plan.target, session, seed=plan.seed) or TokenScale()
        meter, fold = Meter(), SummaryFold()

        def over(row: RequestRow) -> None:
            fold.add(row)
            on_row(row)

        prompts = PromptSource(seed=plan.seed, scale=scale)
        generator = LoadGenerator(
            sender=ChatSender(target=plan.target, session=session, prompts=prompts, clock=clock, meter=meter),
            meter=meter,
            clock=clock,
            on_row=over,
            on_tick=on_tick,
            max_in_flight=plan.max_in_flight,
            drain_s=plan.drain_s,
        )
        loop = asyncio.get_running_loop()
        for number in stop_signals:
            loop.add_signal_handler(number, generator.stop)
        try:
            await generator.run(plan.schedule)
        finally:
            for number in stop_signals:
                loop.remove_signal_handler(number)
        return fold.summary()
