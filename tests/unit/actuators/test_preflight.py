"""Each thing that can be wrong with Serve or its metrics is found, and comes with what to do."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from controller.actuators.preflight import Check, CheckStatus, check_access, check_serve, check_sources
from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.clients.serve_answer import read_applications
from controller.collectors.exposition import read_exposition
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.policy.model import Policy
from tests.serve_rest import CAPTURES, CHAT, Document, ServeRestStandIn, capture


def policy(
    *, deployment: str = CHAT.deployment, application: str = "chat", target_ongoing_requests: float = 8, **limits: int
) -> Policy:
    return Policy.model_validate(
        {
            "version": 1,
            "deployments": [
                {
                    "application": application,
                    "deployment": deployment,
                    "limits": {"min_replicas": 1, "max_replicas": 4} | limits,
                    "capacity": {"target_ongoing_requests": target_ongoing_requests},
                }
            ],
        }
    )


def checks(document: Document, wanted: Policy) -> dict[str, Check]:
    state = read_applications(json.dumps(document).encode())
    return {check.name: check for check in check_serve(state, wanted)}


def problems(found: dict[str, Check]) -> dict[str, CheckStatus]:
    return {name: check.status for name, check in found.items() if check.status is not CheckStatus.OK}


def test_a_well_prepared_application_passes_every_check():
    found = checks(ServeRestStandIn().document, policy())

    assert problems(found) == {}
    assert list(found) == [
        "chat: status",
        "chat: external scaling",
        "chat/LLMServer:tiny: deployed",
        "chat/LLMServer:tiny: no autoscaling of its own",
        "chat/LLMServer:tiny: limits",
        "chat/LLMServer:tiny: concurrency",
    ]
    assert all(check.fix == "" for check in found.values())


def test_the_recorded_llm_application_passes():
    assert problems(checks(capture("applications_llm_2replicas"), policy(application="llm"))) == {}


def test_the_recorded_autoscaled_application_fails_for_both_reasons():
    found = checks(capture("applications_light_autoscaling"), policy(application="auto", deployment="Echo"))

    assert problems(found) == {
        "auto: external scaling": CheckStatus.FAIL,
        "auto/Echo: no autoscaling of its own": CheckStatus.FAIL,
    }
    assert "external_scaler_enabled: true" in found["auto: external scaling"].fix
    assert "num_replicas" in found["auto/Echo: no autoscaling of its own"].fix
    assert "1e9" in found["auto/Echo: no autoscaling of its own"].detail


def test_a_recorded_failed_deployment_fails_with_serves_own_words():
    found = checks(capture("applications_llmd_deploy_failed"), policy(application="llmd"))

    status = found["llmd: status"]
    assert status.status is CheckStatus.FAIL
    assert status.detail.startswith("DEPLOY_FAILED")
    assert len(status.detail) < 1000


@pytest.mark.parametrize(("status", "expected"), [("DEPLOYING", CheckStatus.WARN), ("UNHEALTHY", CheckStatus.FAIL)])
def test_an_application_that_is_not_running_is_named(status: str, expected: CheckStatus):
    serve = ServeRestStandIn()
    serve.application()["status"] = status

    assert checks(serve.document, policy())["chat: status"].status is expected


@pytest.mark.parametrize(
    ("application", "deployment", "first_suggestion"),
    [("chat", "LLMServer:tinny", "chat/LLMServer:tiny"), ("chta", "LLMRouter", "chat/LLMRouter")],
)
def test_an_unknown_deployment_is_answered_with_the_nearest_ones_first(
    application: str, deployment: str, first_suggestion: str
):
    found = checks(ServeRestStandIn().document, policy(application=application, deployment=deployment))

    check = found[f"{application}/{deployment}: deployed"]
    assert check.status is CheckStatus.FAIL
    assert check.fix.endswith(
        ", ".join([first_suggestion, *{"chat/LLMServer:tiny", "chat/LLMRouter"} - {first_suggestion}])
    )


def test_an_empty_serve_says_so():
    found = checks({"applications": {}}, policy())

    assert found["chat/LLMServer:tiny: deployed"].detail == "Serve has no deployment at all"


@pytest.mark.parametrize(
    ("target", "config", "limits", "said"),
    [
        (9, 1, {}, "the target is 9, outside 1 to 4"),
        (2, 1, {"min_replicas": 2}, "the configured num_replicas is 1, outside 2 to 4; a redeploy resets"),
        (3, 8, {}, "the configured num_replicas is 8, outside 1 to 4; a redeploy resets"),
    ],
)
def test_numbers_outside_the_limits_are_a_warning(target: int, config: int, limits: dict[str, int], said: str):
    serve = ServeRestStandIn()
    serve.deployment()["deployment_config"]["num_replicas"] = config
    serve.set_target(target)

    check = checks(serve.document, policy(**limits))["chat/LLMServer:tiny: limits"]

    assert check.status is CheckStatus.WARN
    assert check.detail.startswith(said)
    assert check.fix


@pytest.mark.parametrize(("target", "expected"), [(24, CheckStatus.OK), (25, CheckStatus.WARN)])
def test_a_target_above_what_a_replica_admits_is_a_warning(target: float, expected: CheckStatus):
    found = checks(ServeRestStandIn().document, policy(target_ongoing_requests=target))

    assert found["chat/LLMServer:tiny: concurrency"].status is expected


def test_an_application_with_two_deployments_is_checked_once():
    serve = ServeRestStandIn()
    entry = policy().model_dump(mode="json")["deployments"][0]
    both = Policy.model_validate({"version": 1, "deployments": [entry, entry | {"deployment": "LLMRouter"}]})

    names = [check.name for check in check_serve(read_applications(json.dumps(serve.document).encode()), both)]

    assert names.count("chat: status") == 1
    assert "chat/LLMRouter: deployed" in names


# Access


def test_a_token_in_clear_text_is_a_warning():
    found = check_access("10.0.0.3:8265", token_given=True, token_in_clear=True)

    assert [check.status for check in found] == [CheckStatus.OK, CheckStatus.WARN]
    assert "https" in found[1].fix


# Metrics


def scrape(kind: SourceKind, *pages: str, **changes: Any) -> Scrape:
    samples: list[Sample] = []
    for page in pages:
        samples += read_exposition(gzip.decompress((CAPTURES / f"{page}.prom.gz").read_bytes()), BY_SAMPLE_NAME)[0]
    given = {"source": f"{kind}/10.0.0.3:1", "kind": kind, "at": 0.0, "ok": True, "samples": tuple(samples)}
    return Scrape(**given | changes)


RAY = scrape(SourceKind.RAY, "ray_8080_llmd_2replicas")
HAPROXY = scrape(SourceKind.HAPROXY, "haproxy_9101_llmd_2replicas")


def by_name(*scrapes: Scrape) -> dict[str, Check]:
    return {check.name: check for check in check_sources(scrapes)}


def test_recorded_pages_pass():
    assert problems(by_name(RAY, HAPROXY)) == {}


@pytest.mark.parametrize("state", ["llm_idle", "llm_after12"])
def test_recorded_idle_pages_pass_although_gauges_have_expired(state: str):
    found = by_name(scrape(SourceKind.RAY, f"ray_8080_{state}"), scrape(SourceKind.HAPROXY, f"haproxy_9101_{state}"))

    assert problems(found) == {}


def test_a_page_before_the_first_llm_request_is_a_warning():
    found = by_name(scrape(SourceKind.RAY, "ray_8080_light_idle"), HAPROXY)

    assert problems(found) == {"ray metric families": CheckStatus.WARN}
    assert "ray_vllm_prompt_tokens_total" in found["ray metric families"].detail


def test_the_page_of_another_system_fails():
    found = by_name(scrape(SourceKind.RAY, "dashboard_44227_light_idle"), HAPROXY)

    assert problems(found) == {"ray metric families": CheckStatus.FAIL}


def test_an_endpoint_that_does_not_answer_fails_with_its_reason():
    dead = scrape(SourceKind.RAY, ok=False, errors=("http://10.0.0.3:8080/metrics: connection refused",))

    found = by_name(dead, HAPROXY)

    assert problems(found) == {"ray/10.0.0.3:1": CheckStatus.FAIL}
    assert "connection refused" in found["ray/10.0.0.3:1"].detail
    assert "FORESERVE_RAY_METRICS_TARGETS" in found["ray/10.0.0.3:1"].fix


def test_no_ray_endpoint_fails_and_no_haproxy_is_a_warning():
    assert problems(by_name()) == {"ray metrics": CheckStatus.FAIL, "haproxy metrics": CheckStatus.WARN}
