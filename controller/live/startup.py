"""Progress while a stack starts: each step by name, timed, with its log when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

StepState = Literal["waiting", "running", "done", "failed"]

_SPINNER = Spinner("dots", style="cyan")
_MARKS: dict[StepState, RenderableType] = {
    "waiting": Text("·", style="dim"),
    "running": _SPINNER,  # one object, so that it turns evenly however often the view is drawn
    "done": Text("✓", style="green"),
    "failed": Text("✗", style="bold red"),
}
_NAME_STYLES: dict[StepState, str] = {"waiting": "dim", "running": "bold", "done": "", "failed": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatus:
    """One named step of a start. ``seconds`` is how long it has taken so far, or took."""

    name: str
    state: StepState
    seconds: float = 0.0
    detail: str = ""
    log: Path | None = None


def render_startup(steps: Sequence[StepStatus], *, width: int) -> RenderableType:
    """Draw the steps as a panel ``width`` columns wide; a failed step shows where its log is."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", width=7)
    grid.add_column(ratio=1, overflow="fold", style="dim")
    for step in steps:
        seconds = "" if step.state == "waiting" else f"{step.seconds:.1f} s"
        grid.add_row(_MARKS[step.state], Text(step.name, style=_NAME_STYLES[step.state]), seconds, step.detail)
    failures = [_failure(step) for step in steps if step.state == "failed"]
    return Panel(
        Group(grid, *failures),
        title=Text(_title(steps), style="bold"),
        title_align="left",
        box=box.ROUNDED,
        border_style="red" if failures else "cyan",
        width=width,
    )


def _title(steps: Sequence[StepStatus]) -> str:
    if any(step.state == "failed" for step in steps):
        return "Foreserve could not start"
    done = sum(step.state == "done" for step in steps)
    if done == len(steps):
        return f"Foreserve is up · {sum(step.seconds for step in steps):.0f} s of work in {done} steps"
    return f"Starting Foreserve · {done} of {len(steps)}"


def _failure(step: StepStatus) -> Text:
    where = f"log: {step.log}" if step.log is not None else "it left no log"
    return Text(f"\n{step.name} failed; {where}", style="red", overflow="fold")
