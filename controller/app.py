"""The composition root: one process that runs, or one plan that touches nothing."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, TextIO

import aiohttp
from structlog.typing import FilteringBoundLogger

from controller.actuators.serve_guided import FloorBoard
from controller.api.interventions import add_interventions
from controller.api.routes import RecordReader, api
from controller.api.server import ApiServer, listen
from controller.api.tokens import TokenFile, Tokens, parse_tokens
from controller.api.webhooks import add_webhooks
from controller.assembly import (
    Memory,
    Surroundings,
    canary_keeper,
    control_loop,
    interventions,
    receivers,
    recollected,
    serve_client,
)
from controller.canary.keeper import CanaryKeeper
from controller.catalog import exported
from controller.clients.serve import ServeClient
from controller.clock import SystemClock
from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.errors import BadInputError, UnavailableError
from controller.export.compact import LineExporter
from controller.export.latest import LatestTick
from controller.export.log import LogExporter, json_log
from controller.export.metrics import MetricsExporter
from controller.interventions.copied import CopiedShelf
from controller.interventions.overrides import KIND as OVERRIDE
from controller.interventions.words import SpokenWords
from controller.loop.control import ControlLoop
from controller.loop.schedule import every
from controller.loop.unrecorded import NothingKept
from controller.on_kubernetes import on_kubernetes
from controller.policy.load import PolicyFile
from controller.policy.model import Mode
from controller.ports import Clock, Exporter, Leadership, LoopEvent, StoreError
from controller.settings import Settings
from controller.store.hand_over import ConfigMapHandOver
from controller.store.reader import StoreReader
from controller.store.sqlite import SqliteStore
from controller.web.feed import Feed
from controller.web.feeds import feeds
from controller.web.pages import pages
from controller.web.recall import one_record_reader, recall
from controller.web.shown import Shown
from controller.web.timeline import Timeline
from controller.webhooks.courier import Courier
from controller.webhooks.outbox import Outbox, outbox_path

Say = Callable[[str], None]

Tick = Callable[[], Awaitable[object]]

PLAN_LOOKS = 3
"""How often ``plan`` looks: at both ends of the window and in its middle, so that rates are known."""

_COLLECT_GARBAGE_AFTER = (100_000, 20, 10)
"""Python's default looks through all that is remembered several times a tick: a fifth of a large fleet's time."""

_API_END_S = 3.0
_TELL_STOP_S = 2.0
_LEAVE_WORDS_S = 3.0
_REPLAYED_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A program that runs the controller inside itself, and what it brings: its own time, its own log, who is told.

    It sees to signals itself and ends the run by ``stop``. ``paced`` wraps every tick.
    """

    clock: Clock
    log: TextIO
    exporters: Sequence[Exporter]
    paced: Callable[[Tick], Tick]


async def run(
    settings: Settings,
    *,
    say: Say,
    lines: TextIO | None = None,
    require_serve: bool = False,
    stop: asyncio.Event | None = None,
    host: Host | None = None,
) -> None:
    """Run the controller until ``stop`` is set or, without a host, SIGTERM or SIGINT comes.

    ``say`` gets the start-up lines; ``lines``, where given, one line of JSON per tick.

    Raises:
        BadInputError: a setting, the policy, the store or the port is wrong.
        UnavailableError: ``require_serve``, and Ray Serve does not answer.

    """
    gc.set_threshold(*_COLLECT_GARBAGE_AFTER)
    clock: Clock = SystemClock() if host is None else host.clock
    stop = stop or asyncio.Event()
    policy_file = PolicyFile(settings.policy)
    log = json_log(sys.stderr if host is None else host.log, clock)
    tokens = _tokens(settings, log)
    async with AsyncExitStack() as cleanup:
        listening = cleanup.enter_context(listen(settings.host, settings.port))
        store = cleanup.enter_context(closing(_open_store(settings.store)))
        session = await cleanup.enter_async_context(aiohttp.ClientSession())
        client = serve_client(settings, session)
        serve_problem = await _problem_with(client)
        if serve_problem and require_serve:
            raise UnavailableError(serve_problem)
        surface = on_kubernetes(settings, policy_file, clock=clock, log=log)
        await cleanup.enter_async_context(surface.running())
        metrics, latest = MetricsExporter(surface.leadership), LatestTick(clock)
        feed = Feed()
        timeline = Timeline(interval_s=lambda: policy_file.current.policy.control.interval_s, feed=feed)
        around = Surroundings(
            clock=clock, session=session, client=client, log=log, observer=metrics, floors=FloorBoard(clock)
        )
        asked = interventions(store, clock, policy_file)
        courier = _courier(settings, around, policy_file, metrics, surface.leadership)
        standby = partial(_standby, surface.leadership)
        cleanup.callback(courier.close)
        memory = _memory(store)
        recollection = await recollected(settings, around, policy_file, memory)
        canaries = canary_keeper(settings, around, shelf=store, policy=policy_file, standby=standby)
        exporters: list[Exporter] = [metrics, latest, LogExporter(log), timeline, courier, around.floors]
        exporters += () if host is None else host.exporters
        loop = control_loop(
            settings,
            around,
            policy_source=policy_file,
            advisory=settings.advisory,
            store=store,
            notices=store.notices,
            memory=memory,
            exporters=[*exporters, LineExporter(lines)] if lines else exporters,
            asked=asked,
            canaries=canaries.records,
            surface=surface,
            past=recollection.past,
        )
        cleanup.push_async_callback(loop.close)
        records = _record_reader(settings.store)
        routes = api(
            latest=latest,
            policy=lambda: policy_file.current,
            records=records,
            registry=metrics.registry,
            tokens=tokens,
            refused=lambda reason: metrics.count(exported.API_REFUSALS, reason),
            floors=around.floors.read,
        )
        left = partial(_leave_words, surface.hand_over, SpokenWords(asked.overrides, asked.approvals), log)
        add_interventions(
            routes, overrides=asked.overrides, approvals=asked.approvals, clock=clock, standby=standby, left=left
        )
        shown = Shown(
            timeline=timeline,
            feed=feed,
            latest=latest,
            policy=lambda: policy_file.current,
            record=one_record_reader(settings.store),
            considered=lambda: loop.considered,
            proposals=asked.approvals.proposals,
            tokens=tokens,
        )
        for router in (pages(shown), feeds(shown)):
            routes.include_router(router)
        cleanup.callback(feed.close)
        await asyncio.to_thread(recall, timeline, settings.store, policy_file.current.policy)
        taking = receivers(around, asked, shelf=store, policy=policy_file, count=metrics.count, standby=standby)
        add_webhooks(routes, take=taking.take, courier=courier, left=left)
        server = ApiServer(routes, listening)
        for sentence in (
            _summary(settings, policy_file, server.address),
            *surface.notices,
            *store.notices,
            *recollection.said,
            *_warnings(serve_problem),
        ):
            say(sentence)
        with _signals(stop, host):
            await _serve_and_tick(
                server,
                every(
                    lambda: loop.interval_s,
                    loop.attempt if host is None else host.paced(loop.attempt),
                    clock=clock,
                    stop=stop,
                    skipped=lambda: metrics.note(LoopEvent.TICK_SKIPPED),
                ),
                courier,
                canaries,
                log,
            )


async def plan(settings: Settings, *, say: Say) -> TickRecord:
    """Look at both ends of the policy's window and once between, plan once, and touch and store nothing.

    Memory and demand histories come from the store, where there is one.

    Raises:
        BadInputError: a setting, the policy or the store is wrong.
        UnavailableError: Ray Serve does not answer.

    """
    clock = SystemClock()
    policy_file = PolicyFile(settings.policy)
    log = json_log(sys.stderr, clock)
    alone = settings.model_copy(update={"leader_election": False})
    surface = on_kubernetes(alone, policy_file, clock=clock, log=log)
    async with surface.running(), aiohttp.ClientSession() as session:
        client = serve_client(settings, session)
        await client.applications()
        around = Surroundings(
            clock=clock,
            session=session,
            client=client,
            log=log,
            observer=MetricsExporter(),
            floors=FloorBoard(clock),
        )
        memory = _remembered(settings.store)
        recollection = await recollected(settings, around, policy_file, memory)
        loop = control_loop(
            settings,
            around,
            policy_source=policy_file,
            advisory=True,
            store=NothingKept(),
            notices=(),
            memory=memory,
            exporters=(),
            asked=interventions(_copied(settings.store), clock, policy_file),
            surface=surface,
            past=recollection.past,
        )
        for sentence in (*surface.notices, *recollection.said):
            say(sentence)
        try:
            return await _look_and_plan(loop, policy_file.current.policy.control.window_s, clock, say)
        finally:
            await loop.close()


async def _look_and_plan(loop: ControlLoop, window_s: float, clock: SystemClock, say: Say) -> TickRecord:
    pause_s = window_s / (PLAN_LOOKS - 1)
    for look in range(1, PLAN_LOOKS):
        await loop.tick()
        say(f"look {look} of {PLAN_LOOKS} taken; the next one follows in {pause_s:g} s")
        await clock.sleep(pause_s)
    return await loop.tick()


async def _serve_and_tick(
    server: ApiServer,
    ticking: Coroutine[Any, Any, None],
    courier: Courier,
    canaries: CanaryKeeper,
    log: FilteringBoundLogger,
) -> None:
    """Run all; when the API, the courier or the canaries' keeper ends early the loop goes on, and says so."""
    serving, carrying = asyncio.create_task(server.serve()), asyncio.create_task(courier.run())
    keeping = asyncio.create_task(canaries.run())
    for name, task in (("api", serving), ("webhooks", carrying), ("canaries", keeping)):
        task.add_done_callback(partial(_note_end, log, f"{name}_failed"))
    try:
        await ticking
    finally:
        server.stop()
        await courier.tell_stop(within_s=_TELL_STOP_S)
        carrying.cancel()
        keeping.cancel()
        await asyncio.wait({serving, carrying, keeping}, timeout=_API_END_S)


def _note_end(log: FilteringBoundLogger, event: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error(event, problem=f"{type(error).__name__}: {error}")


def _standby(leadership: Leadership | None) -> str | None:
    if leadership is None or leadership.may_act():
        return None
    return f"another controller acts, so ask that one: {leadership.standing}"


async def _leave_words(hand_over: ConfigMapHandOver | None, words: SpokenWords, log: FilteringBoundLogger) -> None:
    """Leave what was just said for the next leader; where that fails the next tick does it."""
    if hand_over is None:
        return
    try:
        async with asyncio.timeout(_LEAVE_WORDS_S):
            await hand_over.leave_words(words.told())
    except (UnavailableError, TimeoutError) as error:
        log.warning("words_not_left_yet", problem=str(error) or f"no answer within {_LEAVE_WORDS_S:g} s")


def _courier(
    settings: Settings,
    around: Surroundings,
    policy_file: PolicyFile,
    metrics: MetricsExporter,
    leadership: Leadership | None,
) -> Courier:
    courier = Courier(
        outbox=lambda: Outbox(outbox_path(settings.store)),
        clock=around.clock,
        policy=lambda: policy_file.current.policy.webhooks,
        replay=partial(_recorded_after, settings.store),
        log=around.log,
        count=metrics.count,
        version=installed("foreserve"),
        leadership=leadership,
    )
    metrics.also(courier.series)
    return courier


def _recorded_after(store: Path, tick: int) -> Sequence[TickRecord]:
    with StoreReader(store) as reader:
        return reader.after(tick, limit=_REPLAYED_AT_ONCE)


async def _problem_with(client: ServeClient) -> str | None:
    try:
        await client.applications()
    except UnavailableError as error:
        return str(error)
    return None


def _open_store(path: Path) -> SqliteStore:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteStore(path)
    except (OSError, StoreError) as error:
        raise _bad_store(error) from error


def _memory(store: SqliteStore) -> Memory:
    try:
        loaded = store.load()
    except StoreError as error:
        raise _bad_store(error) from error
    if loaded is None:
        return Memory(last_tick=store.last_tick())
    return Memory(kept=loaded, last_tick=store.last_tick())


def _remembered(path: Path) -> Memory:
    """What a store holds, read without writing to it; nothing when there is none."""
    if not path.exists():
        return Memory()
    try:
        with StoreReader(path) as reader:
            loaded = reader.load()
    except StoreError as error:
        raise _bad_store(error) from error
    return Memory() if loaded is None else Memory(kept=loaded)


def _copied(path: Path) -> CopiedShelf:
    """Overrides that a store holds."""
    if not path.exists():
        return CopiedShelf()
    try:
        with StoreReader(path) as reader:
            return CopiedShelf({OVERRIDE: reader.everything(OVERRIDE)})
    except StoreError as error:
        raise _bad_store(error) from error


def _tokens(settings: Settings, log: FilteringBoundLogger) -> Callable[[], Tokens]:
    if settings.api_tokens_file is not None:
        file = TokenFile(settings.api_tokens_file, complain=lambda why: log.error("api_tokens_rejected", problem=why))
        return file.current
    text = settings.api_tokens.get_secret_value() if settings.api_tokens else ""
    known = parse_tokens(text, "FORESERVE_API_TOKENS")
    return lambda: known


def _bad_store(error: Exception) -> BadInputError:
    return BadInputError(f"store: {error}; choose another file with --store or FORESERVE_STORE")


def _record_reader(path: Path) -> RecordReader:
    def read(*, deployment: DeploymentId | None, last: int) -> list[TickRecord]:
        with StoreReader(path) as reader:
            return reader.records(deployment=deployment, last=last)

    return read


def _summary(settings: Settings, policy_file: PolicyFile, address: str) -> str:
    loaded = policy_file.current
    mode = Mode.ADVISORY if settings.advisory else loaded.policy.mode
    count = len(loaded.policy.deployments)
    return (
        f"foreserve: {mode} mode, {count} deployment{'s' if count > 1 else ''} by {loaded.path} ({loaded.version}), "
        f"every {loaded.policy.control.interval_s:g} s; Ray Serve at {settings.serve_url}, "
        f"records in {settings.store}, page and API at {address}"
    )


def _warnings(serve_problem: str | None) -> tuple[str, ...]:
    if serve_problem is None:
        return ()
    return (f"not ready, and nothing is scaled, until Ray Serve answers: {serve_problem}",)


def _signals(stop: asyncio.Event, host: Host | None) -> AbstractContextManager[None]:
    return _stopped_by_signals(stop) if host is None else nullcontext()


@contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
