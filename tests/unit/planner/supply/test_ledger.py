"""What the ledger keeps, forgets, and survives."""

import itertools

from pydantic import TypeAdapter

from controller.domain.layer import Layer
from controller.domain.supply import Milestone, SupplyLedger
from controller.planner.supply.ledger import note, prune
from controller.planner.supply.news import listed, node_uid
from tests.cluster import NOW, busy, node
from tests.supplies import created, gone, ledger, order, reached, ready, refusal

DAY_S = 86_400.0


def uids(kept: SupplyLedger, layer: Layer = Layer.NODE) -> list[str]:
    return [unit.uid for unit in kept.units if unit.layer is layer]


def test_the_order_of_news_does_not_matter_nor_how_often_they_come() -> None:
    news = (order(1), created("a", 60), created("a", 61), ready("a", 90), gone("a", 500), refusal(30))

    kept = {note(SupplyLedger(), (*some, *some)) for some in itertools.permutations(news)}

    assert len(kept) == 1


def test_of_two_times_the_earlier_is_when_it_happened() -> None:
    (unit,) = ledger(created("a", 61), created("a", 60)).units

    assert unit.reached == ((Milestone.NODE_CREATED, NOW + 60),)


def test_a_node_that_is_seen_again_was_not_gone() -> None:
    back = busy("n")

    seen = note(SupplyLedger(), listed(SupplyLedger(), [back], now=NOW))
    lost = note(seen, listed(seen, [], now=NOW + 10))
    found = note(lost, listed(lost, [back], now=NOW + 20))

    assert [unit.gone for unit in lost.units] == [True, True]
    assert [unit.gone for unit in found.units] == [False, False]


def test_a_node_that_is_missed_at_the_moment_that_it_was_seen_is_gone() -> None:
    """Another controller may have looked at that very moment."""
    seen = note(SupplyLedger(), listed(SupplyLedger(), [busy("n")], now=NOW))

    assert [unit.gone for unit in note(seen, listed(seen, [], now=NOW)).units] == [True, True]


def test_a_node_that_comes_back_under_its_name_is_another_one() -> None:
    first, second = node("n", since=NOW), node("n", since=NOW + 100)

    assert node_uid(first) != node_uid(second)
    assert len(ledger(*listed(SupplyLedger(), [first, second], now=NOW + 200)).units) == 2


def test_what_has_no_say_any_more_is_forgotten() -> None:
    kept = ledger(order(1), refusal(10), created("there", 60), created("lost", 60), gone("lost", 70))

    assert prune(kept, now=NOW + 600) == kept
    later = prune(kept, now=NOW + DAY_S)
    assert (later.orders, later.refusals, uids(later)) == ((), (), ["there"])


def test_the_last_fifty_measured_are_kept() -> None:
    news = [
        event for index in range(60) for event in (created(f"n{index:02}", index), ready(f"n{index:02}", index + 90))
    ]
    lost = [gone(f"n{index:02}", 1000) for index in range(60)]

    assert uids(prune(ledger(*news, *lost), now=NOW + DAY_S)) == [f"n{index:02}" for index in range(10, 60)]


def test_a_replica_that_never_became_ready_is_forgotten() -> None:
    """No list says that a replica is gone, so they would add up."""
    kept = ledger(reached("r", Milestone.REPLICA_CREATED, 0, layer=Layer.REPLICA))

    assert uids(prune(kept, now=NOW + 600), Layer.REPLICA) == ["r"]
    assert uids(prune(kept, now=NOW + DAY_S), Layer.REPLICA) == []


def test_the_ledger_survives_being_written_down() -> None:
    kept = ledger(order(2), created("a", 60), ready("a", 90), refusal(30, zone="a"))
    codec = TypeAdapter(SupplyLedger)

    assert codec.validate_json(codec.dump_json(kept)) == kept
