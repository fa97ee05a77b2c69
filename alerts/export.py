"""All rules of a policy, as Prometheus, its Operator and Google's Managed Prometheus load them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from alerts.recording import recording_group
from alerts.rule import Alert, Group, Recording
from alerts.scaling import scaling_group
from alerts.service import service_group
from alerts.slo import slo_groups
from controller.policy.model import Policy

NAME = "foreserve"
EVERY_S = 60
RUNBOOKS = "docs/runbooks"
"""Where the runbooks are: in this repository, unless the exporter of the rules says otherwise."""

_WIDTH = 100_000


class Format(StrEnum):
    """Who will load the rules."""

    PROMETHEUS = "prometheus"
    """A plain rule file."""
    PROMETHEUSRULE = "prometheusrule"
    """A PrometheusRule of the Prometheus Operator."""
    GKE = "gke"
    """ClusterRules of Google Cloud Managed Service for Prometheus, or Rules when a namespace is given."""

    @property
    def file_name(self) -> str:
        """Name of the file that holds the rules in this format."""
        return {Format.PROMETHEUS: "foreserve.rules.yaml"}.get(self, f"foreserve-{self.value}.yaml")


def groups(policy: Policy, *, every_s: int = EVERY_S) -> tuple[Group, ...]:
    """Return every rule for a policy, in the order in which they need each other."""
    return (
        recording_group(every_s=every_s),
        *slo_groups(policy, every_s=every_s),
        service_group(every_s=every_s),
        scaling_group(policy, every_s=every_s),
    )


def document(
    policy: Policy,
    wanted: Format,
    *,
    runbooks: str = RUNBOOKS,
    namespace: str | None = None,
    every_s: int = EVERY_S,
) -> dict[str, Any]:
    """Return the rules as plain values.

    ``runbooks`` is the address under which the runbooks' pages are; ``every_s`` is how often the rules
    are evaluated, in seconds.
    """
    rules = {"groups": [_group(group, runbooks.rstrip("/")) for group in groups(policy, every_s=every_s)]}
    if wanted is Format.PROMETHEUS:
        return rules
    metadata: dict[str, Any] = {"name": NAME, **({"namespace": namespace} if namespace else {})}
    metadata["labels"] = {"app.kubernetes.io/name": NAME}
    if wanted is Format.PROMETHEUSRULE:
        kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    else:
        kind = {"apiVersion": "monitoring.googleapis.com/v1", "kind": "Rules" if namespace else "ClusterRules"}
    return {**kind, "metadata": metadata, "spec": rules}


def to_yaml(values: Mapping[str, Any], heading: str) -> str:
    """Write plain values as YAML under a comment."""
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(dict(values), stream)
    return f"# {heading}\n{stream.getvalue()}"


def _group(group: Group, runbooks: str) -> dict[str, Any]:
    rules = [_recording(rule) if isinstance(rule, Recording) else _alert(rule, runbooks) for rule in group.rules]
    return {"name": group.name, "interval": f"{group.interval_s}s", "rules": rules}


def _recording(rule: Recording) -> dict[str, Any]:
    return {
        "record": rule.metric.name,
        "expr": _expr(rule.expr),
        **({"labels": dict(rule.labels)} if rule.labels else {}),
    }


def _alert(rule: Alert, runbooks: str) -> dict[str, Any]:
    return {
        "alert": rule.name,
        "expr": _expr(rule.expr),
        "for": rule.hold,
        "labels": {"severity": rule.severity.value, "team": rule.team.value, **rule.labels},
        "annotations": {
            "summary": rule.summary,
            "description": rule.impact,
            "runbook_url": f"{runbooks}/{rule.name}.md",
        },
    }


def _expr(text: str) -> str:
    block: str = LiteralScalarString(text + "\n")
    return block
