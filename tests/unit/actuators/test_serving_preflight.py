"""Each part of the fast path is believed only when its effect is seen."""

from __future__ import annotations

import pytest

from controller.actuators.preflight import CheckStatus
from controller.actuators.serving_preflight import (
    HaproxyFound,
    NodeFound,
    Streamed,
    answers_by_server,
    check_executor,
    check_haproxy,
    check_settings,
    check_traffic,
)
from serving.effective import read_config
from serving.environment import PROFILES, variables

CONFIG = """global
    maxconn 16384
    nbthread 8
    hard-stop-after 900s
defaults
    timeout connect 2s
    timeout client 3600s
    timeout server 600s
    retry-on conn-failure empty-response
    retries 3
    option http-no-delay
frontend prometheus
    bind :9101
frontend http_frontend
    bind *:8000
backend http-chat
    server SERVE_REPLICA_chat-LLMServer_m-abc 10.0.0.1:30000 check observe layer4
    server SERVE_PROXY_ACTOR-fallback-1 10.0.0.1:8500 check backup
"""
DIRECT = "SERVE_REPLICA_chat-LLMServer_m-abc"


def node(text: str = CONFIG, **environment: str) -> NodeFound:
    found = HaproxyFound.model_validate({"pid": 7, "listens": [8000, 9101], **read_config(text)})
    return NodeFound(node="n1", environment=variables(PROFILES["gpu"]) | environment, haproxy=(found,))


def statuses(checks) -> dict[str, CheckStatus]:
    return {check.name: check.status for check in checks if check.status is not CheckStatus.OK}


def test_a_configuration_is_read_with_its_servers_and_without_its_backups() -> None:
    found = read_config(CONFIG)

    assert found["settings"]["timeout server"] == "600s"
    assert found["binds"] == [":9101", "*:8000"]
    assert found["backends"]["http-chat"] == {"servers": [DIRECT], "backup": 1}


def test_a_node_as_it_should_be_has_only_its_open_ports_to_report() -> None:
    assert statuses(check_settings([node()], PROFILES["gpu"])) == {}
    assert statuses(check_haproxy([node()], port=8000)) == {"n1: HAProxy's ports": CheckStatus.WARN}


def test_a_setting_that_is_missing_is_named_with_its_value_and_its_reason() -> None:
    (check,) = check_settings([node(RAY_SERVE_HAPROXY_RETRIES="0")], PROFILES["gpu"])

    assert check.status is CheckStatus.WARN
    assert "RAY_SERVE_HAPROXY_RETRIES is 0" in check.detail
    assert "RAY_SERVE_HAPROXY_RETRIES=3 (One try" in check.fix


@pytest.mark.parametrize(
    ("old", "new"), [("nbthread 8", "nbthread 4"), ("    option http-no-delay\n", ""), ("900s", "120s")]
)
def test_what_was_asked_for_but_is_not_in_effect_fails(old: str, new: str) -> None:
    found = statuses(check_haproxy([node(CONFIG.replace(old, new))], port=8000))

    assert found["n1: HAProxy's configuration"] is CheckStatus.FAIL


def test_a_port_that_python_holds_fails() -> None:
    assert statuses(check_haproxy([NodeFound(node="n1")], port=8000)) == {"HAProxy": CheckStatus.FAIL}


@pytest.mark.parametrize(
    ("after", "streamed", "wrong"),
    [
        pytest.param({DIRECT: 14}, Streamed(sent=4, arrived_s=(1.0, 1.1, 1.2)), {}, id="as it should be"),
        pytest.param(
            {DIRECT: 10},
            Streamed(sent=4, arrived_s=(1.0, 1.1)),
            {"requests through HAProxy": "fail"},
            id="around HAProxy",
        ),
        pytest.param(
            {DIRECT: 10, "SERVE_REPLICA_chat-OpenAiIngress-x": 4},
            Streamed(sent=4, arrived_s=(1.0, 1.1)),
            {"direct streaming": "fail"},
            id="by an ingress",
        ),
        pytest.param(
            {DIRECT: 14}, Streamed(sent=4, arrived_s=(1.0, 1.0, 1.0)), {"token by token": "warn"}, id="all at once"
        ),
        pytest.param({}, Streamed(sent=0, problem="HTTP 500"), {"a streamed answer": "fail"}, id="no answer"),
    ],
)
def test_the_way_of_a_request(after: dict[str, float], streamed: Streamed, wrong: dict[str, str]) -> None:
    assert statuses(check_traffic({DIRECT: 10}, after, streamed)) == wrong


@pytest.mark.parametrize(
    ("processes", "status", "said"),
    [
        (("ray::RayWorkerProc.run",), CheckStatus.OK, "v2"),
        (("ray::RayWorkerWrapper",), CheckStatus.FAIL, "first executor"),
        (("ray::ServeReplica:chat:LLMServer:m",), CheckStatus.OK, "no worker runs on Ray"),
    ],
)
def test_the_executor_is_known_by_its_processes(processes: tuple[str, ...], status: CheckStatus, said: str) -> None:
    check = check_executor([NodeFound(node="n", processes=processes)])

    assert check.status is status
    assert said in check.detail


def test_answers_are_summed_over_haproxys_backends() -> None:
    page = (
        f'haproxy_server_http_responses_total{{proxy="http-a",server="{DIRECT}",code="2xx"}} 7\n'
        f'haproxy_server_http_responses_total{{proxy="http-a",server="{DIRECT}",code="5xx"}} 3\n'
        f'haproxy_server_http_responses_total{{proxy="http-a-via-router",server="{DIRECT}",code="2xx"}} 5\n'
    )

    assert answers_by_server(page) == {DIRECT: 12}
