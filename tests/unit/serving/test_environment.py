from __future__ import annotations

from pathlib import Path

import pytest

from serving import environment

MAKERS = [environment.local, environment.gpu]


@pytest.mark.parametrize("make", MAKERS)
def test_the_ingress_is_haproxy_with_direct_streaming(make: object) -> None:
    env = make({})  # type: ignore[operator]

    assert env["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert env["RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"] == "1"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["VLLM_CPU_KVCACHE_SPACE", "RAY_ADDRESS"])
def test_a_variable_that_would_break_the_start_is_not_inherited(make: object, name: str) -> None:
    assert name not in make({name: ""})  # type: ignore[operator]


@pytest.mark.parametrize("make", MAKERS)
def test_no_gauge_is_reported_slower_than_rays_agent_forgets_it(make: object) -> None:
    env = make({})  # type: ignore[operator]
    forgotten_after_s = 2 * float(env["RAY_metrics_report_interval_ms"]) / 1000

    assert float(env["RAY_SERVE_STATUS_GAUGE_REPORT_INTERVAL_S"]) < forgotten_after_s
    assert float(env["RAY_SERVE_HAPROXY_METRICS_REPORT_INTERVAL_S"]) < forgotten_after_s


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_there_before_is_kept_unless_it_is_ours(make: object) -> None:
    env = make({"HOME": "/home/a", "RAY_SERVE_ENABLE_HA_PROXY": "0"})  # type: ignore[operator]

    assert env["HOME"] == "/home/a"
    assert env["RAY_SERVE_ENABLE_HA_PROXY"] == "1"


def test_a_gpu_node_gets_nothing_that_is_meant_for_a_small_machine() -> None:
    env = environment.gpu({})

    assert not {"VLLM_TARGET_DEVICE", "TORCH_COMPILE_DISABLE", "OMP_NUM_THREADS", "FORESERVE_QUIET_ENGINE"} & set(env)


def test_a_replica_needs_nothing_that_the_node_does_not_have() -> None:
    assert environment.replica().items() <= environment.local({}).items()


def test_the_document_has_the_settings_as_they_are() -> None:
    document = Path(__file__).parents[3] / "docs/serving/performance.md"

    assert environment.table("gpu") in document.read_text()


def test_every_setting_has_a_reason() -> None:
    assert all(setting.why.endswith(".") for settings in environment.PROFILES.values() for setting in settings)


def test_one_machine_overrides_what_is_right_on_a_server() -> None:
    assert environment.local({})["RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER"] == "5s"
    assert environment.gpu({})["RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER"] == "2s"
