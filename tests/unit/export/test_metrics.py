"""The controller's own metrics: from the record, catalogued, and absent where unknown."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from controller.catalog import exported as catalogued
from controller.catalog.exported import EXPORTED
from controller.domain.canary import BuildSeen, CanaryPhase, CanaryProgress, CanaryRecord
from controller.domain.plan import Conflict, Outcome, OutcomeStatus
from controller.domain.record import TickRecord
from controller.export.metrics import MetricsExporter
from controller.ports import LoopEvent
from tests.records import CHAT, EMBED, cluster_record, deployment_record, record, snapshot

NAMES = {"application": "chat", "deployment": "LLMServer:tiny"}
STANDING = {"signal": "ongoing_requests", "horizon_seconds": "120"}

CANARY = CanaryRecord(
    name="chat-v2",
    progress=CanaryProgress(
        build="v2", phase=CanaryPhase.RAMPING, step=0, share=0.01, since=0.0, why="1% to the canary"
    ),
    steps=4,
    found_share=0.01,
    canary=BuildSeen(requests=10, failed=1, first_byte_p50_s=0.2),
    stable=BuildSeen(requests=990, failed=0, first_byte_p50_s=0.1),
)


def exported(*records: TickRecord) -> MetricsExporter:
    exporter = MetricsExporter()
    for each in records:
        exporter.export(each)
    return exporter


def value(exporter: MetricsExporter, name: str, **labels: str) -> float | None:
    return exporter.registry.get_sample_value(f"foreserve_{name}", labels)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("demand", {**NAMES, "signal": "ongoing_requests"}, 6.0),
        ("signal_known", {**NAMES, "signal": "ongoing_requests"}, 1.0),
        ("signal_known", {**NAMES, "signal": "decode_tokens_per_s"}, 0.0),
        ("forecast", {**NAMES, "signal": "ongoing_requests", "quantile": "0.9", "horizon": "replica"}, 12.0),
        ("forecast_horizon_seconds", {**NAMES, "horizon": "replica"}, 50.0),
        ("lead_time_seconds", {**NAMES, "quantile": "0.95", "source": "measured"}, 45.0),
        ("lead_time_layer_seconds", {**NAMES, "layer": "replica", "source": "measured"}, 40.0),
        ("budget_limit", {"resource": "gpus"}, 8.0),
        ("budget_held", {"resource": "gpus"}, 2.0),
        ("budget_wanted", {"resource": "gpus"}, 3.0),
        ("capacity_per_replica", {**NAMES, "signal": "ongoing_requests", "source": "policy"}, 3.0),
        ("target_replicas", NAMES, 2.0),
        ("desired_replicas", NAMES, 3.0),
        ("ready_replicas", NAMES, 1.0),
        ("max_replicas", NAMES, 4.0),
        ("ttft_seconds", {**NAMES, "quantile": "0.95"}, 0.9),
        ("forecast_available", NAMES, 1.0),
        ("forecast_coverage_ratio", {**NAMES, **STANDING}, 0.91),
        ("forecast_promised_ratio", {**NAMES, **STANDING}, 0.9),
        ("forecast_pinball_loss", {**NAMES, **STANDING}, 0.4),
        ("forecast_bias", {**NAMES, **STANDING}, 1.5),
        ("forecast_trusted", {**NAMES, **STANDING}, 1.0),
        ("forecast_record_horizons", {**NAMES, **STANDING}, 40.0),
        ("forecast_leading_info", {**NAMES, **STANDING, "method": "smoothing_2"}, 1.0),
        ("forecast_model_age_seconds", {**NAMES, **STANDING}, 600.0),
        ("forecast_fit_failed", {**NAMES, **STANDING}, 0.0),
        ("ledger_orders", {**NAMES, "status": "pending"}, 1.0),
        ("ledger_orders", {**NAMES, "status": "late"}, 0.0),
        ("decisions_total", {**NAMES, "action": "scale_up", "reason": "forecast"}, 1.0),
        ("actuations_total", {**NAMES, "outcome": "applied"}, 1.0),
        ("source_up", {"source": "ray/10.0.0.3:8080", "kind": "ray"}, 1.0),
        ("step_duration_seconds", {"step": "collect"}, 0.2),
        ("policy_info", {"version": "0123456789ab", "mode": "direct"}, 1.0),
        ("ticks_total", {}, 1.0),
        ("tick_duration_seconds_bucket", {"le": "0.25"}, 1.0),
        ("tick_duration_seconds_bucket", {"le": "0.1"}, 0.0),
    ],
)
def test_a_record_shows_as_series(name: str, labels: dict[str, str], expected: float) -> None:
    assert value(exported(record()), name, **labels) == expected


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("demand", {**NAMES, "signal": "decode_tokens_per_s"}),
        ("kv_cache_usage_ratio", NAMES),
        ("itl_seconds", {**NAMES, "quantile": "0.95"}),
    ],
)
def test_what_is_unknown_has_no_series(name: str, labels: dict[str, str]) -> None:
    assert value(exported(record()), name, **labels) is None


def test_series_end_when_their_labels_are_no_longer_current() -> None:
    both = record(deployment_record(CHAT), deployment_record(EMBED))

    exporter = exported(both, record(deployment_record(CHAT)))

    assert value(exporter, "target_replicas", **NAMES) == 2.0
    assert value(exporter, "target_replicas", application="embed", deployment="Embedder") is None


def test_an_unreadable_target_ends_its_series() -> None:
    blind = deployment_record(snapshot=snapshot(target_replicas=None, replicas=None))

    exporter = exported(record(), record(blind))

    assert value(exporter, "target_replicas", **NAMES) is None
    assert value(exporter, "ready_replicas", **NAMES) is None


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("ticks_total", {}),
        ("tick_failures_total", {}),
        ("ticks_skipped_total", {}),
        ("forecast_problems_total", {"problem": "failed"}),
        ("forecast_problems_total", {"problem": "late"}),
        ("store_errors_total", {}),
        ("policy_reloads_total", {"result": "reloaded"}),
        ("policy_reloads_total", {"result": "rejected"}),
    ],
)
def test_counters_of_the_loop_start_at_zero(name: str, labels: dict[str, str]) -> None:
    assert value(MetricsExporter(), name, **labels) == 0.0


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("actuations_total", {"outcome": "failed"}),
        ("decisions_total", {"action": "scale_down", "reason": "demand"}),
        ("conflicts_total", {"cause": "second_writer"}),
    ],
)
def test_counters_of_a_deployment_start_at_zero_when_it_is_first_seen(name: str, labels: dict[str, str]) -> None:
    assert value(exported(record()), name, **NAMES, **labels) == 0.0


def test_counters_add_up_over_ticks() -> None:
    failed = deployment_record(outcome=Outcome(id=CHAT, status=OutcomeStatus.FAILED))
    conflict = Conflict(id=CHAT, expected=2, found=5, cause="second_writer")

    exporter = exported(record(failed), record(failed), record(conflicts=(conflict,)))

    assert value(exporter, "actuations_total", **NAMES, outcome="failed") == 2.0
    assert value(exporter, "conflicts_total", **NAMES, cause="second_writer") == 1.0
    assert value(exporter, "ticks_total") == 3.0


@pytest.mark.parametrize(
    ("event", "name", "labels"),
    [
        (LoopEvent.TICK_FAILED, "tick_failures_total", {}),
        (LoopEvent.TICK_SKIPPED, "ticks_skipped_total", {}),
        (LoopEvent.STORE_FAILED, "store_errors_total", {}),
        (LoopEvent.FORECAST_FAILED, "forecast_problems_total", {"problem": "failed"}),
        (LoopEvent.FORECAST_LATE, "forecast_problems_total", {"problem": "late"}),
        (LoopEvent.POLICY_RELOADED, "policy_reloads_total", {"result": "reloaded"}),
        (LoopEvent.POLICY_REJECTED, "policy_reloads_total", {"result": "rejected"}),
    ],
)
def test_events_of_the_loop_are_counted(event: LoopEvent, name: str, labels: dict[str, str]) -> None:
    exporter = MetricsExporter()

    exporter.note(event)

    assert value(exporter, name, **labels) == 1.0


def test_every_exported_series_is_catalogued_with_exactly_its_labels() -> None:
    catalogue = {metric.name: set(metric.labels) for metric in EXPORTED}
    conflict = Conflict(id=CHAT, expected=1, found=2, cause="redeploy")
    exporter = exported(record(conflicts=(conflict,), cluster=cluster_record(), canaries=(CANARY,)))
    exporter.count(catalogued.WEBHOOK_DELIVERIES, "ops", "delivered")
    exporter.count(catalogued.WEBHOOKS_RECEIVED, "alertmanager", "accepted", by=0)
    sink = (catalogued.WEBHOOK_PENDING, catalogued.WEBHOOK_DEAD_LETTERS, catalogued.WEBHOOK_OLDEST)
    exporter.also(lambda: [(metric, ("ops",), 1.0) for metric in sink])
    page = generate_latest(exporter.registry)

    families = list(text_string_to_metric_families(page.decode()))
    seen = {
        f"{family.name}_total" if family.type == "counter" else family.name: [
            set(sample.labels) - {"le"} for sample in family.samples
        ]
        for family in families
    }

    assert {name: labels for name, each in seen.items() for labels in each} == {
        name: labels for name, labels in catalogue.items() if name in seen
    }
    assert set(seen) == set(catalogue) - {"foreserve_kv_cache_usage_ratio"}
