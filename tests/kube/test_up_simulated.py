"""``foreserve up --cluster simulated`` as a user runs it, and what it leaves on the API server: nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from controller.codec import load_record
from controller.domain.layer import Layer
from controller.domain.record import TickRecord
from controller.errors import BadInputError
from controller.simulated_cloud.kube import Kube, Server
from controller.simulated_cloud.occupancy import claimed, require_vacant, sweep, take_away
from controller.simulated_cloud.world import prepare, remains
from tests.cloud.controller import first
from tests.kubernetes_api import Cluster

pytestmark = pytest.mark.timeout(500)

COMMAND = [sys.executable, "-c", "from controller.cli.main import main; main()", "up", "--cluster", "simulated"]
POLICY = """
version: 1
mode: direct
control: {interval_s: 10, window_s: 60, max_signal_age_s: 120}
deployments:
  - application: chat
    deployment: LLMServer:tiny
    limits: {min_replicas: 1, max_replicas: 6}
    capacity: {target_ongoing_requests: 4, learn: false}
    placement: {accelerator: nvidia-l4}
    lead_time: {assumed_s: 30}
cluster:
  gke: {project: simulated, location: us-central1, cluster: serving}
  worker_groups: [{name: l4, accelerator: nvidia-l4, gpus_per_worker: 1, max_workers: 6}]
  node_pools:
    - {name: l4, accelerator: nvidia-l4, gpus_per_node: 1, zones: [a], assumed_lead_s: 120, bounds: {max_nodes: 6}}
"""
LOW, HIGH = 0.15, 0.75
"""Requests per second of the trace; ten times as many are 3 and 15 requests in flight: one replica, and four."""


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    async with aiohttp.ClientSession() as session:
        yield Kube(await Server.of_kubeconfig(), session, "test")


def ramp(file: Path) -> Path:
    """One minute of little, four minutes of ever more, and much for an hour."""
    seconds = np.arange(0.0, 3600.0, 0.1)
    arrived = np.cumsum(np.interp(seconds, [60.0, 300.0], [LOW, HIGH]) * 0.1)
    times = np.interp(np.arange(1, int(arrived[-1])), arrived, seconds)
    file.write_text("t_s,prompt_tokens,output_tokens\n" + "".join(f"{at:.2f},50,50\n" for at in times))
    return file


async def started(folder: Path, port: int) -> Process:
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    options = {
        "policy": policy,
        "trace": ramp(folder / "ramp.csv"),
        "speed": 1,
        "rate-scale": 10,
        "clock-speed": 60,
        "controller-port": port,
        "folder": folder,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return await asyncio.create_subprocess_exec(
        *COMMAND, "--headless", *arguments, stdout=PIPE, stderr=PIPE, env=os.environ, limit=10_000_000
    )


async def ticks(process: Process, until: Callable[[TickRecord], bool]) -> list[TickRecord]:
    """Read what it prints, a record a line, until one of them is as wanted."""
    assert process.stdout is not None
    records: list[TickRecord] = []
    async with asyncio.timeout(180):
        while line := await process.stdout.readline():
            records.append(load_record(line))
            if until(records[-1]):
                return records
    _, said = await process.communicate()
    raise AssertionError(said.decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(record: TickRecord) -> int:
    replicas = record.deployments[0].snapshot.replicas
    return 0 if replicas is None else replicas.ready


async def test_a_ramp_goes_from_nodes_to_workers_to_replicas_and_nothing_is_left_of_it(
    kube: Kube, tmp_path: Path
) -> None:
    port = free_port()
    killed = await started(tmp_path, port)
    assert killed.stderr is not None
    async with asyncio.timeout(180):
        while b"Ray service ..." not in (line := await killed.stderr.readline()):
            assert line, "it ended before it was up"
    killed.kill()
    await killed.wait()
    assert "namespaces/foreserve-simulated" in await remains(kube)

    process = await started(tmp_path, port)
    try:
        records = await ticks(process, lambda record: ready(record) >= 3)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as page:
            assert page.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()

    assert process.returncode == 0, said.decode()
    assert b"removed foreserve-simulated" in said
    replicas = next(record.at for record in records if (record.deployments[0].decision.desired or 0) > 1)
    nodes, workers = first(records, Layer.NODE, "capacity_buffer"), first(records, Layer.WORKER, "ray_cluster")
    assert nodes < workers <= replicas
    assert await remains(kube) == []


async def test_a_cluster_that_somebody_uses_is_refused(cluster: Cluster, kube: Kube) -> None:
    await cluster.node("theirs", pool="gpu")

    with pytest.raises(BadInputError, match="is in use") as refused:
        await require_vacant(kube)

    assert f"node {cluster.namespace}-theirs" in str(refused.value)
    assert f"namespace {cluster.namespace}" in str(refused.value)


async def test_who_still_lives_is_not_swept_away(kube: Kube) -> None:
    await prepare(kube, "w-lives", alone=True)
    async with claimed(kube, "w-lives"):
        with pytest.raises(BadInputError, match=r"another run is at work .* \(namespace w-lives\)"):
            await sweep(kube)

    assert await take_away(kube) == []
