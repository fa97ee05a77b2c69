"""Nodes that are kept ready, and what it costs to keep them."""

from __future__ import annotations

import pytest

from controller.simulation.nodes import Nodes
from tests.simulated import cluster_of


def nodes_of(*, idle_timeout_s: float = 600.0) -> Nodes:
    return Nodes(cluster_of(nodes__provision_s=300, nodes__idle_timeout_s=idle_timeout_s))


def count(nodes: Nodes, now: float) -> int:
    return len(list(nodes.views(now)))


def test_a_replica_takes_a_node_that_was_kept_for_it_and_waits_for_none() -> None:
    nodes = nodes_of()
    nodes.keep(1, 0.0)

    assert nodes.place(400.0) == (1, 400.0)


def test_a_replica_that_comes_early_waits_for_what_is_left_of_the_nodes_time() -> None:
    nodes = nodes_of()
    nodes.keep(1, 0.0)

    assert nodes.place(100.0) == (1, 300.0)


def test_what_is_kept_already_is_not_ordered_again() -> None:
    nodes = nodes_of()
    nodes.keep(2, 0.0)
    nodes.keep(2, 10.0)
    nodes.keep(3, 20.0)

    assert [(view.ordered_at, view.ready_at) for view in nodes.views(20.0)] == [(0, 300), (0, 300), (20, 320)]


def test_one_that_is_not_kept_any_more_goes_after_its_time_and_the_others_stay() -> None:
    nodes = nodes_of()
    nodes.keep(2, 0.0)
    nodes.keep(1, 1000.0)

    assert count(nodes, 1599.0) == 2
    assert count(nodes, 1600.0) == 1
    assert count(nodes, 90_000.0) == 1


def test_an_empty_node_that_nobody_keeps_goes_after_its_time_as_before() -> None:
    nodes = nodes_of(idle_timeout_s=500.0)
    name, _ = nodes.place(0.0)
    nodes.release(name, 1000.0)

    assert count(nodes, 1499.0) == 1
    assert count(nodes, 1500.0) == 0
    assert nodes.idle_seconds == 500.0


def test_nodes_that_are_kept_cost_from_their_order_on() -> None:
    nodes = nodes_of()
    nodes.keep(2, 0.0)
    nodes.place(400.0)
    nodes.close(1000.0)

    assert nodes.idle_seconds == pytest.approx(400.0 + 1000.0)


def test_a_node_kept_again_before_it_was_gone_stays() -> None:
    nodes = nodes_of()
    nodes.keep(1, 0.0)
    nodes.keep(0, 1000.0)
    nodes.keep(1, 1500.0)

    assert [view.number for view in nodes.views(5000.0)] == [1]
