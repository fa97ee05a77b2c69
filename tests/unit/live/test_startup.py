from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from controller.live.startup import StepStatus, render_startup

STEPS = (
    StepStatus(name="Tiny model", state="done", seconds=1.24, detail="already made"),
    StepStatus(name="Ray", state="running", seconds=12.0, detail="waiting for the dashboard"),
    StepStatus(name="Prometheus", state="waiting", seconds=0.0),
)


def drawn(steps: Sequence[StepStatus], width: int = 80) -> str:
    console = Console(record=True, width=width, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render_startup(steps, width=width))
    return console.export_text()


def test_each_step_is_named_timed_and_marked() -> None:
    text = drawn(STEPS)

    assert "Starting Foreserve · 1 of 3" in text
    assert "✓ Tiny model" in text
    assert "12.0 s" in text
    assert "· Prometheus" in text


def test_a_failed_step_shows_where_its_log_is() -> None:
    failed = StepStatus(name="Ray", state="failed", seconds=3.0, detail="exit code 1", log=Path("/var/log/ray.log"))

    text = drawn([STEPS[0], failed])

    assert "Foreserve could not start" in text
    assert "✗ Ray" in text
    assert "Ray failed; log: /var/log/ray.log" in text


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_asked(width: int) -> None:
    long = StepStatus(name="Model server", state="running", seconds=41.0, detail="loading weights " * 20)

    assert max(len(line) for line in drawn([*STEPS, long], width).splitlines()) <= width
