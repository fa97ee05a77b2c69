"""Every pattern's config for GPUs is a RayService, too: up to date, of KubeRay's definition, with what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.rayservice import BASE, rayservice, render
from tests.kubernetes_api import definitions
from tests.manifests import MANIFESTS
from tests.unit.manifests.test_overlays import closed

CONFIGS = sorted((MANIFESTS / "examples/serving").glob("*.gpu.yaml"))
SERVICES = MANIFESTS / "examples/rayservice"


def service(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((SERVICES / f"{name}.yaml").read_text()))


def groups(name: str) -> dict[str, Any]:
    return {group["groupName"]: group for group in service(name)["spec"]["rayClusterConfig"]["workerGroupSpecs"]}


def test_each_config_has_its_service_and_there_are_no_others() -> None:
    assert {path.stem for path in SERVICES.glob("*.yaml")} == {path.name.partition(".")[0] for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_service_is_up_to_date_and_fits_its_definition(path: Path) -> None:
    [definition] = [one for one in definitions() if one["metadata"]["name"] == "rayservices.ray.io"]
    schema = closed(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    written = (SERVICES / f"{path.name.partition('.')[0]}.yaml").read_text()

    assert written == render(path), "run: python -m serving.rayservice --write manifests/examples/rayservice …"
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(written))
    inner = yaml.safe_load(yaml.safe_load(written)["spec"]["serveConfigV2"])
    assert inner["applications"] == yaml.safe_load(path.read_text())["applications"]


def test_a_replica_over_two_nodes_has_workers_of_eight_gpus() -> None:
    (group,) = groups("tensor-pipeline").values()

    assert group["rayStartParams"]["num-gpus"] == "8"
    assert group["minReplicas"] == 2
    assert group["template"]["spec"]["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}


def test_models_on_different_gpus_have_groups_of_their_own() -> None:
    assert set(groups("several-apps")) == {"h100-x4", "l4-x1"}


def test_secrets_are_mounted_where_the_config_reads_them() -> None:
    pod = groups("canary")["h100-x1"]["template"]["spec"]
    mounts = {one["mountPath"]: one["name"] for one in pod["containers"][0]["volumeMounts"]}

    assert mounts["/etc/foreserve"] == "foreserve"
    assert {"name": "foreserve", "secret": {"secretName": "foreserve"}} in pod["volumes"]


@pytest.mark.parametrize(("name", "reads"), [("lora", True), ("prefix", True), ("single", False)])
def test_only_routers_that_read_requests_get_them(name: str, *, reads: bool) -> None:
    (group,) = groups(name).values()
    env = {one["name"] for one in group["template"]["spec"]["containers"][0].get("env", [])}

    assert ("RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY" in env) is reads


def test_a_gpu_that_gke_does_not_name_is_refused() -> None:
    model = {"model_id": "m", "model_source": "m", "backend": "gpu", "accelerator_type": "T1000"}
    config = {"applications": [{"name": "a", "args": model}]}

    with pytest.raises(ValueError, match="m: accelerator_type is T1000; give one of L4"):
        rayservice("a", config, yaml.safe_load(BASE.read_text()))
