from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from controller.clock import SystemClock
from controller.local import sweeper
from controller.local.belongings import MARK, SHARED_MEMORY, Run, orphaned_segments
from controller.local.layout import clean_up, dead_runs

now = SystemClock().now


@pytest.fixture
def run(tmp_path: Path) -> Run:
    scratch = tmp_path / "foreserve-feedbeef"
    scratch.mkdir()
    return Run(run_id="feedbeef", scratch=scratch)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: "feedbeef0"})
    yield process
    process.kill()
    process.wait()


def started(command: list[str], **options: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    wanted = Path(command[0]).name
    while wanted not in Path(f"/proc/{process.pid}/cmdline").read_text():
        time.sleep(0.01)
    return process


def test_a_marked_process_belongs_to_the_run(run: Run, bystander: subprocess.Popen[bytes]) -> None:
    marked = started(["sleep", "600"], env=os.environ | {MARK: run.run_id})

    owned = [process.pid for process in run.processes()]

    assert owned == [marked.pid]
    assert bystander.pid not in owned
    assert clean_up(run, began=now(), patience_s=2) == []
    assert not psutil.pid_exists(marked.pid)


def test_a_process_without_the_mark_is_known_by_its_command_line(run: Run) -> None:
    process = started(["tail", "-f", "/dev/null", f"{run.scratch}/haproxy.cfg"], stderr=subprocess.DEVNULL)

    assert [p.pid for p in run.processes()] == [process.pid]
    clean_up(run, began=now(), patience_s=2)
    assert not psutil.pid_exists(process.pid)


def test_a_process_without_the_mark_is_known_by_its_open_files(run: Run) -> None:
    with (run.scratch / "worker.out").open("w") as log:
        process = started(["sleep", "600"], stdout=log)

    assert [p.pid for p in run.processes()] == [process.pid]
    clean_up(run, began=now(), patience_s=2)
    assert not psutil.pid_exists(process.pid)


def test_a_process_that_ignores_sigterm_is_killed(run: Run) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {MARK: run.run_id}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()

    remains = clean_up(run, began=now(), patience_s=0.2)

    assert remains == []
    assert not psutil.pid_exists(process.pid)


def test_segments_and_folder_of_a_run_are_removed_and_others_are_kept(run: Run) -> None:
    theirs = SHARED_MEMORY / f"psm_{os.getpid():08x}"
    code = (
        "from multiprocessing import shared_memory, resource_tracker; import time\n"
        "s = shared_memory.SharedMemory(create=True, size=4096); print(s.name, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {MARK: run.run_id}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    name = process.stdout.readline().decode().strip()
    with theirs.open("w"):
        assert run.segments() == {name}

        remains = clean_up(run, began=now() - 60, patience_s=2)

        assert theirs.exists()
    theirs.unlink(missing_ok=True)
    process.wait(5)
    assert remains == []
    assert not (SHARED_MEMORY / name).exists()
    assert not run.scratch.exists()


def test_a_segment_that_nobody_holds_is_orphaned_only_if_it_is_of_this_run() -> None:
    began = now()
    orphan = SHARED_MEMORY / f"psm_{os.getpid():08x}"
    named = SHARED_MEMORY / f"somebodys-{os.getpid()}"
    for path in (orphan, named):
        path.touch()

    found = orphaned_segments(began - 1)
    later = orphaned_segments(began + 3600)
    for path in (orphan, named):
        path.unlink()

    assert orphan.name in found
    assert named.name not in found
    assert orphan.name not in later


@pytest.mark.parametrize(("created", "dead"), [(0.0, 0), (-50.0, 1)], ids=["owner alive", "process id used again"])
def test_a_run_is_dead_when_its_owner_is(tmp_path: Path, created: float, dead: int) -> None:
    owner = psutil.Process()
    scratch = tmp_path / "foreserve-0badcafe"
    scratch.mkdir()
    note = {"run_id": "0badcafe", "pid": owner.pid, "pid_created": owner.create_time() + created, "began": 5.0}
    (scratch / "run.json").write_text(json.dumps(note))

    found = dead_runs(tmp_path)

    assert found == [(Run(run_id="0badcafe", scratch=scratch), 5.0)][:dead]


def test_a_damaged_note_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "foreserve-1").mkdir()
    (tmp_path / "foreserve-1" / "run.json").write_text("{")

    assert dead_runs(tmp_path) == []


def test_a_sweeper_cleans_up_when_its_owner_is_gone(tmp_path: Path) -> None:
    run = Run(run_id="feedbeef", scratch=tmp_path / "foreserve-feedbeef")
    run.scratch.mkdir()
    marked = started(["sleep", "600"], env=os.environ | {MARK: run.run_id})
    code = f"""
import time
from pathlib import Path
from controller.local import sweeper
from controller.local.belongings import Run
sweeper.start(Run(run_id="feedbeef", scratch=Path({str(run.scratch)!r})), began={now()})
print("up", flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    assert run.scratch.exists()

    owner.kill()
    owner.wait()

    assert marked.wait(20) != 0
    deadline = time.monotonic() + 10
    while run.scratch.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_sweeper_has_nothing_to_do_after_an_orderly_end(run: Run) -> None:
    sweeping = sweeper.start(run, began=now())
    clean_up(run, began=now(), patience_s=1)

    sweeper.release(sweeping, 20)

    assert sweeping.returncode == 0
