"""Google's words for "no node", as they were seen in the field."""

from __future__ import annotations

import pytest

from controller.collectors.refusals import refusal_kind, zone_named
from controller.domain.pools import VerdictKind

IGM = (
    "Not all instances running in IGM after 14.6s. Expected 1, running 0, transitioning 1. Current errors: "
    "[GCE_STOCKOUT]: Instance 'gke-1' creation failed: The zone 'projects/p/zones/us-central1-a' does not have "
    "enough resources available to fulfill the request."
)
ZONES = ("us-central1-a", "us-central1-b")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            IGM,
            VerdictKind.STOCKED_OUT,
        ),
        ("code: ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", VerdictKind.STOCKED_OUT),
        (
            "A g2-standard-4 VM instance with 1 nvidia-l4 accelerator(s) is currently unavailable in the zone.",
            VerdictKind.STOCKED_OUT,
        ),
        ("No available resources in specified reservations", VerdictKind.STOCKED_OUT),
        ("Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 8.0 in region us-central1.", VerdictKind.QUOTA),
        ("GCE_QUOTA_EXCEEDED: Instance creation failed", VerdictKind.QUOTA),
        ("Service account was deleted", None),
        ("", None),
    ],
)
def test_what_a_text_means(text: str, kind: VerdictKind | None) -> None:
    assert refusal_kind(text) is kind


@pytest.mark.parametrize(
    ("text", "zones", "zone"),
    [
        ("The zone 'projects/p/zones/us-central1-a' does not", ZONES, "us-central1-a"),
        ("in the us-central1-b zone. Consider another.", ZONES, "us-central1-b"),
        ("in us-central1-a and us-central1-b", ZONES, None),
        ("in us-central1-ab", ZONES, None),
        ("no zone named", ZONES, None),
        ("in us-central1-a", ("us-central1-a",), None),
    ],
)
def test_the_zone_that_a_text_is_about(text: str, zones: tuple[str, ...], zone: str | None) -> None:
    assert zone_named(text, zones) == zone
