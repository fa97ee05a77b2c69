"""What on this machine belongs to one run: its processes, shared-memory segments and folders, and nothing else.

A process is recognised by the run's mark in its environment, or by the run's scratch folder in its command line or
among its open files. One sign is not enough: Ray's workers overwrite their environment when they rename themselves.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "LOCAL_STACK_RUN_ID"
"""Environment variable that every process of a run inherits. Not one of the controller's settings."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's, not a scratch folder

_SEGMENT = re.compile(r"(?:^|\s)/dev/shm/(\S+)")
_MADE_BY_PYTHON = re.compile(r"psm_[0-9a-f]+|sem\.(mp-)?\w+|plasma\w+|haproxy_startup_logs_\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the local stack, as far as this machine's resources are concerned."""

    run_id: str
    scratch: Path
    """Folder whose name nobody else uses; Ray and HAProxy keep everything under it."""

    def processes(self) -> list[psutil.Process]:
        """Every living process of this run, except the one that asks."""
        return [p for p in psutil.process_iter() if p.pid != os.getpid() and self._owns(p.pid)]

    def segments(self) -> set[str]:
        """Names of the shared-memory segments that this run's processes hold now."""
        held: set[str] = set()
        for process in self.processes():
            held |= _segments_of(process.pid)
        return held

    def _owns(self, pid: int) -> bool:
        place = f"{self.scratch}/"
        return (
            f"{MARK}={self.run_id}" in _read(pid, "environ").split("\0")
            or place in _read(pid, "cmdline")
            or any(name.startswith(place) for name in _open_files(pid))
        )


def kill(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """End ``processes``: SIGTERM, at most ``patience_s`` seconds, SIGKILL. Returns those that are still there."""
    wanted = list(processes)
    _signal(wanted, signal.SIGTERM)
    _, alive = psutil.wait_procs(wanted, timeout=patience_s)
    _signal(alive, signal.SIGKILL)
    _, alive = psutil.wait_procs(alive, timeout=5)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def remove_segments(names: Iterable[str]) -> None:
    """Unlink shared-memory segments by name."""
    for name in names:
        with suppress(OSError):
            (SHARED_MEMORY / name).unlink()


def orphaned_segments(since: float) -> set[str]:
    """Python's, Ray's and HAProxy's segments of this user, made after ``since`` (Unix seconds), held by no process."""
    made = set()
    for path in SHARED_MEMORY.iterdir():
        with suppress(OSError):
            status = path.stat()
            if status.st_uid == os.getuid() and status.st_ctime >= since and _MADE_BY_PYTHON.fullmatch(path.name):
                made.add(path.name)
    for pid in psutil.pids():
        if not made:
            break
        made -= _segments_of(pid)
    return made


def remove_folder(folder: Path) -> None:
    """Delete a folder with everything in it; what cannot be deleted stays."""
    shutil.rmtree(folder, ignore_errors=True)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _segments_of(pid: int) -> set[str]:
    mapped = set(_SEGMENT.findall(_read(pid, "maps")))
    opened = {name.removeprefix("/dev/shm/") for name in _open_files(pid) if name.startswith("/dev/shm/")}  # noqa: S108
    return mapped | opened


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _open_files(pid: int) -> list[str]:
    names = []
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                names.append(str(descriptor.readlink()))
    return names
