"""What has become of orders, in cases."""

from typing import Any

import pytest

from controller.domain.supply import SupplyStatus
from controller.planner.supply.standing import coming_nodes, standings
from tests.cluster import NOW
from tests.supplies import created, gone, ledger, order, ready, refusal

PENDING, LATE, REFUSED = SupplyStatus.PENDING, SupplyStatus.LATE, SupplyStatus.REFUSED
ARRIVED, CANCELLED = SupplyStatus.ARRIVED, SupplyStatus.CANCELLED
BOTH_READY = (created("a", 60), ready("a", 100), created("b", 60), ready("b", 110))


@pytest.mark.parametrize(
    ("news", "at_s", "status", "coming"),
    [
        pytest.param([], 10, PENDING, 2, id="nothing-yet"),
        pytest.param([created("a", 60)], 70, PENDING, 1, id="one-exists"),
        pytest.param([created("a", 60), created("b", 61)], 70, PENDING, 0, id="both-exist-not-ready"),
        pytest.param(BOTH_READY, 120, ARRIVED, 0, id="both-ready"),
        pytest.param(BOTH_READY, 1000, ARRIVED, 0, id="in-time-stays-in-time"),
        pytest.param([*BOTH_READY, gone("a", 500)], 600, ARRIVED, 0, id="arrived-and-reclaimed-later"),
        pytest.param([created("a", 60), gone("a", 80)], 90, PENDING, 2, id="reclaimed-before-ready"),
        pytest.param([created("a", 60)], 221, LATE, 0, id="late-is-not-counted-on"),
        pytest.param([refusal(30)], 40, REFUSED, 0, id="refused"),
        pytest.param([created("a", 60), refusal(70)], 80, REFUSED, 0, id="the-rest-is-refused"),
        pytest.param([refusal(30), created("a", 60)], 80, PENDING, 1, id="came-after-all"),
        pytest.param([refusal(30, zone="a")], 40, PENDING, 2, id="one-zone-refuses"),
        pytest.param([refusal(-30)], 10, PENDING, 2, id="refused-before-it-was-ordered"),
        pytest.param([refusal(30, "other")], 40, PENDING, 2, id="another-pool-refuses"),
        pytest.param([order(-1, 20)], 30, PENDING, 1, id="one-called-off"),
        pytest.param([order(-2, 20)], 30, CANCELLED, 0, id="called-off"),
        pytest.param([order(-1, 20), created("a", 60), ready("a", 90)], 99, ARRIVED, 0, id="what-is-left-came"),
        pytest.param([created("z", -60)], 70, PENDING, 2, id="older-than-the-order"),
    ],
)
def test_an_order_of_two_nodes(news: list[Any], at_s: float, status: SupplyStatus, coming: int) -> None:
    kept = ledger(order(2), *news)

    (standing, *_) = standings(kept, now=NOW + at_s)

    assert (standing.status, standing.coming) == (status, coming)
    assert sum(one.nodes for one in coming_nodes(kept, now=NOW + at_s)) == coming


def test_nodes_count_for_the_oldest_order_first() -> None:
    kept = ledger(order(1), order(2, 50), created("a", 60), created("b", 61))

    first, second = standings(kept, now=NOW + 100)

    assert (first.created, second.created, second.coming) == (1, 1, 1)


def test_what_comes_after_a_second_order_does_not_count_for_the_one_given_up() -> None:
    """The first order was refused, and the second one placed without it: a node now is of the second."""
    kept = ledger(order(1), refusal(20), order(1, 400), created("a", 450), ready("a", 500))

    first, second = standings(kept, now=NOW + 510)

    assert first.status is REFUSED
    assert second.status is ARRIVED


def test_a_late_order_says_what_the_platform_said() -> None:
    silent = ledger(order(1))
    told = ledger(order(1), refusal(100, zone="a"))

    assert standings(silent, now=NOW + 300)[0].reason == "the platform has given no reason"
    assert standings(told, now=NOW + 300)[0].reason == "GCE_STOCKOUT"


def test_the_latest_order_is_called_off_first() -> None:
    kept = ledger(order(2), order(2, 10), order(-3, 20))

    first, second = standings(kept, now=NOW + 30)

    assert (first.coming, second.status) == (1, CANCELLED)
