"""The real stack with simulated engines and two controllers beside it: the one that acts, and one without its guards.

The second one is advisory: it lives through the same faults, and its records say what would have been done.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from controller.domain.record import TickRecord
from controller.policy.load import parse_policy
from controller.ports import StoreError
from controller.store.reader import StoreReader
from serving.args import Backend, LLMArgs
from serving.llm import application
from serving.simulated.timing import SimulatedModel
from tests.chaos.invariants import BrokenError
from tests.chaos.told import MOST, chat, ended_at, recovery_s, sees
from tests.stack.conftest import ROOT
from tests.stack.relay import Relay
from tests.stack.serving_cluster import CLOCK, ServingCluster
from tests.stack.users import Users

SERVER = "LLMServer:llama"
INTERVAL_S = 2.0

_POLICY = f"""
version: 1
control: {{interval_s: {INTERVAL_S:g}, window_s: 6, max_signal_age_s: 5}}
deployments:
  - application: chat
    deployment: {SERVER}
    limits: {{min_replicas: 1, max_replicas: {MOST}}}
    capacity: {{target_ongoing_requests: 4, max_num_seqs: 32, learn: false}}
    objectives: {{ttft_s: 2.0, itl_s: 0.3}}
    lead_time: {{assumed_s: 5}}
    forecast: {{enabled: false}}
    stabilisation: {{upscale_delay_s: 0, downscale_delay_s: 0, max_drain_wait_s: 0}}
"""
RULES = parse_policy(Path("policy.yaml"), _POLICY.encode()).policy.deployments[0]
_RUN = "from controller.cli.main import main; main()"
_WITHOUT_GUARDS = (
    "import controller.planner.stabilise, controller.window.observe as observe, controller.window.window as window\n"
    "controller.planner.stabilise._unseen = lambda _: None\n"
    "observe.source_blind_spots = observe.front_door_blind_spots = observe.replica_blind_spots = lambda *_: ()\n"
    "window.Window.serve = lambda self, _: self._serve\n"
)


def deployed() -> dict[str, object]:
    """Two replicas with room for every user of these tests.

    One that is lost is missing for more than two ticks; one that hangs for some ticks is not given up meanwhile.
    """
    args = LLMArgs(
        model_id="llama",
        backend=Backend.SIMULATED,
        simulated=SimulatedModel(gpu="L4", start_s=INTERVAL_S),
        num_replicas=MOST,
        health_check_timeout_s=60,
    )
    return application("chat", args)


class Controller:
    """``foreserve run`` in a process of its own."""

    def __init__(self, cluster: ServingCluster, folder: Path, *, serve_url: str, guarded: bool) -> None:
        folder.mkdir()
        (folder / "policy.yaml").write_text(_POLICY)
        self._store = folder / "store.db"
        self._read: list[TickRecord] = []
        self._log = folder / "log"
        env = cluster.controller_env(folder) | {"FORESERVE_SERVE_URL": serve_url, "PYTHONPATH": str(ROOT)}
        if not guarded:
            env |= {"FORESERVE_ADVISORY": "1", "FORESERVE_PORT": "0"}
        code = _RUN if guarded else _WITHOUT_GUARDS + _RUN
        with self._log.open("w") as log:
            self._process = subprocess.Popen([sys.executable, "-c", code, "run"], env=env, stdout=log, stderr=log)

    def records(self, after: float) -> list[TickRecord]:
        """Return the records of ticks that began later than ``after``, oldest first."""
        if self._process.poll() is not None:
            raise BrokenError(self._log.read_text()[-2000:])
        with suppress(StoreError), StoreReader(self._store) as store:
            # The newest is written once more, with what came of it.
            del self._read[-1:]
            self._read += store.after(self._read[-1].tick if self._read else -1, limit=1000)
        return [record for record in self._read if record.at > after]

    def stop(self) -> None:
        """End it as an operator does."""
        self._process.terminate()
        self._process.wait(20)


@dataclass
class Live:
    """Everything together."""

    cluster: ServingCluster
    relay: Relay
    guarded: Controller
    unguarded: Controller
    users: Users | None = None

    def busy(self) -> Users:
        """Bring it to the two replicas that seven users need, as both controllers see."""
        self.leave()
        since = CLOCK.now()
        self.users = Users(self.cluster.url, 7)
        self.cluster.wait(
            lambda: all(_calm(one.records(since)[-2:], replicas=MOST) for one in (self.guarded, self.unguarded)),
            60,
            "two replicas are needed and there",
        )
        return self.users

    def replica(self) -> tuple[str, psutil.Process]:
        """Return one replica that runs, and its process, by Serve's account: one that leaves has the same title."""
        for one in self.cluster.deployment("chat", SERVER)["replicas"]:
            if one["state"] == "RUNNING":
                return one["replica_id"], psutil.Process(one["pid"])
        msg = "no replica runs"
        raise BrokenError(msg)

    def during(self, began: float, ended: float) -> list[TickRecord]:
        """Return what the acting controller recorded of the ticks that began and ended meanwhile."""
        return [record for record in self.guarded.records(began) if ended_at(record) < ended]

    def blind(self, since: float) -> None:
        """Wait until a tick later than ``since`` is blind to something: what it saw before is too old by then."""
        self.cluster.wait(
            lambda: any(chat(one).snapshot.blind_spots for one in self.guarded.records(since)[-1:]), 20, "a blind tick"
        )

    def leave(self) -> None:
        """The users go."""
        if self.users is not None:
            self.users.leave()
            self.users = None

    def target(self) -> int:
        """Serve's own account of the target."""
        return int(self.cluster.deployment("chat", SERVER)["target_num_replicas"])

    def recovered(self, since: float) -> float:
        """Return the seconds from ``since`` to the end of the first tick that saw everything; two ticks are allowed."""
        return recovery_s(self.guarded.records, since, self.cluster.wait)


def processes(is_it: Callable[[psutil.Process], bool], cluster: ServingCluster) -> list[psutil.Process]:
    """Return such processes of this cluster, the newest last: what was replaced may still be on its way out."""
    found = []
    for one in cluster.layout.run.processes():
        with suppress(psutil.Error):
            if is_it(one):
                found.append((one.create_time(), one.pid, one))
    return [one for _, _, one in sorted(found)]


def process(is_it: Callable[[psutil.Process], bool], cluster: ServingCluster) -> psutil.Process:
    """Return the newest such process of this cluster."""
    return processes(is_it, cluster)[-1]


def titled(title: str) -> Callable[[psutil.Process], bool]:
    """Tell a Ray worker by its title."""
    return lambda one: any(part.startswith(title) for part in one.cmdline()[:1])


def listens_on(port: int) -> Callable[[psutil.Process], bool]:
    """Tell a process by the port that it holds."""
    return lambda one: any(
        found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in one.net_connections("tcp")
    )


def _calm(records: Sequence[TickRecord], *, replicas: int) -> bool:
    return len(records) > 1 and all(
        sees(record)
        and (chat(record).decision.current, chat(record).decision.desired) == (replicas, replicas)
        and (there := chat(record).snapshot.replicas) is not None
        and there.ready == replicas
        for record in records
    )
