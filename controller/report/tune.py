"""Writes what a search found: tune.json for programs, tune.html for people, and policy files ready to use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from controller.errors import BadInputError
from controller.report.templates import assets, templates
from controller.tuning.problem import Problem, policy_text
from controller.tuning.search import Trial, cheapest, pareto_front

TUNE_SCHEMA = 1
CHEAPEST = "cheapest.yaml"

_STYLES = ("page.css", "replay.css")


def policy_files(done: Sequence[Trial], objective: float) -> dict[int, str]:
    """Names of the files that are written, by trial: those of the front, the cheapest good one under its own name."""
    best = cheapest(done, objective)
    names = {trial.number: f"front-{place:02d}.yaml" for place, trial in enumerate(pareto_front(done), start=1)}
    return names if best is None else names | {best.number: CHEAPEST}


def write_tuning(
    directory: Path, problem: Problem, done: Sequence[Trial], *, objective: float, title: str, command: str
) -> None:
    """Write everything into ``directory``.

    Raises:
        BadInputError: it cannot be written to.

    """
    names = policy_files(done, objective)
    front = {trial.number for trial in pareto_front(done)}
    rows = [asdict(trial) | {"front": trial.number in front, "file": names.get(trial.number)} for trial in done]
    document = {"schema": TUNE_SCHEMA, "title": title, "command": command, "objective": objective, "trials": rows}
    by_number = {trial.number: trial for trial in done}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for stale in directory.glob("front-*.yaml"):
            stale.unlink()
        for number, name in names.items():
            (directory / name).write_bytes(policy_text(problem, by_number[number].values))
        (directory / "tune.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (directory / "tune.html").write_text(_page(document), encoding="utf-8")
    except OSError as error:
        msg = f"{directory}: the result cannot be written: {error.strerror or error}"
        raise BadInputError(msg) from error


def _page(document: dict[str, Any]) -> str:
    drawn = [row for row in document["trials"] if row["gpu_hours"] is not None]
    shown = [row for row in drawn if row["front"] or row["file"] or row["number"] == 0]
    return (
        templates()
        .get_template("tune.html")
        .render(
            title=document["title"],
            command=document["command"],
            objective=document["objective"],
            tried=len(drawn),
            refused=len(document["trials"]) - len(drawn),
            names=list(dict.fromkeys(name for row in drawn for name in row["values"])),
            rows=sorted(shown, key=lambda row: row["gpu_hours"]),
            base=next((row["gpu_hours"] for row in drawn if row["number"] == 0), None),
            data={"objective": document["objective"], "trials": drawn},
            style=assets(_STYLES),
            script=assets(["tune.js"]),
        )
    )
