"""Where one run of the local stack keeps its files."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from controller.local.belongings import Run, kill, orphaned_segments, remove_folder, remove_segments

# Ray puts Unix sockets under its folder, and a socket's path may have 107 bytes: no long TMPDIR here.
SCRATCH_ROOT = Path("/tmp")  # noqa: S108
SCRATCH_PREFIX = "foreserve-"
_OWNER_FILE = "run.json"
_SWEEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Folders and files of one run: ``root`` stays, ``run.scratch`` and Prometheus's data go at the end."""

    run: Run
    root: Path

    @property
    def ray(self) -> Path:
        """Ray's session folder."""
        return self.run.scratch / "ray"

    @property
    def haproxy(self) -> Path:
        """HAProxy's configuration and sockets."""
        return self.run.scratch / "ha"

    @property
    def temporary(self) -> Path:
        """Temporary files of Ray's workers and of vLLM. A short name: sockets are among them."""
        return self.run.scratch / "t"

    @property
    def prometheus_data(self) -> Path:
        """Prometheus's database."""
        return self.run.scratch / "prometheus"

    @property
    def rules(self) -> Path:
        """Prometheus's recording rules and alerts."""
        return self.root / "rules.yaml"

    @property
    def records(self) -> Path:
        """The store of decision records."""
        return self.root / "records.sqlite"

    @property
    def requests(self) -> Path:
        """One line per request of the traffic."""
        return self.root / "requests.jsonl"

    @property
    def serve_token(self) -> Path:
        """Ray's token, readable by its owner only, for other commands; gone when the run has ended."""
        return self.run.scratch / "serve-token"

    @property
    def api_tokens(self) -> Path:
        """Tokens of the controller's API; see ``controller.api.tokens``."""
        return self.run.scratch / "api-tokens"

    @property
    def api_token(self) -> Path:
        """The one token that may act there, for other commands; gone when the run has ended."""
        return self.run.scratch / "api-token"

    def log(self, name: str) -> Path:
        """Path of the log called ``name``."""
        return self.root / "logs" / f"{name}.log"


def create(root: Path, *, now: float) -> Layout:
    """Make the folders of a new run under ``root``, and note who owns its scratch folder."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    run_id = secrets.token_hex(4)
    run = Run(run_id=run_id, scratch=SCRATCH_ROOT / f"{SCRATCH_PREFIX}{run_id}")
    layout = Layout(run=run, root=(root / f"{stamp}-{run_id}").resolve())
    (layout.root / "logs").mkdir(parents=True)
    run.scratch.mkdir(mode=0o700)
    for folder in (layout.ray, layout.haproxy, layout.temporary, layout.prometheus_data):
        folder.mkdir()
    owner = psutil.Process()
    note = {"run_id": run_id, "pid": owner.pid, "pid_created": owner.create_time(), "began": now}
    (run.scratch / _OWNER_FILE).write_text(json.dumps(note))
    return layout


def dead_runs(scratch_root: Path = SCRATCH_ROOT) -> list[tuple[Run, float]]:
    """Runs whose owner was killed before it could clean up, each with the time it began (Unix seconds)."""
    dead = []
    for note_path in scratch_root.glob(f"{SCRATCH_PREFIX}*/{_OWNER_FILE}"):
        with suppress(OSError, ValueError, KeyError):
            note = json.loads(note_path.read_text())
            if not _is_alive(int(note["pid"]), float(note["pid_created"])):
                dead.append((Run(run_id=str(note["run_id"]), scratch=note_path.parent), float(note["began"])))
    return dead


def clean_up(run: Run, *, began: float, patience_s: float, segments: Iterable[str] = ()) -> list[str]:
    """End every process of ``run`` and remove its segments and scratch folder; returns what could not be removed.

    ``segments`` are shared-memory segments known to be the run's, whose processes may have ended since.
    """
    segments = set(segments)
    left: list[psutil.Process] = []
    for _ in range(_SWEEPS):  # while one is killed it may have started another
        processes = run.processes()
        if not processes:
            break
        segments |= run.segments()
        left = kill(processes, patience_s)
    remove_segments(segments | orphaned_segments(began))
    remove_folder(run.scratch)
    remains = [f"process {process.pid}" for process in left]
    if run.scratch.exists():
        remains.append(str(run.scratch))
    return remains


def _is_alive(pid: int, created: float) -> bool:
    try:
        return bool(abs(psutil.Process(pid).create_time() - created) < 1.0)
    except psutil.Error:
        return False
