"""A budget that cannot be kept, or not be counted, is refused with its place."""

from pathlib import Path

import pytest

from controller.policy.load import load_policy
from tests.unit.policy.test_load import problems_of

BUDGETED = """\
version: 1
budget: %s
deployments:
  - {application: a, deployment: one, limits: {min_replicas: 2, max_replicas: 9}, gpus_per_replica: 4,
     capacity: {target_ongoing_requests: 8}%s}
  - {application: a, deployment: two, limits: {max_replicas: 9}, capacity: {target_ongoing_requests: 8}%s}
"""


@pytest.mark.parametrize(
    ("budget", "first", "second", "expected"),
    [
        pytest.param("{}", "", "", "2:1: budget: limits nothing; give gpus, spend_per_hour or both", id="empty"),
        pytest.param(
            "{gpus: 8}",
            "",
            "",
            "2:1: budget.gpus (8) is less than the min_replicas of all deployments take (9 GPUs); "
            "raise the budget or lower min_replicas",
            id="less-than-the-least",
        ),
        pytest.param(
            "{spend_per_hour: 20}",
            ", gpu_price_per_hour: 2.5",
            "",
            "2:1: budget.spend_per_hour needs the price of every GPU; give a/two its gpu_price_per_hour",
            id="no-price",
        ),
        pytest.param(
            "{spend_per_hour: 20}",
            ", gpu_price_per_hour: 2.5",
            ", gpu_price_per_hour: 1",
            "2:1: budget.spend_per_hour (20) is less than the min_replicas of all deployments take (21 an hour); "
            "raise the budget or lower min_replicas",
            id="less-money-than-the-least",
        ),
    ],
)
def test_a_budget_must_cover_the_least_and_know_prices(
    tmp_path: Path, budget: str, first: str, second: str, expected: str
) -> None:
    assert problems_of(tmp_path, BUDGETED % (budget, first, second)) == [expected]


def test_a_deployment_without_gpus_needs_no_price(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        BUDGETED % ("{spend_per_hour: 20}", ", gpu_price_per_hour: 2.5", ", gpus_per_replica: 0"), encoding="utf-8"
    )

    assert load_policy(path).policy.budget
