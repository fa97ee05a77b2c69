from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from controller.domain.plan import Conflict, Order, OrderStatus, Reason
from controller.domain.reading import Known, Unknown
from controller.domain.record import TickRecord
from controller.domain.signals import Signal
from controller.domain.snapshot import Latency
from controller.live import LiveState, render
from controller.load.tick import LoadTick
from controller.policy.model import CapacityPrior, DeploymentPolicy, Limits, Policy
from tests.episode import episode
from tests.records import CHAT, EMBED, cluster_record, decision, deployment_record, record, snapshot

POLICY = Policy(
    version=1,
    deployments=(
        DeploymentPolicy(
            application="chat",
            deployment="LLMServer:tiny",
            limits=Limits(max_replicas=4),
            capacity=CapacityPrior(target_ongoing_requests=8),
        ),
    ),
)
LINKS = {"State": "http://127.0.0.1:9900/api/v1/state", "Prometheus": "http://127.0.0.1:9090"}
TRAFFIC = LoadTick(
    t_s=60.0,
    sent=240,
    completed=230,
    failed=0,
    in_flight=10,
    rps=4.2,
    output_tokens_per_s=103.0,
    ttft_p50_s=0.1,
    ttft_p95_s=0.32,
    itl_p50_s=0.01,
    itl_p95_s=0.02,
)


@pytest.fixture(autouse=True)
def in_utc() -> Iterator[None]:
    """Times of day are local; here they are those of Greenwich."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


def after(records: tuple[TickRecord, ...]) -> LiveState:
    state = LiveState()
    for one in records:
        state.update(one)
    return state


def drawn(
    newest: TickRecord | None, *, width: int = 80, load: LoadTick | None = TRAFFIC, state: LiveState | None = None
) -> str:
    console = Console(record=True, width=width, file=io.StringIO(), legacy_windows=False)
    console.print(render(newest, load, policy=POLICY, links=LINKS, width=width, state=state))
    return console.export_text()


BEFORE_THE_PEAK = """\
 Foreserve · direct · tick 13 in 130 ms · 14:14:20 · policy 0123456789ab
╭─ chat/LLMServer:tiny · HEALTHY ──────────────────────────────────────────────╮
│ Replicas  ■◧□□  1 ready · 1 starting · target 2 of 1 to 4                    │
│ Demand    now                      within 30 s, p50-p90    carried           │
│           6.0  requests in flight  11.5-12.9 damped trend  8.0 by 1          │
│ Load      ▃▃▃▃▃▃▃▃▃▄▃▃▄ 0.75 replicas' worth                                 │
│ Target    ▅▅▅▅▅▅▅▅▅▅███ 2                                                    │
│ TTFT p95  ━───────── 220 ms server · 320 ms client · objective 2.0 s         │
│ ITL p95   ━━──────── 23 ms server · 20 ms client · objective 100 ms          │
│ Now       wants 2, steady: within 1 and 2                                    │
│ Changed   1 → 2 at 14:14:05, 15 s ago, applied: forecast: 5.8 in flight now, │
│           8.5 within 30 s (p90); one replica carries 8                       │
│ Ordered   1 → 2, 15 s ago, due within 30 s                                   │
╰──────────────────────────────────────────────────────────────────────────────╯
 Sources  ● haproxy/10.0.0.3:9101 400 ms  ● ray/10.0.0.3:8080 500 ms
          ● serve/10.0.0.3:8265 100 ms
 Traffic  60 s  4.2 req/s  103 tok/s  10 open  TTFT p95 320 ms  ITL p95 20 ms
          0 failed
 Links    State http://127.0.0.1:9900/api/v1/state
          Prometheus http://127.0.0.1:9090
"""


def test_a_frame_says_what_is_asked_what_is_there_and_why() -> None:
    records = episode()[:13]

    text = drawn(records[-1], state=after(records))

    assert [line.rstrip() for line in text.splitlines()] == BEFORE_THE_PEAK.splitlines()


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("ticks", [1, 13, 22, 45, 54])
def test_a_frame_keeps_to_the_terminal(width: int, ticks: int) -> None:
    records = episode()[:ticks]

    lines = drawn(records[-1], width=width, state=after(records)).splitlines()

    assert max(len(line) for line in lines) <= width
    assert len(lines) <= 24


def test_the_last_change_stays_while_nothing_is_done() -> None:
    records = episode()[:40]

    text = drawn(records[-1], state=after(records))

    assert "wants 2, downscale delay: lower for less than 45 s: keep" in text
    assert "1 → 2 at 14:14:05, 2 min 30 s ago, applied: forecast" in text.replace("\n", "")


def test_without_a_state_the_newest_record_is_all_there_is() -> None:
    assert "nothing yet" in drawn(episode()[5])


def test_nodes_and_workers_are_shown_where_they_are_planned() -> None:
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(render(record(cluster=cluster_record()), None, policy=POLICY, links={}, width=140))
    shown = console.export_text()

    assert "l4: 3 nodes wanted; 2 ready" in shown
    assert "l4: 2 to 3 wanted; bounds 2 to 3" in shown


def test_before_the_first_tick_it_says_so() -> None:
    text = drawn(None)

    assert "Waiting for the first tick." in text
    assert "http://127.0.0.1:9090" in text


def test_unknown_is_shown_as_unknown_with_its_reason() -> None:
    blind = episode()[22]

    text = drawn(blind, width=140)

    assert "unknown  requests in flight" in text
    assert "requests in flight unknown: haproxy is stale" in text
    assert "nothing is lowered while missing: haproxy/10.0.0.3:9101" in text
    assert "✗ haproxy/10.0.0.3:9101 45 s, connection refused" in text
    assert "! haproxy/10.0.0.3:9101 is stale: nothing is lowered" in text


def test_a_stale_source_is_red() -> None:
    console = Console(record=True, width=140, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(render(episode()[22], None, policy=POLICY, links={}, width=140))

    assert "\x1b[31m✗ haproxy/10.0.0.3:9101" in console.export_text(styles=True)


def test_replicas_that_serve_does_not_tell_of_are_unknown() -> None:
    untold = deployment_record(snapshot=snapshot(replicas=None, target_replicas=None))

    text = drawn(record(untold))

    assert "unknown: Serve did not answer" in text
    assert "3.0 each" in text


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param({"deadline": 1012.0}, "due within 12 s", id="on-its-way"),
        pytest.param({"deadline": 990.0}, "late by 10 s", id="over-its-deadline"),
        pytest.param({"deadline": 990.0, "status": OrderStatus.LATE}, "late by 10 s", id="late"),
    ],
)
def test_open_orders_show_when_they_are_due(order: dict[str, object], expected: str) -> None:
    fields = {"id": CHAT, "ordered_at": 980.0, "from_replicas": 1, "to_replicas": 2, **order}

    assert f"1 → 2, 20 s ago, {expected}" in drawn(record(ledger=(Order(**fields),)))


def test_closed_orders_and_those_of_others_are_not_shown() -> None:
    closed = Order(
        id=CHAT, ordered_at=980.0, from_replicas=1, to_replicas=2, deadline=990.0, status=OrderStatus.ARRIVED
    )
    other = Order(id=EMBED, ordered_at=980.0, from_replicas=1, to_replicas=2, deadline=990.0)

    assert "Ordered" not in drawn(record(ledger=(closed, other)))


def test_a_missed_objective_is_told_from_a_kept_one() -> None:
    def styled(ttft_p95_s: float) -> str:
        latency = Latency(
            ttft_p50_s=Known(0.1), ttft_p95_s=Known(ttft_p95_s), itl_p50_s=Unknown("idle"), itl_p95_s=Unknown("idle")
        )
        console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True, color_system="standard")
        console.print(
            render(
                record(deployment_record(snapshot=snapshot(latency=latency))), None, policy=POLICY, links={}, width=100
            )
        )
        return console.export_text(styles=True)

    assert "\x1b[1;31m2.1 s" in styled(2.1)
    assert "\x1b[1m1.9 s" in styled(1.9)
    assert "not measured (idle)" in styled(1.9)


def test_every_sizing_signal_has_its_line() -> None:
    capacity = decision().capacity
    two = decision(
        capacity=type(capacity)(
            per_replica={Signal.ONGOING_REQUESTS: 3.0, Signal.PREFILL_TOKENS: 900.0}, source=capacity.source
        ),
        forecasts=(),
        forecast_unavailable="too little history",
        binding=Reason.DEMAND,
    )

    text = drawn(record(deployment_record(decision=two)), width=120)

    assert "6.0  requests in flight  too little history  3.0 by 1" in text
    assert "400  prompt tokens/s     too little history  900 by 1" in text


def test_every_deployment_has_its_panel_and_conflicts_are_told() -> None:
    text = drawn(
        record(
            deployment_record(),
            deployment_record(EMBED),
            conflicts=(Conflict(id=EMBED, expected=2, found=5, cause="second_writer"),),
        )
    )

    assert "chat/LLMServer:tiny" in text
    assert "embed/Embedder" in text
    assert "! embed/Embedder: 2 was set, 5 is found (second writer)" in text


def test_a_state_takes_each_tick_once() -> None:
    records = episode()[:3]

    state = after((*records, records[-1], records[0]))

    assert [moment.at for moment in state.moments(CHAT)] == [one.at for one in records]
