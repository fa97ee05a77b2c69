"""Builds the parts that the settings ask for: where to read from, what to act with, what to remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from structlog.typing import FilteringBoundLogger

from controller.actuators.advisory import AdvisoryActuator
from controller.actuators.approval import ApprovalActuator, LayerConsent
from controller.actuators.serve_direct import ServeDirectActuator
from controller.actuators.serve_guided import FloorBoard, ServeGuidedActuator
from controller.canary.keeper import CanaryKeeper
from controller.clients.serve import ServeClient
from controller.clients.splitter import SplitClient
from controller.collectors.discovery import (
    DashboardDiscovery,
    Discovery,
    SdFileDiscovery,
    ServeProxyDiscovery,
    StaticDiscovery,
)
from controller.collectors.haproxy import HAProxyCollector
from controller.collectors.past_demand import history_api
from controller.collectors.prometheus import PrometheusCollector
from controller.collectors.prometheus_api import PrometheusApi
from controller.collectors.prometheus_latency import PrometheusLatency
from controller.collectors.ray_agents import RayAgentsCollector
from controller.collectors.recollection import Grain, PastDemand, Recollection, recollect
from controller.collectors.serve_state import ServeStateCollector
from controller.domain.lasting import Checkpoint
from controller.forecast.adaptive import AdaptiveForecaster
from controller.interventions.approvals import ApprovalBoard
from controller.interventions.overrides import OverrideBoard
from controller.interventions.words import SpokenWords
from controller.loop.collection import Collection
from controller.loop.control import ControlLoop
from controller.loop.fitting import FitWorker
from controller.loop.forecast_guard import ForecastGuard
from controller.loop.foresight import LONG_BINS, LONG_STEP_S, Foresight
from controller.loop.journal import Journal
from controller.loop.learned import long_histories, restore
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce, PolicySource
from controller.on_kubernetes import Surface
from controller.policy.canary import CanaryPolicy
from controller.policy.model import Mode, Policy
from controller.ports import Canaries, Clock, Collector, Count, Exporter, LoopObserver, Shelf, Store, no_canaries
from controller.settings import Settings
from controller.webhooks.receiver import Receivers
from controller.window.history import DemandHistory

_NO_KUBERNETES = Surface()
_DAY_S = 86_400.0
_LATENCY_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What survives a restart."""

    kept: Checkpoint = field(default_factory=Checkpoint)
    last_tick: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every part of one process shares."""

    clock: Clock
    session: aiohttp.ClientSession
    client: ServeClient
    log: FilteringBoundLogger
    observer: LoopObserver
    floors: FloorBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions:
    """What people and alerts ask for."""

    overrides: OverrideBoard
    approvals: ApprovalBoard


def interventions(shelf: Shelf, clock: Clock, policy_source: PolicySource) -> Interventions:
    """Take up what is kept. Raises StoreError."""

    def policy() -> Policy:
        return policy_source.current.policy

    return Interventions(
        overrides=OverrideBoard(shelf=shelf, clock=clock, policy=policy),
        approvals=ApprovalBoard(shelf=shelf, clock=clock, policy=policy),
    )


def receivers(
    around: Surroundings,
    asked: Interventions,
    *,
    shelf: Shelf,
    policy: PolicySource,
    count: Count,
    standby: Callable[[], str | None],
) -> Receivers:
    """Build what takes webhooks; ``standby`` says why another controller acts. Raises StoreError."""
    return Receivers(
        policy=lambda: policy.current.policy.webhooks,
        overrides=asked.overrides,
        approvals=asked.approvals,
        shelf=shelf,
        clock=around.clock,
        count=count,
        log=around.log,
        standby=standby,
    )


def canary_keeper(
    settings: Settings,
    around: Surroundings,
    *,
    shelf: Shelf,
    policy: PolicySource,
    standby: Callable[[], str | None],
) -> CanaryKeeper:
    """Build what drives the policy's canaries; ``standby`` says why another controller acts. Raises StoreError."""

    def refused() -> str | None:
        mode = Mode.ADVISORY if settings.advisory else policy.current.policy.mode
        if mode not in {Mode.DIRECT, Mode.GUIDED}:
            return f"mode {mode.value} touches nothing by itself; canaries go on in modes direct and guided"
        return standby()

    def splitter(one: CanaryPolicy) -> SplitClient:
        return SplitClient(url=one.split_url, session=around.session, token_file=Path(one.token_file))

    return CanaryKeeper(
        clock=around.clock,
        canaries=lambda: policy.current.policy.canaries,
        splitter=splitter,
        shelf=shelf,
        standby=refused,
        log=around.log,
    )


def serve_client(settings: Settings, session: aiohttp.ClientSession) -> ServeClient:
    """Build the client of Ray Serve. Raises BadInputError for a wrong address or token file."""
    return ServeClient(base_url=settings.serve_url, session=session, token=settings.serve_secret())


async def recollected(settings: Settings, around: Surroundings, policy: PolicySource, memory: Memory) -> Recollection:
    """Read what Prometheus, where it is the source, knows of the time that the store does not."""
    if settings.prometheus_url is None:
        return Recollection()
    now = around.clock.now()
    # A store that does not reach back far enough may have been cut off while it was filled: all is read again.
    known_until = {
        deployment: history.end
        for deployment, _, history in long_histories(memory.kept.pieces)
        if now - history.start > LONG_STEP_S * LONG_BINS - _DAY_S
    }
    short = DemandHistory()
    return await recollect(
        history_api(settings.prometheus_url, around.session, settings.prometheus_secret()),
        [deployment.id for deployment in policy.current.policy.deployments],
        known_until=known_until,
        grains=(
            Grain(step_s=short.step_s, span_s=short.step_s * short.max_bins),
            Grain(step_s=LONG_STEP_S, span_s=LONG_STEP_S * LONG_BINS),
        ),
        now=now,
    )


def control_loop(
    settings: Settings,
    around: Surroundings,
    *,
    policy_source: PolicySource,
    advisory: bool,
    store: Store,
    notices: Sequence[str],
    memory: Memory,
    exporters: Sequence[Exporter],
    asked: Interventions,
    canaries: Canaries = no_canaries,
    surface: Surface = _NO_KUBERNETES,
    past: Sequence[PastDemand] = (),
) -> ControlLoop:
    """Build the loop. Raises BadInputError for an address that cannot be fetched."""
    policy = PolicyInForce(source=policy_source, advisory=advisory, log=around.log, observer=around.observer)
    histories = DemandHistory()
    histories.restore(memory.kept.histories)
    guard = ForecastGuard(clock=around.clock, observer=around.observer, log=around.log)
    foresight = Foresight(AdaptiveForecaster(), FitWorker(clock=around.clock), guard)
    restore(memory.kept.pieces, foresight)
    for one in past:
        for kept in (histories, foresight.histories):
            if kept.step_s == one.step_s:
                kept.fill(one.deployment, one.signal, one.start, one.values)
    direct = ServeDirectActuator(client=around.client, clock=around.clock, limits=policy.limits)
    return ControlLoop(
        clock=around.clock,
        policy=policy,
        collection=Collection(collectors=_collectors(settings, around), clock=around.clock),
        perception=Perception(histories=histories),
        foresight=foresight,
        actuators={
            Mode.DIRECT: direct,
            Mode.APPROVE: ApprovalActuator(inner=direct, board=asked.approvals),
            Mode.GUIDED: ServeGuidedActuator(
                client=around.client, clock=around.clock, board=around.floors, limits=policy.limits
            ),
            Mode.ADVISORY: AdvisoryActuator(client=around.client),
        },
        journal=Journal(store=store, log=around.log, observer=around.observer, notices=notices),
        exporters=[*exporters, asked.approvals],
        observer=around.observer,
        log=around.log,
        state=memory.kept.state,
        last_tick=memory.last_tick,
        overrides=asked.overrides.in_force,
        canaries=canaries,
        cluster=surface.parts,
        leadership=surface.leadership,
        hand_over=surface.hand_over,
        words=SpokenWords(asked.overrides, asked.approvals),
        consent=LayerConsent(board=asked.approvals),
    )


def metrics_collectors(settings: Settings, *, session: aiohttp.ClientSession, clock: Clock) -> dict[str, Collector]:
    """Build what reads metrics. Raises BadInputError for an address that cannot be fetched."""
    collectors: dict[str, Collector] = {}
    if settings.prometheus_url:
        token = settings.prometheus_secret()
        api = PrometheusApi(base_url=settings.prometheus_url, session=session, token=token)
        collectors["prometheus"] = PrometheusCollector(api=api, clock=clock)
        unhurried = PrometheusApi(
            base_url=settings.prometheus_url,
            session=session,
            token=token,
            timeout_s=_LATENCY_TIMEOUT_S,
            behind=api,
        )
        collectors["latency"] = PrometheusLatency(api=unhurried, clock=clock)
    else:
        collectors["ray"] = RayAgentsCollector(discovery=_discovery(settings, session), session=session, clock=clock)
    if settings.haproxy_urls:
        collectors["haproxy"] = HAProxyCollector(urls=settings.haproxy_urls, session=session, clock=clock)
    elif settings.haproxy_port:
        found = ServeProxyDiscovery(serve_client(settings, session), port=settings.haproxy_port)
        collectors["haproxy"] = HAProxyCollector(discovery=found, session=session, clock=clock)
    return collectors


def _collectors(settings: Settings, around: Surroundings) -> dict[str, Collector]:
    return {
        "serve": ServeStateCollector(client=around.client, clock=around.clock),
        **metrics_collectors(settings, session=around.session, clock=around.clock),
    }


def _discovery(settings: Settings, session: aiohttp.ClientSession) -> Discovery:
    if settings.ray_sd_file:
        return SdFileDiscovery(settings.ray_sd_file)
    if settings.ray_metrics_targets:
        return StaticDiscovery(settings.ray_metrics_targets)
    return DashboardDiscovery(settings.serve_url, session, settings.serve_secret())
