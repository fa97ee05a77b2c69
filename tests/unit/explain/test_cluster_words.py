"""Nodes and workers are explained with what stands in the way."""

from __future__ import annotations

import pytest

from controller.codec import dump_record, load_record
from controller.domain.cluster_record import Leading
from controller.explain.page import page
from tests.records import cluster_record, deployment_record, record


def told(**changes: object) -> str:
    one = record(deployment_record(), cluster=cluster_record(**changes))
    return page(one, one.deployments[0], (), now=one.at).plain.partition("\nCluster\n")[2]


@pytest.mark.parametrize(
    "said",
    [
        "in 6.67 min (the lead of a node) 4: 12.0 / 3.0 → 4",
        "1 replica without a place (stocked_out): spot: stocked out (GCE_STOCKOUT)",
        "1 replica with a place that comes too late",
        "l4: 3 nodes wanted; 2 ready, 2 in use, 1 ordered, 1 kept warm of at most 4",
        "spot: 2 ready, 2 in use, 1 ordered, 1 kept warm of at most 4; stocked out: GCE_STOCKOUT",
        "l4: 2 to 3 wanted; bounds 2 to 3; 2 ready, 2 busy, 0 starting, 1 pending",
        "node l4: 2 → 3 (1 more than the 2 there); applied by balloon: keeps 0 → 1",
        "1 nodes of l4 ordered 60 s ago, 0 ready; pending, due in 4 min",
        "l4 node: p90 4 min (measured) = boot 2 min",
    ],
)
def test_everything_about_the_layers_is_told(said: str) -> None:
    assert said in told()


def test_unknown_nodes_are_told_as_unknown_and_not_as_none() -> None:
    unknown = cluster_record().pools[0].__class__
    pool = cluster_record().pools[0]
    blind = unknown(
        **{name: getattr(pool, name) for name in pool.__slots__}
        | {"ready": None, "starting": None, "draining": None, "in_use": None}
    )

    assert "l4: 3 nodes wanted; what is there is unknown" in told(pools=(blind,), unseen="the API server is away")


def test_a_record_without_a_cluster_says_nothing_about_one() -> None:
    one = record()

    assert "\nCluster\n" not in page(one, one.deployments[0], (), now=one.at).plain


def test_who_leads_is_told_by_the_one_that_does_not() -> None:
    one = record(leading=Leading(leads=False, term=3, standing="foreserve-b leads (term 3)"))

    assert "Standby    foreserve-b leads (term 3)" in page(one, one.deployments[0], (), now=one.at).plain


def test_a_record_with_a_cluster_is_read_back_as_it_was_written() -> None:
    one = record(cluster=cluster_record(), leading=Leading(leads=True, term=1, standing="leads (term 1)"))

    assert load_record(dump_record(one)) == one
