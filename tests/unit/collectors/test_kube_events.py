from __future__ import annotations

from typing import Any

import pytest

from controller.collectors.kube_events import Candidate, read_refusals
from controller.domain.pools import VerdictKind
from controller.domain.supply import Refusal

L4 = Candidate(pool="l4", zones=("a", "b"))
SPOT = Candidate(pool="l4-spot", zones=("b",))
FAILED = "Node scale up in zones {} associated with this pod failed: {}. Pod is at risk of not being scheduled."
GROUPS = "pod triggered scale-up: [{{https://www.googleapis.com/v1/projects/p/zones/b/instanceGroups/{} 0->1}}]"


def event(reason: str, message: str, *, at: str = "2026-11-21T10:00:00Z", **changes: Any) -> dict[str, Any]:
    body = {"reason": reason, "message": message, "lastTimestamp": at, "involvedObject": {"name": "w0"}}
    return body | {"firstTimestamp": at} | changes


def refusals(
    *events: dict[str, Any], pools: tuple[Candidate, ...] = (L4,)
) -> list[tuple[str, str | None, VerdictKind]]:
    found = read_refusals(events, candidates={"w0": pools}, since=0.0)
    return [(one.pool, one.zone, one.kind) for one in found]


@pytest.mark.parametrize(
    ("zones", "cause", "expected"),
    [
        pytest.param("a", "GCE out of resources", [("l4", "a", VerdictKind.STOCKED_OUT)], id="one-zone"),
        pytest.param("a/b", "GCE out of resources", [("l4", None, VerdictKind.STOCKED_OUT)], id="all-zones"),
        pytest.param("a", "GCE quota exceeded", [("l4", "a", VerdictKind.QUOTA)], id="quota"),
        pytest.param("a", "IP space exhausted", [("l4", "a", VerdictKind.REFUSED)], id="another-cause"),
        pytest.param("", "Internal error", [("l4", None, VerdictKind.REFUSED)], id="no-zone-said"),
        pytest.param("c", "GCE out of resources", [], id="zone-of-no-pool"),
    ],
)
def test_a_failed_scale_up_refuses_the_pool_in_the_zones_it_names(zones: str, cause: str, expected: list[Any]) -> None:
    assert refusals(event("FailedScaleUp", FAILED.format(zones, cause))) == expected


def test_of_several_pools_the_one_with_the_zone_or_the_instance_group_is_meant_and_else_nobody() -> None:
    in_a, in_b = (event("FailedScaleUp", FAILED.format(zone, "GCE out of resources")) for zone in "ab")
    asked = event("TriggeredScaleUp", GROUPS.format("gke-prod-l4-spot-1a2b-grp"), at="2026-11-21T09:59:00Z")

    assert refusals(in_a, pools=(L4, SPOT)) == [("l4", "a", VerdictKind.STOCKED_OUT)]
    assert refusals(in_b, pools=(L4, SPOT)) == []
    assert refusals(in_b, asked, pools=(Candidate(pool="x", zones=("b",)), SPOT)) == [
        ("l4-spot", None, VerdictKind.STOCKED_OUT)
    ]


def test_a_back_off_that_is_repeated_is_one_refusal_from_when_it_was_first_said() -> None:
    text = "pod didn't trigger scale-up: 2 node(s) had untolerated taint, 1 in backoff after failed scale-up"
    first, again = "2026-11-21T10:00:00Z", "2026-11-21T10:05:00Z"
    events = [event("NotTriggerScaleUp", text, at=at, firstTimestamp=first) for at in (first, again)]

    found = read_refusals(events, candidates={"w0": (L4,)}, since=0.0)

    assert found == (
        Refusal(
            pool="l4",
            at=1_795_255_200.0,
            kind=VerdictKind.REFUSED,
            detail="NotTriggerScaleUp: in backoff after failed scale-up",
        ),
    )


def test_old_events_other_pods_and_other_reasons_are_left_out() -> None:
    text = FAILED.format("a", "GCE out of resources")
    old = event("FailedScaleUp", text)
    other = event("FailedScaleUp", text, involvedObject={"name": "somebody"})
    unfit = event("NotTriggerScaleUp", "pod didn't trigger scale-up: 3 node(s) didn't match Pod's node affinity")
    undated = event("FailedScaleUp", text, lastTimestamp=None, firstTimestamp=None)

    assert refusals(other, unfit, undated, event("Killing", text)) == []
    assert read_refusals([old], candidates={"w0": (L4,)}, since=2e9) == ()
