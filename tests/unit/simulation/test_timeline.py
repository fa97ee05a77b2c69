"""A run in windows."""

from __future__ import annotations

import pytest

from controller.simulation.driver import run_policy
from controller.simulation.outcome import Objectives
from controller.simulation.peers.static import Static
from tests.simulated import cluster_of, steady


def run(per_s: float, cluster):
    return run_policy(Static(1), steady(per_s, 600), cluster, seed=1, initial=1, objectives=Objectives())


def test_windows_add_up_to_the_run():
    one = run(2, cluster_of())
    assert sum(one.timeline.requests) == one.service.requests
    assert one.timeline.step_s * len(one.timeline.requests) == pytest.approx(600)
    assert one.timeline.gpu_hours[-1] == pytest.approx(one.cost.gpu_hours)
    assert one.timeline.gpu_hours[4] == pytest.approx(one.cost.gpu_hours / 2)


def test_who_gave_up_counts_with_the_patience_they_had():
    one = run(40, cluster_of(limits__max_replicas=1))
    assert one.service.unserved > 0
    assert one.timeline.ttft_p99_s[-1] == pytest.approx(60.0)
    assert one.timeline.kept[-1] == 0.0


def test_nodes_that_must_come_first_make_a_start_longer_and_dearer():
    """A cluster file's ``nodes`` hold in every run: a start waits for its node, and an idle node costs."""
    demand = steady(30, 900)
    without = cluster_of(replica__startup_s=[60, 60])
    with_nodes = cluster_of(replica__startup_s=[60, 60], nodes__provision_s=240, nodes__idle_timeout_s=300)

    def replay(cluster):
        return run_policy(Static(6), demand, cluster, seed=1, initial=1, objectives=Objectives())

    quick, slow = replay(without), replay(with_nodes)
    assert slow.cost.waste.starting == pytest.approx(quick.cost.waste.starting * 5, rel=0.01)
    assert slow.service.unserved > quick.service.unserved
