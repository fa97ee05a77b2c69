"""Writes a replay's report: report.json for programs, report.html for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from controller.errors import BadInputError
from controller.report.replay_charts import chart_data
from controller.report.templates import assets, templates
from controller.simulation.comparison import Comparison

_STYLES = ("page.css", "vendor/uPlot.min.css", "replay.css")
_COMPARISON = TypeAdapter(Comparison)


def write_replay_report(directory: Path, comparison: Comparison) -> None:
    """Write ``report.json`` and ``report.html`` into ``directory``, which is made if it is not there.

    Raises:
        BadInputError: the directory cannot be written to.

    """
    data = _without_charts(comparison)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "report.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        (directory / "report.html").write_text(render_replay(comparison), encoding="utf-8")
    except OSError as exc:
        msg = f"{directory}: the report cannot be written: {exc.strerror or exc}"
        raise BadInputError(msg) from exc


def render_replay(comparison: Comparison) -> str:
    """The whole page as text, with everything in it."""
    return (
        templates()
        .get_template("replay.html")
        .render(
            comparison=comparison,
            data=chart_data(comparison),
            idle_nodes=any(policy.waste.idle_nodes for policy in comparison.policies),
            style=assets(_STYLES),
            library=assets(["vendor/uPlot.iife.min.js"]),
            script=assets(["replay.js"]),
        )
    )


def _without_charts(comparison: Comparison) -> dict[str, Any]:
    data: dict[str, Any] = _COMPARISON.dump_python(comparison, mode="json")
    for policy in data["policies"]:
        del policy["samples"], policy["timeline"]
    return data
