"""One run on a simulated cluster from start to end: a cloud on an empty API server, the controller, an account."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp

from controller.app import Host, Tick, run
from controller.clock import SystemClock
from controller.domain.plan import OutcomeStatus
from controller.domain.record import TickRecord
from controller.errors import BadInputError, UnavailableError
from controller.explain.cluster import deed_words
from controller.explain.wording import plural
from controller.load.bundled import named_trace
from controller.local.account import changes_in
from controller.local.belongings import MARK
from controller.local.layout import Layout, clean_up, create, dead_runs
from controller.local.ports import is_free
from controller.local.simulated_options import SimulatedOptions
from controller.local.steps import Steps
from controller.local.views import View
from controller.policy.load import load_policy
from controller.policy.model import Policy
from controller.report import write_report
from controller.settings import PREFIX, Kubernetes, Settings, load_settings
from controller.simulated_cloud.blueprint import Blueprint, blueprint
from controller.simulated_cloud.cloud import SERVICE, SimulatedCloud, StuckError
from controller.simulated_cloud.demand import load_of
from controller.simulated_cloud.kube import Kube, Server
from controller.simulated_cloud.metrics_pages import MetricsPages
from controller.simulated_cloud.occupancy import claimed, require_vacant, sweep, take_away
from controller.simulated_cloud.signals import Load, Traffic

TITLE = "Foreserve on a simulated cluster"
WORLD = "foreserve-simulated"

CHECK = "Kubernetes API server"
LEFTOVERS = "Leftovers of dead runs"
CLOUD = "Simulated cloud"
RAY_SERVICE = "Ray service"
CONTROLLER = "Controller"
STEP_NAMES = (CHECK, LEFTOVERS, CLOUD, RAY_SERVICE, CONTROLLER)

_KUBECONFIG = "KUBECONFIG"
_NO_SERVER = (
    "KUBECONFIG is not set. --cluster simulated acts on the API server of an empty cluster, and only on one that is "
    "named. With Docker: kind create cluster --kubeconfig kube.simulated && export KUBECONFIG=$PWD/kube.simulated"
)
_NO_SCHEDULER = "no pod was scheduled; does this cluster have a scheduler and a controller manager? envtest has none"
_FIRST_REPLICAS_S = 900.0
_FIRST_TICK_S = 60.0
_LOOK_S = 0.2
_PATIENCE_S = 2.0


def run_simulated(options: SimulatedOptions, *, view: View) -> tuple[str, ...]:
    """Run until the duration is over or a signal comes; returns what came of it in lines, none if it never was up.

    Raises:
        BadInputError: the policy, the trace, the port or the cluster is not one to do this with; nothing was made.
        UnavailableError: the API server does not answer.
        StepFailedError: a step of the start failed. Like in every case, everything was taken away.

    """
    policy = load_policy(options.policy).policy
    plan = blueprint(policy)
    trace, _ = named_trace(options.trace)
    if importlib.util.find_spec("ray") is None:
        msg = "not installed: ray, whose autoscaler is part of this; pip install 'foreserve[local]'"
        raise BadInputError(msg)
    if not os.environ.get(_KUBECONFIG):
        raise BadInputError(_NO_SERVER)
    if not is_free(options.port):
        msg = f"port {options.port} for the controller is taken; choose another with --controller-port"
        raise BadInputError(msg)
    load = load_of(trace, speed=options.speed, scale=options.rate_scale)
    return asyncio.run(_Run(options, policy, plan, load, view).whole())


@dataclass
class _Run:
    """One run. As an exporter it keeps and shows every tick."""

    options: SimulatedOptions
    policy: Policy
    plan: Blueprint
    load: Load
    view: View
    records: list[TickRecord] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _ticked: asyncio.Event = field(default_factory=asyncio.Event)
    _up: bool = False

    async def whole(self) -> tuple[str, ...]:
        """Start, watch, and take everything away in the end, whatever happens."""
        work = asyncio.create_task(self._start_to_end())
        with self._interruptible(work), suppress(asyncio.CancelledError):
            await work
        if not self._up:
            return ()
        if self.options.report is not None:
            write_report(self.options.report, records=self.records, load=None, title=TITLE)
        return tuple(_account(self.records, self.options.report))

    def export(self, record: TickRecord) -> None:
        """Keep a tick, and show it."""
        self.records.append(record)
        self._ticked.set()
        self.view.update(record, None)

    @contextmanager
    def _interruptible(self, work: asyncio.Task[None]) -> Iterator[None]:
        """Let the first signal end a run that is up; any other ends what is under way."""
        loop = asyncio.get_running_loop()

        def asked() -> None:
            if self._up and not self._stop.is_set():
                self._stop.set()
            else:
                work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def _start_to_end(self) -> None:
        steps = Steps(STEP_NAMES, clock=SystemClock(), display=self.view)
        async with AsyncExitStack() as everything:
            with self.view.starting(steps):
                kube = await self._vacant(steps, everything)
                layout = create(self.options.runs, now=SystemClock().now())
                everything.callback(_remove_files, layout)
                everything.push_async_callback(self._take_away, kube)
                cloud = await self._cloud(kube, steps, everything)
                controller = await self._controller(cloud, layout, steps, everything)
            self._up = True
            links = {"Web page": f"http://127.0.0.1:{self.options.port}", "Its token": str(layout.api_token)}
            links |= {"Namespace": WORLD, "Clock": f"x{self.options.clock_speed:g}", "Files": str(layout.root)}
            with self.view.running(self.policy, links):
                await self._watch(cloud, controller)

    async def _vacant(self, steps: Steps, everything: AsyncExitStack) -> Kube:
        """Reach the API server; see that it is empty, or make it so of what dead runs left there."""
        with steps.step(CHECK):
            session = await everything.enter_async_context(aiohttp.ClientSession())
            kube = Kube(await Server.of_kubeconfig(), session, "simulated-cloud")
            steps.detail(kube.server.url)
            try:
                await require_vacant(kube)
            except aiohttp.ClientError as error:
                msg = f"the API server at {kube.server.url}, by {_KUBECONFIG}, does not answer: {error}"
                raise UnavailableError(msg) from error
        with steps.step(LEFTOVERS):
            for dead, began in dead_runs():
                clean_up(dead, began=began, patience_s=_PATIENCE_S)
            found = await sweep(kube)
            steps.detail(f"removed {', '.join(found)}" if found else "none")
        return kube

    async def _cloud(self, kube: Kube, steps: Steps, everything: AsyncExitStack) -> SimulatedCloud:
        with steps.step(CLOUD):
            await everything.enter_async_context(claimed(kube, WORLD))
            cloud = SimulatedCloud(
                pools=self.plan.pools,
                groups=self.plan.groups,
                apps=self.plan.apps,
                speed=self.options.clock_speed,
                alone=WORLD,
                where=self.plan.where,
            )
            await everything.enter_async_context(cloud)
        with steps.step(RAY_SERVICE):
            for pool, nodes in self.plan.begin.items():
                cloud.begin_with(pool, nodes)
            try:
                await cloud.deploy()
            except StuckError as error:
                bound = cloud.view is not None and any(pod["spec"].get("nodeName") for pod in cloud.view.pods)
                raise error if bound else BadInputError(_NO_SCHEDULER) from error
            wanted = sum(app.replicas for app in self.plan.apps)
            await cloud.until(lambda: _running(cloud) == wanted, _FIRST_REPLICAS_S, f"{wanted} replicas run")
            steps.detail(f"{plural(wanted, 'replica')} on {plural(sum(self.plan.begin.values()), 'node')}")
        return cloud

    async def _controller(
        self, cloud: SimulatedCloud, layout: Layout, steps: Steps, everything: AsyncExitStack
    ) -> asyncio.Task[None]:
        """Run the controller as ``foreserve run`` does, on the clock of the cloud, until its first tick is done."""
        with steps.step(CONTROLLER, log=layout.log("controller")):
            traffic = Traffic(cloud.serve, cloud.clock, {app.id: self.load for app in self.plan.apps})
            pages = await everything.enter_async_context(MetricsPages(traffic))
            everything.enter_context(_environment(_write_kubeconfig(cloud, layout), layout))
            log = everything.enter_context(layout.log("controller").open("w", buffering=1, encoding="utf-8"))
            host = Host(clock=cloud.clock, log=log, exporters=(self,), paced=self._paced(cloud))
            settings = _settings(self.options, cloud, pages, layout)
            ticking = run(settings, say=partial(print, file=log), stop=self._stop, host=host)
            controller = asyncio.create_task(ticking)
            everything.push_async_callback(self._end, controller)
            ticked = asyncio.create_task(self._ticked.wait())
            await asyncio.wait({controller, ticked}, timeout=_FIRST_TICK_S, return_when=asyncio.FIRST_COMPLETED)
            ticked.cancel()
            if controller.done():
                await controller
        return controller

    async def _watch(self, cloud: SimulatedCloud, controller: asyncio.Task[None]) -> None:
        until = asyncio.get_running_loop().time() + (self.options.duration_s or float("inf"))
        while not self._stop.is_set() and asyncio.get_running_loop().time() < until:
            try:
                cloud.check()
            except aiohttp.ClientError as error:
                msg = f"the API server does not answer any more: {error}"
                raise UnavailableError(msg) from error
            if controller.done():
                await controller
                return
            await asyncio.sleep(_LOOK_S)

    async def _end(self, controller: asyncio.Task[None]) -> None:
        self.view.note("Taking everything away ...")
        self._stop.set()
        await asyncio.wait({controller})

    async def _take_away(self, kube: Kube) -> None:
        try:
            left = await take_away(kube)
        except aiohttp.ClientError as error:
            left = [f"what is on the API server, which does not answer ({error})"]
        for what in left:
            self.view.note(f"warning: could not be removed: {what}; the next start tries again")

    def _paced(self, cloud: SimulatedCloud) -> Callable[[Tick], Tick]:
        """Let the clock slow down while a tick takes longer than its interval."""
        interval_s = self.policy.control.interval_s

        def paced(tick: Tick) -> Tick:
            async def held() -> object:
                with cloud.clock.at_most(interval_s):
                    return await tick()

            return held

        return paced


def _settings(options: SimulatedOptions, cloud: SimulatedCloud, pages: MetricsPages, layout: Layout) -> Settings:
    layout.api_token.touch(mode=0o600)
    layout.api_tokens.touch(mode=0o600)
    token = secrets.token_hex(32)
    layout.api_token.write_text(token)
    layout.api_tokens.write_text(f"up act {token}\n")
    return load_settings(
        policy=options.policy.resolve(),
        serve_url=cloud.rest.base_url,
        ray_metrics_targets=(pages.ray_url,),
        haproxy_urls=(pages.haproxy_url,),
        kubernetes=Kubernetes.ON,
        namespace=WORLD,
        ray_service=SERVICE,
        gke_endpoint=cloud.gke.base_url,
        gke_anonymous=True,
        store=layout.records,
        port=options.port,
        api_tokens_file=layout.api_tokens,
    )


def _write_kubeconfig(cloud: SimulatedCloud, layout: Layout) -> Path:
    file = layout.run.scratch / "kubeconfig"
    file.write_text(cloud.proxy.kubeconfig(cloud.world))
    return file


@contextmanager
def _environment(kubeconfig: Path, layout: Layout) -> Iterator[None]:
    """Let the controller find the cluster as it would in production, and nobody's settings but those of this run."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ |= {_KUBECONFIG: str(kubeconfig), MARK: layout.run.run_id}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _remove_files(layout: Layout) -> None:
    clean_up(layout.run, began=SystemClock().now(), patience_s=_PATIENCE_S)


def _running(cloud: SimulatedCloud) -> int:
    return sum(cloud.serve.running(app.id) for app in cloud.apps)


def _account(records: Sequence[TickRecord], report: Path | None) -> Iterator[str]:
    """Say what was done on every layer, in order, with when it was done by the cluster's clock."""
    began = records[0].at
    yield f"{len(records)} ticks in {records[-1].at - began:.0f} s of the cluster's time."
    for record in records:
        for words, status in () if record.cluster is None else deed_words(record.cluster):
            if status is OutcomeStatus.APPLIED:
                yield f"+{record.at - began:.0f} s {words}"
        yield from (f"+{record.at - began:.0f} s {change}" for change in changes_in(record))
    if report is not None:
        yield f"Report: {report / 'report.html'}"
