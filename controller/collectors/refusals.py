"""What Google Cloud's words for "no node" mean, and which zone they are about. Pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from controller.domain.pools import VerdictKind

_STOCK_OUT = re.compile(
    r"STOCKOUT|RESOURCE_POOL_EXHAUSTED|GCE out of resources|"
    r"does not have enough resources available|currently unavailable in the",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"QUOTA_EXCEEDED|\bquota\b", re.IGNORECASE)
_RESERVED = re.compile(r"no available resources in specified reservations|\breservation\b", re.IGNORECASE)


def refusal_kind(text: str) -> VerdictKind | None:
    """Tell a stock-out from a missing quota; None when the text is about neither.

    A used-up reservation is a stock-out: there are no nodes, and more may come.
    """
    if _STOCK_OUT.search(text) or _RESERVED.search(text):
        return VerdictKind.STOCKED_OUT
    if _QUOTA.search(text):
        return VerdictKind.QUOTA
    return None


def zone_named(text: str, zones: Iterable[str]) -> str | None:
    """Return the zone that the text is about; None when it names none of ``zones``, or several, or the only one."""
    among = tuple(zones)
    named = {zone for zone in among if re.search(rf"(?<![a-z0-9-]){re.escape(zone)}(?![a-z0-9-])", text)}
    return named.pop() if len(named) == 1 and len(among) > 1 else None
