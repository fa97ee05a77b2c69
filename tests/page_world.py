"""The page over real HTTP, fed by the real loop on a simulated deployment, with a real store and policy file."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from controller.api.interventions import add_interventions
from controller.api.routes import api
from controller.api.server import ApiServer, listen
from controller.api.tokens import parse_tokens
from controller.assembly import Interventions, interventions
from controller.clock import SystemClock
from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.export.latest import LatestTick
from controller.export.metrics import MetricsExporter
from controller.policy.load import LoadedPolicy, PolicyFile, parse_policy
from controller.store.sqlite import SqliteStore
from controller.web.feed import Feed
from controller.web.feeds import feeds
from controller.web.pages import pages
from controller.web.recall import one_record_reader
from controller.web.shown import Shown
from controller.web.timeline import Timeline
from tests.clocks import VirtualClock
from tests.scenarios.simulated import SimulatedDeployment
from tests.scenarios.world import INTERVAL_S, World

TOKEN = "alice-may-act-0123456789"

POLICY = """\
version: 1
control: {interval_s: 5, window_s: 15, max_signal_age_s: 15}
deployments:
  - application: chat
    deployment: LLMServer:tiny
    gpus_per_replica: 1
    gpu_price_per_hour: 2.5
    limits: {min_replicas: 1, max_replicas: 6}
    # What one replica carries.
    capacity: {target_ongoing_requests: 4}
    lead_time: {assumed_s: 20}
    stabilisation: {downscale_delay_s: 60}
"""


def wave(seconds: float) -> float:
    """Requests in flight: from 2 up to 14 and back, every fifteen minutes, with some unrest."""
    slow = 0.5 - 0.5 * math.cos(2 * math.pi * seconds / 900)
    return 2 + 12 * slow**2 + 0.6 * math.sin(seconds / 7.3)


@dataclass
class PageWorld:
    """A page and what feeds it. ``run`` lets virtual time pass, tick by tick."""

    url: str
    world: World
    shown: Shown
    clock: VirtualClock

    async def run(self, seconds: float) -> None:
        await self.world.run(seconds)


@asynccontextmanager
async def serving(
    shown: Shown, *, host: str = "127.0.0.1", port: int = 0, asked: Interventions | None = None
) -> AsyncIterator[str]:
    """Serve page and API; yields the address."""
    app = api(
        latest=shown.latest,
        policy=shown.policy,
        records=lambda **_: [],
        registry=MetricsExporter().registry,
        tokens=shown.tokens,
    )
    if asked is not None:
        add_interventions(app, overrides=asked.overrides, approvals=asked.approvals, clock=SystemClock())
    for router in (pages(shown), feeds(shown)):
        app.include_router(router)
    server = ApiServer(app, listen(host, port))
    running = asyncio.create_task(server.serve())
    try:
        yield server.address
    finally:
        shown.feed.close()
        server.stop()
        await running


def shown_records(*records: TickRecord, policy: LoadedPolicy | None = None) -> Shown:
    """What is shown of a few records, without a loop and without a store."""
    loaded = policy or parse_policy(Path("policy.yaml"), POLICY.encode())
    feed = Feed()
    timeline, latest = Timeline(interval_s=lambda: 10.0, feed=feed), LatestTick(VirtualClock())
    by_tick = {one.tick: one for one in records}

    def read(deployment: DeploymentId, tick: int, *, following: int) -> tuple[TickRecord, list[TickRecord]] | None:
        found = by_tick.get(tick)
        entries = () if found is None else tuple(one for one in found.deployments if one.decision.id == deployment)
        return (replace(found, deployments=entries), [])[: following + 2] if found and entries else None

    for one in records:
        timeline.export(one)
        latest.export(one)
    return Shown(
        timeline=timeline, feed=feed, latest=latest, policy=lambda: loaded, record=read, considered=lambda: None
    )


@asynccontextmanager
async def page_world(
    folder: Path,
    *,
    past_s: float = 900,
    host: str = "127.0.0.1",
    port: int = 0,
    approve: bool = False,
    phase_s: float = 0,
) -> AsyncIterator[PageWorld]:
    """Serve the page of a controller that has run for ``past_s`` seconds; with ``approve`` it asks before it acts."""
    file = folder / "policy.yaml"
    file.write_text(POLICY.replace("version: 1", "version: 1\nmode: approve") if approve else POLICY)
    policy = PolicyFile(file)
    start = SystemClock().now() - past_s  # the browser's clock is the real one
    clock = VirtualClock(start)
    deployment = SimulatedDeployment(clock, lambda at: wave(at - start + phase_s))
    store, feed, latest = SqliteStore(folder / "records.sqlite"), Feed(), LatestTick(clock)
    timeline = Timeline(interval_s=lambda: INTERVAL_S, feed=feed)
    asked = interventions(store, clock, policy)
    world = World(
        wave,
        policy_source=policy,
        store=store,
        deployment=deployment,
        exporters=[latest, timeline],
        approvals=asked.approvals,
    )
    tokens = parse_tokens(f"alice act {TOKEN}", "test")
    shown = Shown(
        timeline=timeline,
        feed=feed,
        latest=latest,
        policy=lambda: policy.current,
        record=one_record_reader(folder / "records.sqlite"),
        considered=lambda: world.loop.considered,
        proposals=asked.approvals.proposals,
        tokens=lambda: tokens,
    )
    await world.run(past_s)
    async with serving(shown, host=host, port=port, asked=asked) as address:
        yield PageWorld(address, world, shown, clock)
    await world.loop.close()
