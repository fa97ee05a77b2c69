"""The command itself, as a person starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from controller.cli.exit_codes import ExitCode
from controller.codec import load_record
from controller.local.belongings import SHARED_MEMORY, Run
from controller.local.layout import SCRATCH_PREFIX, SCRATCH_ROOT
from tests.stack.conftest import MODEL, POLICY, free_ports
from tests.stack.leftovers import left_over
from tests.stack.patience import PATIENCE

FORESERVE = Path(sys.executable).with_name("foreserve")


def command(folder: Path, *more: str) -> list[str]:
    ports = free_ports()
    (folder / "models").mkdir(parents=True)
    if MODEL.exists():
        (folder / "models" / "tiny").symlink_to(MODEL)
    return [
        str(FORESERVE),
        "up",
        f"--folder={folder}",
        f"--policy={POLICY}",
        f"--port={ports.openai}",
        f"--controller-port={ports.controller}",
        f"--prometheus-port={ports.prometheus}",
        f"--dashboard-port={ports.dashboard}",
        *more,
    ]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    segments, scratch = set(SHARED_MEMORY.iterdir()), set(SCRATCH_ROOT.glob(f"{SCRATCH_PREFIX}*"))
    yield
    assert left_over(segments) == set()
    assert set(SCRATCH_ROOT.glob(f"{SCRATCH_PREFIX}*")) <= scratch


def test_a_headless_run_prints_a_line_per_tick_and_leaves_a_report(tmp_path: Path) -> None:
    report = tmp_path / "out"

    done = subprocess.run(
        command(tmp_path / "f", "--headless", "--duration=20s", f"--report={report}"),
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == ExitCode.OK, done.stderr
    records = [load_record(line) for line in done.stdout.splitlines()]
    assert len(records) >= 4
    assert [record.tick for record in records] == sorted({record.tick for record in records})
    assert "could not be removed" not in done.stderr
    assert " 0 failed" in done.stderr
    assert json.loads((report / "report.json").read_text())
    assert "<html" in (report / "report.html").read_text()


def test_a_killed_run_is_swept_away(tmp_path: Path) -> None:
    before = set(SCRATCH_ROOT.glob(f"{SCRATCH_PREFIX}*"))
    with subprocess.Popen(command(tmp_path / "f", "--headless"), stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr is not None
        _read_until(up.stderr, "Model server ...")
        (note,) = {one for one in SCRATCH_ROOT.glob(f"{SCRATCH_PREFIX}*/run.json") if one.parent not in before}
        scratch = note.parent
        up.kill()

    run = Run(run_id=scratch.name.removeprefix(SCRATCH_PREFIX), scratch=scratch)
    deadline = time.monotonic() + PATIENCE * 90
    while scratch.exists() or run.processes():
        assert time.monotonic() < deadline, [process.cmdline()[:3] for process in run.processes()]
        time.sleep(0.5)


def test_a_crash_of_a_child_ends_the_run_and_is_named(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path / "f", "--headless", "--no-prometheus"), stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stderr is not None
        _read_until(up.stderr, "Model server ...")
        (ray,) = [child for child in psutil.Process(up.pid).children() if child.name() == "ray"]
        os.kill(ray.pid, signal.SIGKILL)
        message = up.stderr.read()

    assert up.returncode == ExitCode.FAILED
    assert "Ray ended by itself (killed by SIGKILL)" in message, message


def _read_until(lines: IO[str], beginning: str) -> None:
    seen = []
    for line in lines:
        seen.append(line)
        if line.startswith(beginning):
            return
    pytest.fail(f"ended early: {''.join(seen)}")
