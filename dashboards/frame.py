"""What all dashboards share: variables, annotations, links, time range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grafanalib.core import Annotations, Dashboard, DashboardLink, Template, Templating, Time

from controller.catalog import exported, scraped, watched
from controller.catalog.metric import Metric
from controller.catalog.promql import matches
from dashboards.panel import DATASOURCE, Section, arranged
from dashboards.query import of, total

TAG = "foreserve"
SCHEMA_VERSION = 42
ALL = ".*"
CONTROLLER_URL = "http://127.0.0.1:9900"
RUNBOOKS = "docs/runbooks"

_BUILT_IN = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}
"""Grafana adds it by itself to a dashboard that has none, and would then differ from ours."""

_UPDATING = 3
_ON_TIME_RANGE_CHANGE = 2
_SHARED_CROSSHAIR = 1


def dashboard(
    *, uid: str, title: str, description: str, sections: Sequence[Section], variables: Sequence[Template] = ()
) -> Dashboard:
    """Frame sections of panels."""
    return Dashboard(
        uid=uid,
        title=title,
        description=description,
        tags=[TAG],
        schemaVersion=SCHEMA_VERSION,
        graphTooltip=_SHARED_CROSSHAIR,
        timezone="browser",
        refresh="10s",
        time=Time("now-1h", "now"),
        templating=Templating(list=[*_variables(), *variables]),
        annotations=Annotations(list=_annotations()),
        links=_links(),
        panels=arranged(sections),
    )


def asked(name: str, label: str, metric: Metric, of_label: str, *, narrowed: tuple[str, ...] = ()) -> Template:
    """Return a variable with the values of a label; all of them at first."""
    scope = ",".join(matches(by, f"${by}") for by in narrowed)
    return Template(
        name=name,
        label=label,
        query=f"label_values({metric.name}{{{scope}}}, {of_label})",
        dataSource=DATASOURCE,
        includeAll=True,
        allValue=ALL,
        multi=True,
        refresh=_ON_TIME_RANGE_CHANGE,
        default="$__all",
    )


def typed(name: str, label: str, default: str) -> Template:
    """Return a variable that a person types."""
    return Template(name=name, label=label, query=default, type="textbox", default=default)


def _variables() -> list[Template]:
    return [
        Template(name="datasource", label="Data source", query="prometheus", type="datasource"),
        asked("cluster", "Cluster", exported.BUILD_INFO, "cluster"),
        asked("application", "Application", scraped.SERVE_TARGET, "application", narrowed=("cluster",)),
        asked("deployment", "Deployment", scraped.SERVE_TARGET, "deployment", narrowed=("cluster", "application")),
        asked("model", "Model", scraped.VLLM_REQUEST_SUCCESS, "model_name", narrowed=("cluster",)),
        typed("controller", "Controller", CONTROLLER_URL),
        typed("runbooks", "Runbooks", RUNBOOKS),
    ]


def _links() -> list[DashboardLink]:
    return [
        DashboardLink(type="dashboards", title="Foreserve", tags=[TAG], asDropdown=False, includeVars=True),
        DashboardLink(
            type="link",
            title="Why? (the controller's own state)",
            uri="${controller}/api/v1/state",
            icon="question",
            targetBlank=True,
            keepTime=False,
        ),
    ]


def _annotations() -> list[dict[str, Any]]:
    changes = of(exported.DECISIONS, matches("action", "scale_up|scale_down|reassert"))
    policy, build = of(exported.POLICY_INFO), of(exported.BUILD_INFO)
    names = "application, deployment"
    return [
        _BUILT_IN,
        _annotation(
            "Decisions",
            "blue",
            f"{total(f'{names}, action, reason', f'increase({changes}[1m])')} > 0",
            "{{application}}/{{deployment}}: {{action}}",
            "{{reason}}",
        ),
        _annotation(
            "Deploys",
            "purple",
            f"max by ({names}) ({of(watched.SERVE_DEPLOYMENT_STATUS)}) == {_UPDATING}",
            "{{application}}/{{deployment}} is being updated",
            "Ray Serve replaces its replicas",
        ),
        _annotation("Policies", "orange", f"{policy} unless {policy} offset 1m", "policy {{version}}", "mode {{mode}}"),
        _annotation(
            "Controller", "green", f"{build} unless {build} offset 1m", "controller {{version}}", "{{instance}}"
        ),
        _annotation(
            "Pages",
            "red",
            'ALERTS{alertstate="firing",severity="page",application=~"$application|"}',
            "{{alertname}}",
            "{{application}} {{deployment}}",
            enabled=False,
        ),
    ]


def _annotation(name: str, colour: str, expr: str, title: str, text: str, *, enabled: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": enabled,
        "iconColor": colour,
        "expr": expr,
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
        "useValueForTime": False,
    }
