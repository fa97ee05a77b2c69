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

import psutil
import pytest

from controller.cli.exit_codes import ExitCode
from controller.codec import load_record
from controller.local.belongings import SHARED_MEMORY
from controller.local.layout import SCRATCH_PREFIX, SCRATCH_ROOT, clean_up, dead_runs
from tests.stack.conftest import MODEL, POLICY, free_ports

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
    assert set(SHARED_MEMORY.iterdir()) <= segments
    assert set(SCRATCH_ROOT.glob(f"{SCRATCH_PREFIX}*")) <= scratch


def test_a_headless_run_prints_a_line_per_tick_and_leaves_a_report(tmp_path: Path) -> None:
    report = tmp_path / "out"

    done = subprocess.run(
        command(tmp_path / "f", "--headless", "--duration=20s", f"--report={report}"),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == ExitCode.OK, done.stderr
    records = [load_record(line) for line in done.stdout.splitlines()]
    assert len(records) >= 8
    assert [record.tick for record in records] == sorted({record.tick for record in records})
    assert "could not be removed" not in done.stderr
    assert " 0 failed" in done.stderr
    assert json.loads((report / "report.json").read_text())
    assert "<html" in (report / "report.html").read_text()


def test_a_killed_run_leaves_no_process_and_the_next_one_removes_the_rest(tmp_path: Path) -> None:
    with subprocess.Popen(command(tmp_path / "f", "--headless"), stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if line.startswith("Model server ..."):
                break
        time.sleep(2)
        up.send_signal(signal.SIGKILL)

    ((run, began),) = dead_runs()
    deadline = time.monotonic() + 30
    while run.processes():
        assert time.monotonic() < deadline, [process.cmdline()[:3] for process in run.processes()]
        time.sleep(0.5)
    assert clean_up(run, began=began, patience_s=1) == []


def test_a_crash_of_a_child_ends_the_run_and_is_named(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(tmp_path / "f", "--headless", "--no-prometheus"), stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if line.startswith("Model server ..."):
                break
        (ray,) = [
            child
            for child in psutil.Process(up.pid).children()
            if any(part.endswith("/ray") for part in child.cmdline())
        ]
        os.kill(ray.pid, signal.SIGKILL)
        message = up.stderr.read()

    assert up.returncode == ExitCode.FAILED
    assert "Ray ended by itself (killed by SIGKILL)" in message
