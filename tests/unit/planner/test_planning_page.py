"""The page about planning knows every stage and every reason."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.override import OverrideAction
from controller.domain.plan import Reason
from controller.policy.model import Budget
from tests.planning import decided, given, policy, seen
from tests.unit.planner.test_announced import starting_in
from tests.unit.planner.test_overridden import asked

PAGE = (Path(__file__).parents[3] / "docs" / "planning.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason) -> None:
    assert f"`{reason.value}`" in PAGE


def test_the_stages_are_listed_in_their_order() -> None:
    rules = policy(
        limits={"min_replicas": 0},
        events=[{"name": "e", "duration_s": 60, "min_replicas": 1, **starting_in(9000)}],
        scale_to_zero={"after_idle_s": 60, "cold_start_promise_s": 60},
    )

    one = replace(given(seen(0, target=3), rules), overrides=(asked(OverrideAction.HOLD_SCALE_DOWN),))

    decision, _ = decided(one, budget=Budget(gpus=4))

    assert [step.stage for step in decision.steps] == re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
