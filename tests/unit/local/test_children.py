from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from controller.local.children import ChildDiedError, exit_text, spawn, tail


def wait_until(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"

    child = spawn("x", python("import sys; print('out'); print('err', file=sys.stderr)"), env=os.environ, log=log)
    child.process.wait(10)

    assert sorted(log.read_text().split()) == ["err", "out"]


def test_a_child_that_ended_is_named_with_its_exit_code_and_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    child = spawn("Controller", python("print('disk full'); raise SystemExit(7)"), env=os.environ, log=log)
    child.process.wait(10)

    with pytest.raises(ChildDiedError) as caught:
        child.require_alive()

    message = str(caught.value)
    assert "Controller ended by itself (exit code 7)" in message
    assert str(log) in message
    assert "disk full" in message


def test_stopping_ends_the_whole_process_group(tmp_path: Path) -> None:
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    child = spawn("tree", python(code), env=os.environ, log=tmp_path / "x.log")
    wait_until(lambda: (tmp_path / "x.log").read_text().strip())
    grandchild = int((tmp_path / "x.log").read_text())

    child.stop(5.0)

    assert child.process.returncode == -signal.SIGTERM
    wait_until(lambda: is_gone(grandchild))


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    child = spawn("stubborn", python(code), env=os.environ, log=tmp_path / "x.log")
    wait_until(lambda: "up" in (tmp_path / "x.log").read_text())

    child.stop(0.2)

    assert child.process.returncode == -signal.SIGKILL


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from controller.local.children import spawn
child = spawn("x", ["sleep", "600"], env=os.environ, log=Path({str(tmp_path / "x.log")!r}))
time.sleep(0.5)
print(child.process.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()

    wait_until(lambda: is_gone(pid))


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "killed by SIGKILL"), (-70, "killed by signal 70")]
)
def test_exit_codes_in_words(code: int, text: str) -> None:
    assert exit_text(code) == text


def test_the_tail_of_a_huge_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("x" * 100 + "\n" + "filler\n" * 200_000 + "last words\n")

    assert tail(log, 2) == "  filler\n  last words"
