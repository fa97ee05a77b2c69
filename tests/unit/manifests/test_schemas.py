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

SCHEMAS = json.loads(
    (Path(__file__).parents[2] / "data" / "schemas" / "monitoring.coreos.com.json").read_text(encoding="utf-8")
)
RULES_OF_GOOGLE = {"ClusterRules", "Rules"}
UNCHECKED = {"PodMonitoring", "ComputeClass"}
"""Google's, of which no definition is to be had (tests/data/schemas/README.md)."""


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


def test_every_kind_is_checked_by_something_or_named_as_unchecked() -> None:
    custom = {
        thing["kind"]
        for _, thing in shipped()
        if thing["apiVersion"].partition("/")[0].endswith((".com", ".io"))
        and not thing["apiVersion"].partition("/")[0].endswith(("k8s.io", "ray.io"))
    }

    assert custom - {"Kustomization", "Component"} == {*UNCHECKED, "ClusterRules", "ServiceMonitor", "PodMonitor"}
