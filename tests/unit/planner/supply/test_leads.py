"""How long nodes, workers and replicas take, and what that consists of."""

import pytest

from controller.domain.forecast import LeadSource
from controller.domain.layer import Layer
from controller.domain.supply import Leg, Milestone, SupplyLedger
from controller.planner.supply.leads import pool_leads, supply_leads
from tests.supplies import created, ledger, order, reached, ready

WAY = (
    order(1),
    created("n", 60),
    ready("n", 150),
    reached("w", Milestone.POD_CREATED, 100, layer=Layer.WORKER, parent="n"),
    reached("w", Milestone.POD_SCHEDULED, 152, layer=Layer.WORKER, parent="n"),
    reached("w", Milestone.IMAGE_PULLED, 190, layer=Layer.WORKER, parent="n"),
    reached("w", Milestone.WORKER_READY, 196, layer=Layer.WORKER, parent="n"),
    reached("r", Milestone.REPLICA_CREATED, 400, layer=Layer.REPLICA, parent="w"),
    reached("r", Milestone.WEIGHTS_LOADED, 430, layer=Layer.REPLICA, parent="w"),
    reached("r", Milestone.WARMED_UP, 450, layer=Layer.REPLICA, parent="w"),
    reached("r", Milestone.REPLICA_READY, 452, layer=Layer.REPLICA, parent="w"),
)


def legs_of(kept: SupplyLedger, layer: Layer) -> dict[Leg, float]:
    return {leg.leg: leg.p50_s for one in supply_leads(kept) if one.layer is layer for leg in one.legs}


def test_each_layer_takes_from_when_it_could_begin_until_it_is_of_use() -> None:
    """The pod waited for the node from 100 to 150, the worker for a replica from 196 to 400: neither counts."""
    kept = ledger(*WAY)

    assert legs_of(kept, Layer.NODE) == {Leg.CREATION: 60, Leg.BOOT: 90}
    assert legs_of(kept, Layer.WORKER) == {Leg.SCHEDULING: 2, Leg.IMAGE: 38, Leg.JOIN: 6}
    assert legs_of(kept, Layer.REPLICA) == {Leg.WEIGHTS: 30, Leg.WARM_UP: 20, Leg.ADMISSION: 2}
    assert [(one.layer, one.lead.p50_s) for one in supply_leads(kept)] == [
        (Layer.NODE, 150), (Layer.REPLICA, 52), (Layer.WORKER, 46)
    ]  # fmt: skip


def test_a_milestone_that_was_not_heard_of_is_not_guessed() -> None:
    kept = ledger(*(event for event in WAY if getattr(event, "milestone", None) is not Milestone.WARMED_UP))

    assert legs_of(kept, Layer.REPLICA) == {Leg.WEIGHTS: 30}
    (replica,) = [one for one in supply_leads(kept) if one.layer is Layer.REPLICA]
    assert replica.lead.p50_s == 52


def test_serves_states_alone_tell_what_loading_takes_and_not_of_which_part() -> None:
    unheard = {Milestone.WEIGHTS_LOADED, Milestone.WARMED_UP}
    kept = ledger(*(event for event in WAY if getattr(event, "milestone", None) not in unheard))

    assert legs_of(kept, Layer.REPLICA) == {Leg.LOADING: 52}


def test_a_node_that_nobody_ordered_has_no_lead_time_but_a_boot_time() -> None:
    kept = ledger(created("n", 60), ready("n", 150))

    assert legs_of(kept, Layer.NODE) == {Leg.BOOT: 90}
    (lead,) = pool_leads(kept, ["l4"], assumed_s={"l4": 240.0})
    assert (lead.node.p90_s, lead.node.source) == (240.0, LeadSource.POLICY)


@pytest.mark.parametrize(
    ("kept", "assumed_s", "p90_s", "source"),
    [
        pytest.param(ledger(*WAY), 240.0, 150 * 1.25, LeadSource.MEASURED, id="measured"),
        pytest.param(SupplyLedger(), 240.0, 240.0, LeadSource.POLICY, id="from-the-policy"),
        pytest.param(SupplyLedger(), None, 300.0, LeadSource.DEFAULT, id="assumed"),
    ],
)
def test_where_a_node_s_lead_time_comes_from(
    kept: SupplyLedger, assumed_s: float | None, p90_s: float, source: LeadSource
) -> None:
    (lead,) = pool_leads(kept, ["l4"], assumed_s={"l4": assumed_s})

    assert (lead.pool, lead.node.p90_s, lead.node.source) == ("l4", p90_s, source)
