"""The real stack: what a user gets, what the controller sees, and how it scales. Tests run in this order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import aiohttp
import psutil
import pytest

from controller.cli.exit_codes import ExitCode
from controller.clock import SystemClock
from controller.collectors.discovery import SdFileDiscovery
from controller.collectors.prometheus import PrometheusCollector
from controller.collectors.prometheus_api import PrometheusApi
from controller.collectors.ray_agents import RayAgentsCollector
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, OutcomeStatus, Reason
from controller.domain.reading import Known
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.scrape import Sample, Scrape
from controller.domain.signals import Signal
from controller.load.tick import LoadTick
from controller.local import prometheus, ray_cluster
from controller.local.calls import request
from controller.local.stack import CONTROLLER, LocalStack
from controller.policy.load import load_policy
from tests.chaos.invariants import BrokenError
from tests.chaos.told import chat, intact, ordered_once, ready_for_target, recovery_s, replayed, sees
from tests.panels import annotation_queries, ask, boards, panel_queries, sent
from tests.reliability import Report
from tests.stack.alerting import ALERTMANAGER, alerting
from tests.stack.observer import MEASURED, Observer, Traffic
from tests.stack.patience import PATIENCE
from tests.stack.relay import Relay
from tests.stack.serving_cluster import CLOCK


def test_the_first_token_came_within_two_minutes(stack: LocalStack) -> None:
    assert stack.first_token_s is not None
    assert stack.first_token_s < 120


def test_the_model_is_listed(stack: LocalStack) -> None:
    models = json.loads(request(f"{stack.openai_url}/v1/models"))

    assert [model["id"] for model in models["data"]] == [ray_cluster.MODEL]


def test_a_chat_completion_streams_through_haproxy(stack: LocalStack) -> None:
    body = {"model": "tiny", "stream": True, "max_tokens": 32, "messages": [{"role": "user", "content": "hello"}]}
    wanted = urllib.request.Request(
        f"{stack.openai_url}/v1/chat/completions",
        data=json.dumps(body | {"ignore_eos": True}).encode(),
        headers={"Content-Type": "application/json"},
    )
    arrived = []
    with urllib.request.urlopen(wanted, timeout=30) as answer:
        arrived = [time.monotonic() for line in answer if line.startswith(b"data: {")]

    (listener,) = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == stack.ports.openai
    }
    assert psutil.Process(listener).name() == "haproxy"
    assert len(arrived) > 16
    # Tokens come one by one, not all at the end.
    assert sum(later - earlier > 0.001 for earlier, later in pairwise(arrived)) > 8


def test_demand_is_joined_to_its_deployment(stack: LocalStack, observer: Observer) -> None:
    seen: list[DeploymentRecord] = []

    def asked_for() -> bool:
        seen[:] = [observer.deployment()]
        wanted = (seen[0].snapshot.reading(signal) for signal in (Signal.ONGOING_REQUESTS, Signal.DECODE_TOKENS))
        return all(isinstance(reading, Known) and reading.value > 0 for reading in wanted) and isinstance(
            seen[0].snapshot.latency.ttft_p95_s, Known
        )

    with Traffic(stack, "2x120"):
        observer.wait(asked_for, 20, "demand and its latency")
    (deployment,) = seen

    assert deployment.snapshot.id == DeploymentId(ray_cluster.APPLICATION, ray_cluster.DEPLOYMENT)
    assert deployment.snapshot.replicas is not None
    assert deployment.snapshot.replicas.ready == 1
    assert deployment.snapshot.blind_spots == ()


def test_prometheus_has_series_of_ray_haproxy_and_the_controller(observer: Observer) -> None:
    for job in ("ray", "haproxy", "foreserve"):
        observer.wait(lambda job=job: bool(observer.prometheus(f"up{{job='{job}'}}==1")), 30, f"job {job}")
    for series in ("ray_vllm_generation_tokens_total", "haproxy_process_start_time_seconds"):
        observer.wait(lambda series=series: bool(observer.prometheus(series)), 30, series)
    observer.wait(lambda: bool(observer.prometheus("{job='foreserve',__name__=~'foreserve_.*'}")), 30, "own metrics")


async def test_prometheus_and_direct_scrapes_tell_the_same(stack: LocalStack) -> None:
    sd_file = stack.files.ray / prometheus.SERVICE_DISCOVERY
    clock = SystemClock()
    async with aiohttp.ClientSession() as session:
        direct = RayAgentsCollector(discovery=SdFileDiscovery(sd_file), session=session, clock=clock)
        api = PrometheusApi(base_url=stack.prometheus_url, session=session)
        through = PrometheusCollector(api=api, clock=clock)
        scraped = queried = frozenset[Sample]()
        deadline = clock.monotonic() + 90
        # No traffic: the counters stand still, and Prometheus catches up within a scrape or two.
        while (not scraped or scraped != queried) and clock.monotonic() < deadline:
            await clock.sleep(1)
            scraped = _token_counters(await direct.collect(clock.now()))
            queried = _token_counters(await through.collect(clock.now()))

    assert scraped
    assert scraped == queried


def test_a_load_step_is_followed_up_at_once_with_no_failed_request(stack: LocalStack, observer: Observer) -> None:
    # What came before may have taken a second one, which is not given back before the load of two minutes is.
    observer.wait(observer.settled_at(1), 240, "one replica")
    before = observer.record().tick

    with Traffic(stack, "1.6x10,6.4x50") as traffic:
        observer.wait(lambda: observer.replicas()[0] == 2, 60, "a target of 2")
        ready_after = observer.wait(observer.settled_at(2), 90, "two replicas")
        exit_code = traffic.finish(PATIENCE * 150)

    (up,) = observer.changes(Action.SCALE_UP, after=before)
    evidence = next(record for record in observer.records() if record.tick > before and _wants_two(record))
    MEASURED.append(f"ready {ready_after:.0f} s after the order; traffic {traffic.numbers.latest}")
    assert exit_code == 0
    assert traffic.numbers.latest is not None
    assert traffic.numbers.latest.failed == 0
    assert up.tick - evidence.tick <= 1
    assert up.deployments[0].outcome.status == OutcomeStatus.APPLIED


def test_a_dead_engine_takes_its_replica_along_and_nothing_is_lowered(
    stack: LocalStack, observer: Observer, report: Report
) -> None:
    """vLLM's engine is a process of its own: the actor lives on without it, and would fail what it is given."""
    with Traffic(stack, "6.2x600") as traffic:
        _two_are_needed(observer, traffic)
        before = _numbers(traffic)
        began = CLOCK.now()
        _engine(stack).kill()
        missed_s = observer.wait(lambda: observer.replicas()[1].count("RUNNING") == 1, 30, "a replica is missed")
        observer.wait(observer.settled_at(2), 120, "its successor")
        ended = CLOCK.now()
        recovery = recovery_s(observer.since, ended, observer.wait)
        numbers = _numbers(traffic)

    during = [record for record in observer.since(began) if record.at < ended]
    intact(during)
    ordered_once(during)
    rules = load_policy(stack.options.policy).policy.deployments[0]
    with pytest.raises(BrokenError, match="ordered from 1 to 2"):
        ordered_once(replayed(during, rules, ready_for_target))
    assert {chat(record).decision.desired for record in during} == {2}
    failed = numbers.failed - before.failed
    # At most what was open then, or sent until the engine's death was noticed; the other replica takes the rest.
    assert 0 < failed <= before.in_flight + 8
    report(
        "real stack: a real vLLM engine killed, its replica's actor alive",
        "nothing is lowered, nothing ordered twice, though taking the ready ones for the target would; limits hold; "
        "the replica ends and is replaced, only its own requests fail",
        f"missed after {missed_s:.0f} s, back after {ended - began:.0f} s; "
        f"{failed} of {numbers.completed + numbers.failed} requests failed",
        f"{recovery:.1f} s",
    )


def test_nothing_is_taken_away_while_a_source_is_dead_and_all_that_is_spare_after(
    stack: LocalStack, observer: Observer, haproxy: Relay
) -> None:
    before = observer.record().tick
    with ExitStack() as dead:
        with Traffic(stack, "6.2x600") as traffic:
            _two_are_needed(observer, traffic)
            dead.enter_context(haproxy.paused())
        observer.wait(lambda: _held_for(observer, Reason.BLIND_SPOT), 150, "holding because of the dead source")
        # As long again as the delay before replicas are given back.
        held_at = observer.record().at
        observer.wait(lambda: observer.record().at > held_at + 20, 60, "ticks that hold")
        blind = observer.deployment()
        downs = observer.changes(Action.SCALE_DOWN, after=before)
    observer.wait(observer.settled_at(1), 180, "one replica, once the source is back")

    assert downs == []
    assert blind.decision.desired == 2
    assert any("haproxy" in spot for spot in blind.snapshot.blind_spots)
    (down,) = observer.changes(Action.SCALE_DOWN, after=before)
    assert down.deployments[0].outcome.status == OutcomeStatus.APPLIED


async def test_every_panel_of_every_dashboard_has_data_under_load_or_its_reason_not_to(
    stack: LocalStack, observer: Observer
) -> None:
    """Asked until all have answered: rates need two scrapes, recording rules their turn."""
    async with aiohttp.ClientSession() as session:
        with Traffic(stack, "2x300"):
            observer.wait(lambda: bool(observer.prometheus("foreserve_forecast")), 60, "a forecast")
            values = {
                "$signal": observer.prometheus("foreserve_forecast")[0]["metric"]["signal"],
                "${horizon}": "20",
                "$__range": "2m",
                "$__rate_interval": "4m",  # the changes of the test before, too
            }
            waiting = [query for query in panel_queries() if query.reason_on_local_stack is None]
            deadline, count = time.monotonic() + 250, len(waiting)
            while waiting and time.monotonic() < deadline:
                waiting = [
                    query for query in waiting if not await ask(session, stack.prometheus_url, sent(query.expr, values))
                ]
                await asyncio.sleep(5)
            for board in boards().values():
                for query in annotation_queries(board):
                    await ask(session, stack.prometheus_url, sent(query))

    MEASURED.append(f"dashboards: {count - len(waiting)} of {count} queries that should have data have it")
    empty = "\n".join(f"{query.dashboard} / {query.panel}: {sent(query.expr, values)}" for query in waiting)
    assert empty == ""


@pytest.mark.skipif(ALERTMANAGER is None, reason="prometheus-alertmanager is missing: requirements/setup.sh tests")
def test_an_alert_raises_the_floor_and_its_end_lowers_it(
    stack: LocalStack, observer: Observer, haproxy: Relay, alertmanager_token: Path, tmp_path: Path
) -> None:
    """All of it real: metrics, the exported rules, Prometheus, Alertmanager, the receiver, and Serve's replicas."""
    # The load of the test before may have taken a second one.
    observer.wait(observer.settled_at(1), 240, "one replica")
    began = time.monotonic()

    with alerting(stack, observer, alert="SourceStale", token=alertmanager_token, folder=tmp_path) as alertmanager:
        with haproxy.paused():
            raised_s = observer.wait(lambda: observer.replicas()[0] == 2, 60, "a floor of 2")
            observer.wait(lambda: bool(observer.record().overrides), 10, "the tick that raised it to end")
            raised = observer.record()
            (alert,) = json.loads(request(f"{alertmanager}/api/v2/alerts?active=true"))
        fell_s = observer.wait(lambda: observer.record().overrides == (), 60, "the alert to be resolved")
        observer.wait(observer.settled_at(1), 90, "one replica, once the alert is over")

    (override,) = raised.overrides
    (order,) = [one for one in observer.changes(Action.SCALE_UP) if one.overrides]
    ended = observer.changes(Action.SCALE_DOWN)[-1]
    MEASURED.append(
        f"alert: source dead to target {raised_s:.0f} s, source back to floor down {fell_s:.0f} s, "
        f"all of it {time.monotonic() - began:.0f} s"
    )
    assert alert["labels"]["alertname"] == "SourceStale"
    assert (override.owner, override.replicas) == ("alertmanager/SourceStale", 1)
    assert "has had no fresh answer from haproxy/" in override.reason
    assert order.deployments[0].decision.binding is Reason.RAISED_FLOOR
    assert (ended.tick > order.tick, ended.overrides, ended.deployments[0].decision.desired) == (True, (), 1)


def test_the_controller_goes_on_where_it_was_killed(stack: LocalStack, observer: Observer) -> None:
    before = observer.record()
    child = stack.child(CONTROLLER)
    os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait(10)

    stack.start_controller()
    after = observer.record()

    assert after.tick > before.tick
    assert after.deployments[0].decision.current == before.deployments[0].decision.current
    ticks = [record.tick for record in observer.records()]
    assert ticks == sorted(set(ticks))


def test_a_tick_is_quick_and_the_controller_small_beside_the_stack(stack: LocalStack, observer: Observer) -> None:
    ticks = [record.step_seconds for record in observer.records()]
    durations = sorted(sum(seconds for _, seconds in steps) for steps in ticks)
    # Without what waits for others.
    own = sorted(sum(seconds for name, seconds in steps if name not in {"collect", "act"}) for steps in ticks)
    p99, own_p99 = (times[int(0.99 * (len(times) - 1))] for times in (durations, own))
    resident = psutil.Process(stack.child(CONTROLLER).process.pid).memory_info().rss / 2**20

    MEASURED.append(
        f"tick p99 {p99:.3f} s of {len(durations)}, its own part {own_p99:.3f} s; "
        f"controller {resident:.0f} MiB resident"
    )
    # On a busy machine a tick may be slow now and then, but never late.
    assert durations[len(durations) // 2] < 1.0
    assert own_p99 < 1.0
    assert resident < 250


def test_a_wrong_token_is_said_to_be_wrong(stack: LocalStack, tmp_path: Path) -> None:
    foreserve = Path(sys.executable).with_name("foreserve")
    env = os.environ | {"RAY_AUTH_TOKEN": "0" * 64}
    command = [foreserve, "plan", "--policy", stack.options.policy, "--serve-url", stack.dashboard_url]

    done = subprocess.run(
        [*command, "--store", tmp_path / "db"], env=env, check=False, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "token" in done.stderr


def _two_are_needed(observer: Observer, traffic: Traffic) -> None:
    """Wait until two replicas serve, and what is in flight needs them, as the controller sees it."""
    since = CLOCK.now()

    def so() -> bool:
        seen, numbers = observer.record(), traffic.numbers.latest
        busy = numbers is not None and numbers.in_flight > 8
        return (
            busy
            and seen.at > since
            and _wants_two(seen)
            and sees(seen)
            and chat(seen).decision.current == 2
            and observer.settled_at(2)()
        )

    observer.wait(so, 150, "two replicas are needed and there")


def _wants_two(record: TickRecord) -> bool:
    """Whether the load measured or foreseen needs a second replica."""
    return any(step.stage in {"reactive", "forecast"} and step.replicas > 1 for step in chat(record).decision.steps)


def _engine(stack: LocalStack) -> psutil.Process:
    """Return the engine that has served the longest, so that streams are on it."""
    found = []
    for one in stack.files.run.processes():
        with suppress(psutil.Error):
            if any("EngineCore" in part for part in one.cmdline()[:1]):
                found.append((one.create_time(), one.pid, one))
    return min(found)[2]


def _numbers(traffic: Traffic) -> LoadTick:
    assert traffic.numbers.latest is not None
    return traffic.numbers.latest


def _held_for(observer: Observer, reason: Reason) -> bool:
    decision = observer.deployment().decision
    return reason in {decision.binding, *(step.reason for step in decision.steps)}


def _token_counters(scrapes: Sequence[Scrape]) -> frozenset[Sample]:
    names = {"ray_vllm_prompt_tokens_total", "ray_vllm_generation_tokens_total"}
    return frozenset(sample for scrape in scrapes for sample in scrape.samples if sample.name in names)
