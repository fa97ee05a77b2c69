"""Requests lost while replicas are taken away and new builds roll out, under streams that never stop.

Ray Serve, HAProxy and direct streaming run as ``serving`` sets them up. Targets are set by the controller's own
actuator through Serve's REST API, up and down again; every so often a new build is deployed instead. The load is the
project's open loop: Poisson arrivals, most of them short, a quarter so long that the replica that they run on has to
wait for them when it leaves. A request is lost when its stream did not end properly with all its tokens, for whatever
reason. A second's state and each replica's streams are noted, so that it is known what each one had when it left.

Pieces are kept: run it again until the wanted number is reached.

    python -m benchmarks.scale_downs --keep FOLDER --within-s 540
    python -m benchmarks.scale_downs --keep FOLDER --engine vllm --removals 10
    python -m benchmarks.scale_downs --keep FOLDER --docs docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

from benchmarks.scale_downs_result import Leaving, Lost, Piece, Why, keep, kept, lost, removed, summary, write_docs
from controller.actuators.serve_direct import ServeDirectActuator, Timing
from controller.clients.serve import ServeClient
from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Capacity, CapacitySource, Decision, OutcomeStatus, Reason
from controller.domain.serve import ReplicaState
from controller.errors import UnavailableError
from controller.load.prompts import TokenScale
from controller.load.row import RequestRow
from controller.load.run import LoadPlan, run_load
from controller.load.schedule import Arrival
from controller.load.target import Target
from serving.args import Backend, LLMArgs
from serving.llm import application
from serving.simulated.timing import SimulatedModel
from serving.tiny_model import make
from tests.stack.conftest import MODEL, free_ports
from tests.stack.serving_cluster import CLOCK, ServingCluster, serving_cluster

_APPLICATION = "chat"
_LOOK_EVERY_S = 0.5
_AFTERWARDS_S = 45.0
"""For the last streams to end, and for Ray to go."""
_LONGEST_STREAM_S = 55.0
_ROOM_BYTES = 5 << 30
"""With less memory free, the next replicas wait until those that leave are gone."""
_SERVER = re.compile(r"^\s+server \S+-(\w+) (\S+:\d+) ", re.MULTILINE)
_RUNNING = re.compile(r'^ray_vllm_num_requests_running\{[^}]*ReplicaId="(\w+)"[^}]*\} (\S+)', re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """One engine, how many replicas, and what is asked of them. Tokens are (least, most)."""

    engine: str
    model: str
    low: int
    high: int
    rolled: int
    """Replicas while a build rolls out."""
    rps: float
    short: tuple[int, int]
    long: tuple[int, int]
    long_share: float
    args: LLMArgs
    environment: Mapping[str, str] = field(default_factory=dict)
    wave_s: float = 60.0
    """What the first wave may take; later ones are measured."""

    @property
    def id(self) -> DeploymentId:
        """The deployment."""
        return DeploymentId(_APPLICATION, f"LLMServer:{self.model}")

    def deployed(self, build: str, replicas: int) -> dict[str, object]:
        """Return the application in a Serve config."""
        return application(_APPLICATION, self.args.model_copy(update={"build": build, "num_replicas": replicas}))


def simulated() -> Fleet:
    """L4s at a third of their speed: some 0.2 s a token, so that many streams cost little."""
    model = SimulatedModel(gpu="L4", slowdown=3.0, exported=False)
    return Fleet(
        engine="simulated",
        model="llama",
        low=2,
        high=16,
        rolled=6,
        rps=9.0,
        short=(4, 12),
        long=(45, 80),
        long_share=0.25,
        args=_args("llama", backend=Backend.SIMULATED, simulated=model),
    )


def vllm() -> Fleet:
    """Run vLLM on the CPU with the tiny model; a long nap makes its tokens as slow as a large model's."""
    return Fleet(
        engine="vllm",
        model="tiny",
        low=1,
        high=2,
        rolled=2,
        rps=0.7,
        short=(4, 24),
        long=(100, 200),
        long_share=0.4,
        args=_args("tiny", backend=Backend.CPU, model_source=str(MODEL)),
        environment={"FORESERVE_QUIET_ENGINE": "0.03"},
        wave_s=150.0,
    )


def _args(model: str, **given: object) -> LLMArgs:
    return LLMArgs.model_validate({"model_id": model, "graceful_shutdown_timeout_s": _LONGEST_STREAM_S} | given)


class Watcher:
    """Knows which replicas run, what each one holds, and notes each that leaves."""

    def __init__(
        self, cluster: ServingCluster, fleet: Fleet, client: ServeClient, session: aiohttp.ClientSession
    ) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._client = client
        self._session = session
        self._addresses: dict[str, str] = {}
        self._began = CLOCK.monotonic()
        self.streams: dict[str, int] = {}
        self.running: frozenset[str] = frozenset()
        self.present = 0
        self.leavings: list[Leaving] = []
        self.doing: Why = Why.UNASKED

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with contextlib.suppress(UnavailableError, aiohttp.ClientError, OSError):
                await self._look()
            await CLOCK.sleep(_LOOK_EVERY_S)

    async def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait; tell whether it came to be."""
        deadline = CLOCK.monotonic() + within_s
        while not condition() and CLOCK.monotonic() < deadline:
            await CLOCK.sleep(_LOOK_EVERY_S / 2)
        return condition()

    async def _look(self) -> None:
        state = (await self._client.applications()).deployment(self._fleet.id)
        if state is None:
            return
        running = frozenset(one.replica_id for one in state.replicas if one.state is ReplicaState.RUNNING)
        gone = self.running - running
        # Asked after the state: what one that leaves still holds was held when it was told to.
        streams = await self._streams(running | gone)
        self.leavings += [
            Leaving(replica=one, at_s=CLOCK.monotonic() - self._began, why=self.doing, streams=streams.get(one))
            for one in sorted(gone)
        ]
        self.streams, self.running, self.present = streams, running, len(state.replicas)

    async def _streams(self, replicas: frozenset[str]) -> dict[str, int]:
        if self._fleet.engine == "vllm":
            async with self._session.get(f"http://127.0.0.1:{self._cluster.ports.ray_metrics}/metrics") as answer:
                return {replica: int(float(value)) for replica, value in _RUNNING.findall(await answer.text())}
        for path in self._cluster.layout.haproxy.glob("**/haproxy.cfg"):
            self._addresses.update(_SERVER.findall(path.read_text(encoding="utf-8")))
        asked = [replica for replica in replicas if replica in self._addresses]
        found = await asyncio.gather(*(self._load(self._addresses[replica]) for replica in asked))
        return {replica: load for replica, load in zip(asked, found, strict=True) if load is not None}

    async def _load(self, address: str) -> int | None:
        try:
            async with self._session.get(f"http://{address}/load", timeout=aiohttp.ClientTimeout(total=5)) as answer:
                return int((await answer.json())["server_load"])
        except (TimeoutError, aiohttp.ClientError, ValueError, KeyError):
            return None


class Stretch:
    """Streams without a pause, and the waves of replicas under them."""

    def __init__(self, cluster: ServingCluster, fleet: Fleet, client: ServeClient, watcher: Watcher) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._client = client
        self._watcher = watcher
        self._actuator = ServeDirectActuator(
            client=client,
            clock=CLOCK,
            limits=lambda _: (fleet.low, fleet.high),
            timing=Timing(deadline_s=20, attempt_s=6),
        )
        self._rows: list[RequestRow] = []
        self._lost: list[Lost] = []
        self._doing = "the start"
        self._over = False
        self._scale_downs = self._rollouts = 0
        self._began, self._load = CLOCK.monotonic(), os.getloadavg()[0]

    async def live(self, *, seed: int, until: float, removals: int, rollout_every: int) -> None:
        """Go through waves until time is up or so many replicas were taken away; then let every stream end."""
        watching = asyncio.create_task(self._watcher.watch())
        sending = asyncio.create_task(self._send(seed))
        try:
            await self._waves(seed=seed, until=until, removals=removals, rollout_every=rollout_every)
        finally:
            self._over = True
            await sending
            watching.cancel()

    def piece(self) -> Piece:
        """Return what was seen so far."""
        firsts = sorted(row.ttft_s for row in self._rows if row.ttft_s is not None) or [0.0]
        return Piece(
            engine=self._fleet.engine,
            seconds=CLOCK.monotonic() - self._began,
            requests=len(self._rows),
            tokens=sum(row.tokens_out for row in self._rows),
            ttft_p50_s=firsts[len(firsts) // 2],
            ttft_p99_s=firsts[int(0.99 * (len(firsts) - 1))],
            scale_downs=self._scale_downs,
            rollouts=self._rollouts,
            leavings=tuple(self._watcher.leavings),
            lost=tuple(self._lost),
            load_average=self._load,
        )

    async def _waves(self, *, seed: int, until: float, removals: int, rollout_every: int) -> None:
        longest: dict[bool, float] = {}
        wave = 0
        while sum(one.why is Why.SCALE_DOWN for one in self._watcher.leavings) < removals:
            rollout, started = wave % rollout_every == rollout_every - 1, CLOCK.monotonic()
            if started + 1.2 * longest.get(rollout, self._fleet.wave_s) > until:
                return
            await (self._roll_out(f"{seed}-{wave}") if rollout else self._up_and_down())
            took = CLOCK.monotonic() - started
            longest[rollout] = max(longest.get(rollout, 0.0), took)
            wave += 1
            self._say(f"{'rollout' if rollout else 'up and down'} in {took:.0f} s")

    async def _up_and_down(self) -> None:
        fleet, watcher = self._fleet, self._watcher
        if psutil.virtual_memory().available < _ROOM_BYTES:
            await watcher.until(lambda: watcher.present == len(watcher.running), _LONGEST_STREAM_S)
        await self._order(fleet.high)
        await self._require(lambda: len(watcher.running) == fleet.high, 240, f"{fleet.high} replicas")
        await watcher.until(lambda: all(watcher.streams.get(one) for one in watcher.running), 15)
        self._doing, watcher.doing = f"{fleet.high} to {fleet.low}", Why.SCALE_DOWN
        self._scale_downs += 1
        await self._order(fleet.low)
        await self._require(lambda: len(watcher.running) == fleet.low, 60, f"{fleet.low} replicas")
        watcher.doing = Why.UNASKED

    async def _roll_out(self, build: str) -> None:
        fleet, watcher = self._fleet, self._watcher
        await self._order(fleet.rolled)
        await self._require(lambda: len(watcher.running) == fleet.rolled, 240, f"{fleet.rolled} replicas")
        before = watcher.running
        self._doing, watcher.doing = f"build {build}", Why.ROLLOUT
        self._rollouts += 1
        await asyncio.to_thread(self._cluster.put, [fleet.deployed(build, fleet.rolled)], within_s=300)
        await self._require(lambda: not before & watcher.running, 20, "new replicas only")
        watcher.doing = Why.UNASKED

    async def _order(self, replicas: int) -> None:
        """Set the target as the controller does."""
        state = (await self._client.applications()).deployment(self._fleet.id)
        current = None if state is None else state.target_replicas
        if current == replicas:
            return
        up = current is None or replicas > current
        decision = Decision(
            id=self._fleet.id,
            current=current,
            desired=replicas,
            action=Action.SCALE_UP if up else Action.SCALE_DOWN,
            binding=Reason.DEMAND,
            steps=(),
            lead=LeadTime(p50_s=0, p90_s=0, p95_s=0, source=LeadSource.DEFAULT, samples=0),
            capacity=Capacity(per_replica={}, source=CapacitySource.POLICY),
        )
        outcome = await self._actuator.apply(decision)
        if outcome.status is not OutcomeStatus.APPLIED:
            msg = f"{replicas} replicas: {outcome.status} ({outcome.detail})"
            raise SystemExit(msg)

    async def _require(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        if not await self._watcher.until(condition, within_s):
            msg = f"{what}: not within {within_s:.0f} s; there are {sorted(self._watcher.running)}"
            raise SystemExit(msg)

    async def _send(self, seed: int) -> None:
        def over(row: RequestRow) -> None:
            self._rows.append(row)
            if (one := lost(row, during=self._doing)) is not None:
                self._lost.append(one)
                print(f"lost: {one}", flush=True)

        target = Target(url=self._cluster.url, model=self._fleet.model, timeout_s=120)
        plan = LoadPlan(target=target, schedule=self._arrivals(seed), token_scale=TokenScale())
        await run_load(plan, clock=CLOCK, on_row=over, on_tick=lambda _: None)

    def _arrivals(self, seed: int) -> Iterator[Arrival]:
        fleet, rng, at, index = self._fleet, np.random.default_rng(seed), 0.0, 0
        while not self._over:
            at += float(rng.exponential(1.0 / fleet.rps))
            least, most = fleet.long if rng.random() < fleet.long_share else fleet.short
            yield Arrival(index, at, 16, int(rng.integers(least, most + 1)))
            index += 1

    def _say(self, what: str) -> None:
        self._load = max(self._load, os.getloadavg()[0])
        done = [one for one in self._watcher.leavings if one.why is not Why.UNASKED]
        print(
            f"{what}: {len(done)} replicas have left, {sum(bool(one.streams) for one in done)} of them with streams "
            f"({sum(one.streams or 0 for one in done)}); {self._watcher.present} there; {len(self._rows)} requests, "
            f"{len(self._lost)} lost; load {os.getloadavg()[0]:.0f}",
            flush=True,
        )


async def _stretch(cluster: ServingCluster, fleet: Fleet, folder: Path, **waves: Any) -> None:
    """Live through one; what it saw is kept, also when it fails."""
    async with aiohttp.ClientSession() as session:
        client = ServeClient(base_url=cluster.dashboard, session=session, token=cluster.token, timeout_s=10)
        stretch = Stretch(cluster, fleet, client, Watcher(cluster, fleet, client, session))
        try:
            await stretch.live(**waves)
        finally:
            keep(folder, stretch.piece())


def run(fleet: Fleet, folder: Path, *, deadline: float, removals: int, rollout_every: int) -> None:
    """Add a piece to those in ``folder``."""
    before = kept(folder, fleet.engine)
    if fleet.engine == "vllm":
        make(MODEL)
    lean = fleet.engine == "simulated"
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving_cluster(Path(scratch), free_ports(), lean=lean, **fleet.environment) as cluster,
    ):
        cluster.put([fleet.deployed("first", fleet.low)], within_s=240)
        asyncio.run(
            _stretch(
                cluster,
                fleet,
                folder,
                seed=len(before),
                until=deadline - _AFTERWARDS_S,
                removals=removals - removed(before),
                rollout_every=rollout_every,
            )
        )


def main() -> None:
    """Run from the command line."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder of the pieces")
    parser.add_argument("--engine", choices=["simulated", "vllm"], default="simulated")
    parser.add_argument("--removals", type=int, default=1000, help="replicas to take away, all pieces together")
    parser.add_argument("--rollout-every", type=int, default=6, help="each so many waves is a new build's rollout")
    parser.add_argument("--within-s", type=float, default=540, help="longest time of this run")
    parser.add_argument("--docs", type=Path, help="run nothing; write what is kept into this document")
    wanted = parser.parse_args()
    wanted.keep.mkdir(parents=True, exist_ok=True)
    if wanted.docs:
        write_docs(wanted.docs, wanted.keep)
        return
    fleet = simulated() if wanted.engine == "simulated" else vllm()
    if removed(kept(wanted.keep, fleet.engine)) < wanted.removals:
        run(
            fleet,
            wanted.keep,
            deadline=began + wanted.within_s,
            removals=wanted.removals,
            rollout_every=wanted.rollout_every,
        )
    pieces = kept(wanted.keep, fleet.engine)
    print(f"{summary(pieces)}\n{removed(pieces)} of {wanted.removals} replicas taken away")


if __name__ == "__main__":
    main()
