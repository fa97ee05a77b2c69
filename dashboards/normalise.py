"""From grafanalib's output to the JSON that current Grafana itself would save.

grafanalib writes for Grafana 8: explicit nulls that typed readers refuse, and keys that are long gone.
What is kept is listed, so that nothing old slips through.
"""

from __future__ import annotations

import json
from typing import Any

from grafanalib._gen import DashboardEncoder
from grafanalib.core import Dashboard

_DASHBOARD = {
    "annotations", "description", "editable", "graphTooltip", "links", "panels", "refresh", "schemaVersion",
    "tags", "templating", "time", "timepicker", "timezone", "title", "uid",
}  # fmt: skip
_PANEL = {
    "collapsed", "datasource", "description", "fieldConfig", "gridPos", "id", "interval", "links", "maxDataPoints",
    "options", "panels", "targets", "title", "transformations", "transparent", "type",
}  # fmt: skip
_ROW = {"collapsed", "gridPos", "id", "panels", "title", "type"}
_TARGET = {"datasource", "expr", "format", "hide", "instant", "legendFormat", "range", "refId"}
_VARIABLE = {
    "query": {
        "allValue", "current", "datasource", "hide", "includeAll", "label", "multi", "name", "options", "query",
        "refresh", "regex", "sort", "type",
    },
    "datasource": {"current", "hide", "includeAll", "label", "multi", "name", "options", "query", "refresh", "type"},
    "textbox": {"current", "hide", "label", "name", "options", "query", "type"},
    "custom": {"allValue", "current", "hide", "includeAll", "label", "multi", "name", "options", "query", "type"},
}  # fmt: skip
_ALL = {"text": ["All"], "value": ["$__all"]}


def plain(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as plain JSON values, sorted as they are to be written."""
    raw = json.loads(json.dumps(dashboard.to_json_data(), cls=DashboardEncoder))
    kept = {key: value for key, value in raw.items() if key in _DASHBOARD}
    kept["panels"] = [_panel(panel) for panel in raw["panels"]]
    kept["templating"] = {"list": [_variable(variable) for variable in raw["templating"]["list"]]}
    kept["timepicker"] = {}
    without: dict[str, Any] = _without_nulls(kept)
    return without


def text(dashboard: Dashboard) -> str:
    """Return a dashboard as the text of its file."""
    return json.dumps(plain(dashboard), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _panel(raw: dict[str, Any]) -> dict[str, Any]:
    if raw["type"] == "row":
        row = {key: value for key, value in raw.items() if key in _ROW}
        row["panels"] = [_panel(panel) for panel in raw["panels"]]
        return row
    panel = {key: value for key, value in raw.items() if key in _PANEL}
    panel["targets"] = [_target(target) for target in raw["targets"]]
    return panel


def _target(raw: dict[str, Any]) -> dict[str, Any]:
    target = {key: value for key, value in raw.items() if key in _TARGET}
    return {**target, "range": not raw["instant"]}


def _variable(raw: dict[str, Any]) -> dict[str, Any]:
    variable = {key: value for key, value in raw.items() if key in _VARIABLE[raw["type"]]}
    if raw["type"] == "datasource":
        variable["current"] = {}
    elif raw["includeAll"]:
        variable["current"] = _ALL
    else:
        current = raw["current"]
        variable["current"] = {"text": current["text"], "value": current["value"]}
    if raw["type"] == "textbox":
        variable["options"] = [{"selected": True, **variable["current"]}]
    return variable


def _without_nulls(value: Any) -> Any:
    """Leave nulls out, but for the value of a first threshold, where null means: from below everything."""
    if isinstance(value, dict):
        return {
            key: _without_nulls(inner)
            for key, inner in value.items()
            if inner is not None or (key == "value" and "color" in value)
        }
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
