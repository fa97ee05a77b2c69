"""The digest tells a redeploy from scaling: checked on recorded answers of one cluster over its life."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.clients.config_digest import config_digest
from controller.clients.serve_answer import read_applications
from controller.domain.identity import DeploymentId
from tests.serve_rest import CHAT, ServeRestStandIn, capture

LLM = DeploymentId("llm", "LLMServer:tiny")
LLMD = DeploymentId("llmd", "LLMServer:tiny")


def digest(name: str, deployment: DeploymentId) -> str:
    state = read_applications(json.dumps(capture(name)).encode()).deployment(deployment)
    assert state is not None
    return state.config_digest


def target(name: str, deployment: DeploymentId) -> int | None:
    state = read_applications(json.dumps(capture(name)).encode()).deployment(deployment)
    return state.target_replicas if state else None


@pytest.mark.parametrize(
    ("deployment", "names"),
    [
        (LLM, ["llm_idle", "llm_loaded", "llm_scaleup", "llm_2replicas", "llm_scaledown", "llm_after", "llm_after12"]),
        (LLMD, ["llmd_kv_pressure", "llmd_scaleup", "llmd_scaledown"]),
        (LLMD, ["fault_engine", "fault_replica", "fault_haproxy", "fault_controller"]),
    ],
    ids=["scaled up and down", "scaled with direct streaming", "a replica, HAProxy and the Serve controller killed"],
)
def test_scaling_and_crashes_leave_the_digest_alone(deployment: DeploymentId, names: list[str]):
    digests = {digest(f"applications_{name}", deployment) for name in names}

    assert len(digests) == 1


def test_the_captures_of_scaling_do_differ_in_their_target():
    assert {target(f"applications_llm_{name}", LLM) for name in ("idle", "2replicas")} == {1, 2}


def test_a_redeploy_with_other_settings_changes_the_digest():
    recorded = ["llmd_loaded", "llmd_scaleup", "fault_engine", "llmd_v2_ray_executor"]

    assert len({digest(f"applications_{name}", LLMD) for name in recorded}) == len(recorded)


def stand_in_digest(serve: ServeRestStandIn, deployment: DeploymentId = CHAT) -> str:
    state = read_applications(json.dumps(serve.document).encode()).deployment(deployment)
    assert state is not None
    return state.config_digest


def test_the_same_config_again_keeps_digest_and_target():
    serve = ServeRestStandIn()
    before = stand_in_digest(serve)
    serve.set_target(2)

    serve.redeploy()

    assert stand_in_digest(serve) == before
    assert serve.target() == 2


@pytest.mark.parametrize(
    "settings", [{"max_ongoing_requests": 99}, {"num_replicas": 3}, {"user_config": {"a": 1}}], ids=str
)
def test_any_changed_setting_changes_the_digest_and_resets_the_target(settings: dict[str, Any]):
    serve = ServeRestStandIn()
    before = stand_in_digest(serve)
    serve.set_target(2)

    serve.redeploy(**settings)

    assert stand_in_digest(serve) != before
    assert serve.target() == settings.get("num_replicas", 1)


@pytest.mark.parametrize(
    "app_config",
    [
        {"args": {"num_replicas": 1, "model_id": "other"}},
        {"runtime_env": {"env_vars": {"A": "1"}}},
        {"import_path": "other:app"},
        {"deployments": [{"name": "LLMRouter", "request_router_config": {"request_router_class": "x:Y"}}]},
    ],
    ids=str,
)
def test_other_code_changes_the_digest_of_every_deployment_although_their_settings_stay(app_config: dict[str, Any]):
    serve = ServeRestStandIn()
    both = [CHAT, DeploymentId("chat", "LLMRouter")]
    before = [stand_in_digest(serve, deployment) for deployment in both]

    serve.put_code(**app_config)
    serve.roll_out()
    for deployment in both:
        serve.settle(deployment)

    assert all(stand_in_digest(serve, each) != old for each, old in zip(both, before, strict=True))


def test_other_code_changes_the_digest_once_more_when_it_resets_the_target_after_having_been_built():
    serve = ServeRestStandIn()
    serve.set_target(2)
    serve.put_code(args={"model_id": "other"})
    while_building = stand_in_digest(serve)
    assert serve.target() == 2

    serve.roll_out()

    assert serve.target() == 1
    assert stand_in_digest(serve) != while_building


def test_an_identical_redeploy_from_code_changes_the_digest_while_it_resets_the_target():
    serve = ServeRestStandIn()
    serve.application()["deployed_app_config"] = None
    serve.set_target(2)
    before = stand_in_digest(serve)

    serve.roll_out()

    assert serve.target() == 1
    assert stand_in_digest(serve) != before


def test_a_changed_sibling_leaves_the_digest_alone():
    serve = ServeRestStandIn()
    before = stand_in_digest(serve)

    serve.redeploy(DeploymentId("chat", "LLMRouter"), max_ongoing_requests=5)

    assert stand_in_digest(serve) == before


def test_another_target_capacity_changes_the_digest():
    serve = ServeRestStandIn()
    before = stand_in_digest(serve)

    serve.document["target_capacity"] = 50.0

    assert stand_in_digest(serve) != before


def test_key_order_and_explicit_nulls_do_not_matter():
    one = {"a": 1, "b": {"c": 2, "d": 3}, "e": None}
    other = {"b": {"d": 3, "c": 2}, "a": 1}

    digests = {config_digest(config, application=None, target_capacity=None, updating=False) for config in (one, other)}

    assert len(digests) == 1
