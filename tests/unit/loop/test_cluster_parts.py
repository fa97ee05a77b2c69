"""What is set follows the mode; what counts as ordered follows what was really set."""

from __future__ import annotations

import pytest

from controller.domain.cluster import LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.placement import ClusterPlan, GroupTarget
from controller.domain.plan import OutcomeStatus
from controller.loop.cluster import opened
from controller.loop.layer_acting import confirmed
from tests.cluster import group

STEP = LayerStep(layer=Layer.NODE, name="l4", found=1, wanted=2, up=True, detail="one more")


def test_guided_mode_leaves_worker_groups_the_policy_s_most() -> None:
    plan = ClusterPlan(groups=(GroupTarget(group="l4", min_workers=2, max_workers=3, present=2, busy=2),))

    (target,) = opened(plan, [group("l4", max_workers=20)]).groups

    assert (target.min_workers, target.max_workers) == (2, 20)


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
