"""What the shipped overlays promise each other, without a cluster."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from alerts.export import Format, document
from controller.clients.warm_objects import PRIORITY_CLASS, name_of_pool
from controller.policy.load import load_policy
from controller.settings import Settings
from serving import environment
from tests.kubernetes_api import definitions
from tests.manifests import MANIFESTS, NO_KUBECTL, OVERLAYS, built, kubectl, of_kind

needs_kubectl = pytest.mark.skipif(kubectl() is None, reason=NO_KUBECTL)


def policy_of(overlay: str) -> Any:
    return load_policy(MANIFESTS / "overlays" / overlay / "policy.yaml").policy


def worker_groups(overlay: str) -> dict[str, Any]:
    [service] = of_kind(overlay, "RayService")
    return {group["groupName"]: group for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]}


def closed(schema: Any) -> Any:
    """The same schema, refusing fields that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    free = inner.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in inner
    if inner.get("type") == "object" and "properties" in inner and not free:
        inner["additionalProperties"] = False
    if inner.get("x-kubernetes-int-or-string"):
        inner.pop("type", None)
    return inner


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_ray_service_fits_its_definition_and_has_no_field_beside(overlay: str) -> None:
    [definition] = [one for one in definitions() if one["metadata"]["name"] == "rayservices.ray.io"]
    [version] = definition["spec"]["versions"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    [service] = of_kind(overlay, "RayService")

    jsonschema.Draft202012Validator(schema).validate(service)
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["minReplica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="minReplica"):
        jsonschema.Draft202012Validator(schema).validate(service)
    del service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["minReplica"]


@needs_kubectl
@pytest.mark.parametrize("overlay", ["gke-standard", "gke-autopilot"])
def test_the_policys_groups_are_the_services_with_as_many_gpus(overlay: str) -> None:
    groups = worker_groups(overlay)
    wanted = policy_of(overlay).cluster

    assert {group.name for group in wanted.worker_groups} == set(groups)
    for group in wanted.worker_groups:
        [container] = groups[group.name]["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == str(group.gpus_per_worker)
        assert groups[group.name]["rayStartParams"]["num-gpus"] == str(group.gpus_per_worker)


@needs_kubectl
@pytest.mark.parametrize("overlay", ["gke-standard", "gke-autopilot"])
def test_no_pod_with_streams_is_moved_to_empty_a_node(overlay: str) -> None:
    [service] = of_kind(overlay, "RayService")
    config = service["spec"]["rayClusterConfig"]
    templates = [one["template"] for one in (config["headGroupSpec"], *config["workerGroupSpecs"])]

    told = {
        template["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] for template in templates
    }
    delays = [one["spec"]["autoscalingPolicy"] for one in of_kind(overlay, "ComputeClass")]

    assert told == {"false"}
    assert delays == [{"consolidationDelayMinutes": 10}] * (overlay == "gke-autopilot")


@needs_kubectl
@pytest.mark.parametrize("overlay", ["gke-standard", "gke-autopilot"])
def test_every_pool_of_the_policy_can_be_kept_warm_and_no_other_name_is_allowed(overlay: str) -> None:
    [role] = [one for one in of_kind(overlay, "Role") if one["metadata"]["name"] == "foreserve-warm-capacity"]
    names = {name_of_pool(pool.name) for pool in policy_of(overlay).cluster.node_pools}

    assert all(set(rule["resourceNames"]) == names for rule in role["rules"])
    assert [one["metadata"]["name"] for one in of_kind(overlay, "PriorityClass")] == [PRIORITY_CLASS]
    assert of_kind(overlay, "PriorityClass")[0]["value"] == -10


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_controllers_settings_are_known_and_fit_the_service(overlay: str) -> None:
    [workload] = of_kind(overlay, "StatefulSet")
    [container] = workload["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in container["env"] if one["name"].startswith("FORESERVE_")}
    [service] = of_kind(overlay, "RayService")

    assert {name.removeprefix("FORESERVE_").lower() for name in given} <= set(Settings.model_fields)
    assert given["FORESERVE_RAY_SERVICE"] == service["metadata"]["name"]
    assert given["FORESERVE_SERVE_URL"] == f"http://{service['metadata']['name']}-head-svc:8265"
    applications = YAML(typ="safe").load(service["spec"]["serveConfigV2"])["applications"]
    deployed = {(one["name"], f"LLMServer:{one['args']['model_id']}") for one in applications}
    assert {(one.application, one.deployment) for one in policy_of(overlay).deployments} == deployed


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_runs_with_more_rights_than_it_needs(overlay: str) -> None:
    [workload] = of_kind(overlay, "StatefulSet")
    pod = workload["spec"]["template"]["spec"]
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    rules = [rule for kind in ("Role", "ClusterRole") for role in of_kind(overlay, kind) for rule in role["rules"]]
    assert "*" not in json.dumps(rules)
    assert "secrets" not in json.dumps(rules)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_current_version_of_rays_kinds_is_used(overlay: str) -> None:
    versions = {thing["apiVersion"] for thing in built(overlay) if "ray.io" in thing["apiVersion"]}

    assert versions == {"ray.io/v1"}


def test_rays_environment_is_the_profile_of_gpu_nodes() -> None:
    lines = (MANIFESTS / "base/serving/ray.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert given == environment.gpu({})


@pytest.mark.parametrize("overlay", ["gke-standard", "gke-autopilot"])
def test_the_rules_are_those_of_the_policy(overlay: str) -> None:
    """Written anew by: foreserve alerts export --policy POLICY --format gke --out FOLDER."""
    shipped = YAML(typ="safe").load((MANIFESTS / "overlays" / overlay / "rules.yaml").read_text())

    assert shipped == document(policy_of(overlay), Format.GKE)


def test_the_application_is_one_that_the_code_builds() -> None:
    arguments = pytest.importorskip("serving.args", reason="the GPU pattern of serving/ is not there")
    text = (MANIFESTS / "base/serving/service.yaml").read_text()
    config = YAML(typ="safe").load(YAML(typ="safe").load(text)["spec"]["serveConfigV2"])

    assert [arguments.LLMArgs.model_validate(one["args"]).backend for one in config["applications"]] == ["gpu"]
