"""What no API server here has a definition of is checked against its schema; a field that is not known is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from alerts.export import Format, document
from controller.policy.load import load_policy
from tests.manifests import MANIFESTS

FOLDER = Path(__file__).parents[2] / "data" / "schemas"
SCHEMAS = {
    kind: schema
    for name in ("monitoring.coreos.com", "google")
    for kind, schema in json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")).items()
}
RULES_OF_GOOGLE = {"ClusterRules", "Rules"}
OF_GOOGLE = {"PodMonitoring", "ComputeClass"}
"""Checked as documented (tests/data/schemas/README.md); only GKE has their definitions."""


def shipped() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(MANIFESTS.rglob("*.yaml")):
        for thing in YAML(typ="safe").load_all(path.read_text()):
            if isinstance(thing, dict) and "kind" in thing:
                yield str(path.relative_to(MANIFESTS)), thing


def of_kinds(kinds: set[str]) -> list[Any]:
    return [
        pytest.param(thing, id=f"{path}-{thing['metadata']['name']}")
        for path, thing in shipped()
        if thing["kind"] in kinds
    ]


@pytest.mark.parametrize("thing", of_kinds({"ServiceMonitor", "PodMonitor"}))
def test_the_prometheus_operator_would_take_what_is_shipped_for_it(thing: dict[str, Any]) -> None:
    jsonschema.validate(thing["spec"], SCHEMAS[thing["kind"]])


@pytest.mark.parametrize("thing", of_kinds(OF_GOOGLE))
def test_what_is_shipped_for_google_has_the_fields_that_google_documents(thing: dict[str, Any]) -> None:
    jsonschema.validate(thing["spec"], SCHEMAS[thing["kind"]])


@pytest.mark.parametrize("thing", of_kinds(RULES_OF_GOOGLE))
def test_the_rules_for_google_have_the_form_of_rules(thing: dict[str, Any]) -> None:
    jsonschema.validate(thing["spec"], SCHEMAS["PrometheusRule"])


def test_the_prometheus_operator_would_take_the_rules_that_are_exported_for_it() -> None:
    policy = load_policy(MANIFESTS / "overlays" / "gke-standard" / "policy.yaml").policy

    rules = document(policy, Format.PROMETHEUSRULE)

    jsonschema.validate(rules["spec"], SCHEMAS["PrometheusRule"])


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        pytest.param("ServiceMonitor", ("endpoints", 0), id="endpoint"),
        pytest.param("PodMonitor", ("selector",), id="selector"),
        pytest.param("PodMonitor", (), id="spec"),
        pytest.param("PodMonitoring", ("endpoints", 0), id="google-endpoint"),
        pytest.param("PodMonitoring", (), id="google-spec"),
        pytest.param("ComputeClass", ("priorities", 0, "gpu"), id="google-gpu"),
        pytest.param("ComputeClass", ("autoscalingPolicy",), id="google-autoscaling"),
    ],
)
def test_a_misspelt_field_is_refused(kind: str, path: tuple[str | int, ...]) -> None:
    thing = copy.deepcopy(next(one for _, one in shipped() if one["kind"] == kind))
    place = thing["spec"]
    for step in path:
        place = place[step]
    place["intervall"] = "15s"

    with pytest.raises(jsonschema.ValidationError, match="intervall"):
        jsonschema.validate(thing["spec"], SCHEMAS[kind])


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        pytest.param("PodMonitoring", ("endpoints", 0, "interval"), "15 s", id="no-duration"),
        pytest.param(
            "PodMonitoring", ("targetLabels",), {"fromPod": [{"from": "a", "to": "job"}]}, id="protected-label"
        ),
        pytest.param("PodMonitoring", ("targetLabels",), {"metadata": ["namespace"]}, id="no-such-metadata"),
        pytest.param("ComputeClass", ("whenUnsatisfiable",), "Wait", id="no-such-way"),
        pytest.param("ComputeClass", ("autoscalingPolicy", "consolidationDelayMinutes"), 0, id="no-delay"),
        pytest.param("ComputeClass", ("priorities", 0, "spot"), "yes", id="no-boolean"),
    ],
)
def test_a_value_that_google_does_not_document_is_refused(kind: str, path: tuple[str | int, ...], value: Any) -> None:
    spec = copy.deepcopy(next(one["spec"] for _, one in shipped() if one["kind"] == kind))
    place = spec
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, SCHEMAS[kind])


def test_every_kind_is_checked_by_something() -> None:
    custom = {
        thing["kind"]
        for _, thing in shipped()
        if thing["apiVersion"].partition("/")[0].endswith((".com", ".io"))
        and not thing["apiVersion"].partition("/")[0].endswith(("k8s.io", "ray.io"))
    }

    assert custom - {"Kustomization", "Component"} == {*OF_GOOGLE, "ClusterRules", "ServiceMonitor", "PodMonitor"}
