"""What is set follows the mode; what counts as ordered follows what was really set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.cluster import LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.placement import Budget, ClusterPlan, GroupTarget, PoolTarget
from controller.domain.plan import OutcomeStatus
from controller.loop.cluster import opened
from controller.loop.layer_acting import confirmed
from tests.cluster import cluster, group, pool

PLAN = ClusterPlan(
    pools=(PoolTarget(pool="l4", nodes=3, present=3, in_use=2, coming=0, new=0),),
    groups=(GroupTarget(group="l4", min_workers=2, max_workers=3, present=2, busy=2),),
)
STEP = LayerStep(layer=Layer.NODE, name="l4", found=1, wanted=2, up=True, detail="one more")


def test_guided_mode_leaves_worker_groups_the_policy_s_most() -> None:
    (target,) = opened(PLAN, cluster(groups=[group("l4", max_workers=20)])).groups

    assert (target.min_workers, target.max_workers) == (2, 20)


@pytest.mark.parametrize(
    ("budget", "most"),
    [
        pytest.param(Budget(gpus=5), 5, id="gpus"),
        pytest.param(Budget(cost_per_hour=4.5), 4, id="money"),
        pytest.param(Budget(gpus=2), 3, id="never-below-the-plan"),
        pytest.param(Budget(gpus=100), 20, id="enough"),
    ],
)
def test_guided_mode_stays_within_the_budget(budget: Budget, most: int) -> None:
    given = cluster(pools=[pool(price_per_hour=1.0)], groups=[group("l4", max_workers=20)], budget=budget)

    (target,) = opened(PLAN, given).groups

    assert target.max_workers == most


def test_groups_share_what_is_left_of_the_budget() -> None:
    plan = replace(
        PLAN, groups=(*PLAN.groups, GroupTarget(group="other", min_workers=0, max_workers=0, present=0, busy=0))
    )
    groups = [group("l4", max_workers=20), group("other", max_workers=20)]

    first, second = opened(plan, cluster(groups=groups, budget=Budget(gpus=8))).groups

    assert (first.max_workers, second.max_workers) == (6, 2)


@pytest.mark.parametrize(
    ("statuses", "counts"),
    [
        pytest.param([OutcomeStatus.APPLIED], True, id="set"),
        pytest.param([OutcomeStatus.NOTHING_TO_DO, OutcomeStatus.NOTHING_TO_DO], True, id="stands-already"),
        pytest.param([OutcomeStatus.APPLIED, OutcomeStatus.REFUSED], True, id="one-lever-was-moved"),
        pytest.param([OutcomeStatus.NOTHING_TO_DO, OutcomeStatus.FAILED], False, id="one-failed-and-none-moved"),
        pytest.param([OutcomeStatus.ADVISED], False, id="only-advised"),
        pytest.param([OutcomeStatus.STANDBY], False, id="another-one-acts"),
        pytest.param([], False, id="nothing-came-of-it"),
    ],
)
def test_what_counts_as_ordered(statuses: list[OutcomeStatus], counts: bool) -> None:
    outcomes = [LayerOutcome(layer=Layer.NODE, name="l4", status=status) for status in statuses]

    assert (confirmed([STEP], outcomes) == {(Layer.NODE, "l4")}) is counts
