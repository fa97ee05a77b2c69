"""Which pools are left alone, and for how long."""

from typing import Any

import pytest

from controller.domain.pools import VerdictKind
from controller.planner.supply.verdicts import verdicts
from tests.cluster import NOW
from tests.supplies import created, ledger, order, ready, refusal


@pytest.mark.parametrize(
    ("news", "at_s", "until_s"),
    [
        pytest.param([refusal(0)], 10, 300, id="five-minutes"),
        pytest.param([refusal(0)], 300, None, id="and-no-longer"),
        pytest.param([refusal(0), refusal(100), refusal(299)], 299, 300, id="told-again-meanwhile-is-the-same"),
        pytest.param([refusal(0), refusal(400)], 500, 1000, id="refused-again-doubles"),
        pytest.param([refusal(0), refusal(400), refusal(1100)], 1200, 2300, id="and-doubles-again"),
        pytest.param(
            [refusal(0), refusal(400), refusal(1100), refusal(2400), refusal(4300)],
            4400,
            6100,
            id="at-most-half-an-hour",
        ),
        pytest.param([refusal(0), created("a", 100)], 110, None, id="a-node-came-after-all"),
        pytest.param([refusal(0), created("a", 100), refusal(400)], 500, 700, id="and-forgives"),
        pytest.param([order(1)], 221, 520, id="late-counts-from-the-deadline"),
        pytest.param([order(1), created("a", 60), ready("a", 230)], 240, 520, id="late-though-it-came"),
        pytest.param([order(1), refusal(100)], 350, 400, id="refused-is-not-late-as-well"),
        pytest.param([order(1), order(-1, 50)], 300, None, id="called-off-is-not-late"),
        pytest.param([order(1), created("a", 60), ready("a", 90)], 300, None, id="in-time"),
    ],
)
def test_how_long_a_pool_is_left_alone(news: list[Any], at_s: float, until_s: float | None) -> None:
    standing = verdicts(ledger(*news), now=NOW + at_s)

    assert [verdict.until - NOW for verdict in standing] == ([] if until_s is None else [pytest.approx(until_s)])


def test_a_zone_and_its_pool_are_judged_apart() -> None:
    standing = verdicts(ledger(refusal(0, zone="a"), refusal(10)), now=NOW + 20)

    assert [(one.zone, one.until - NOW) for one in standing] == [(None, 310), ("a", 300)]


def test_a_verdict_says_why() -> None:
    (refused,) = verdicts(ledger(refusal(0)), now=NOW + 1)
    (late,) = verdicts(ledger(order(3)), now=NOW + 221)

    assert refused.pool == late.pool == refusal(0).pool
    assert (refused.kind, refused.detail) == (VerdictKind.STOCKED_OUT, "GCE_STOCKOUT")
    assert (late.kind, late.detail) == (VerdictKind.LATE, "ordered 3, not all there after 220 s")
