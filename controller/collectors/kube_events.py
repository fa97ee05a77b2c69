"""Refusals of nodes, out of the events that the cluster autoscaler leaves on pods. Pure.

Its texts do not name the pool. It is found by what the pod may run on: its own node selector, its worker group,
the zones of the failure, and the instance group that an earlier ``TriggeredScaleUp`` of the same pod names. Where
more than one pool remains nobody is blamed; a missed deadline will tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.collectors.kube_objects import Json, moment, part
from controller.collectors.refusals import refusal_kind
from controller.domain.pools import VerdictKind
from controller.domain.supply import Refusal

REASONS = ("FailedScaleUp", "NotTriggerScaleUp", "TriggeredScaleUp")

_FAILED = re.compile(r"Node scale up in zones ?(?P<zones>\S*) associated with this pod failed: (?P<cause>[^.]*)")
_GROUP = re.compile(r"/zones/(?P<zone>[^/]+)/instanceGroups/(?P<name>[^\s\]}]+)")
_NOT_NOW = ("in backoff after failed scale-up", "max node group size reached")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pool that a pod may run in."""

    pool: str
    zones: tuple[str, ...]


def read_refusals(
    events: Iterable[Json], *, candidates: Mapping[str, tuple[Candidate, ...]], since: float
) -> tuple[Refusal, ...]:
    """Return the refusals since a moment (Unix seconds), each once, by time.

    ``candidates`` has the pools of each pod, by its name; events on other pods are left out.
    """
    ordered = sorted(events, key=lambda event: _last(event) or 0.0)
    asked: dict[str, str] = {}
    found: set[Refusal] = set()
    for event in ordered:
        pod = str(part(event, "involvedObject").get("name") or "")
        at, text = _last(event), str(event.get("message") or "")
        pools = candidates.get(pod)
        if at is None or not pools:
            continue
        match event.get("reason"):
            case "TriggeredScaleUp":
                asked[pod] = text
            case "FailedScaleUp" if at >= since:
                found |= set(_failed(text, at, _narrowed(pools, asked.get(pod, ""))))
            case "NotTriggerScaleUp" if at >= since:
                found |= set(_not_triggered(event, text, pools))
            case _:
                pass
    return tuple(sorted(found, key=lambda one: (one.at, one.pool, one.zone or "", one.detail)))


def _failed(text: str, at: float, pools: tuple[Candidate, ...]) -> Iterable[Refusal]:
    matched = _FAILED.search(text)
    if matched is None:
        return
    zones = tuple(zone for zone in matched["zones"].split("/") if zone)
    within = [pool for pool in pools if not zones or set(zones) & set(pool.zones)]
    if len(within) != 1:
        return
    pool = within[0]
    kind = refusal_kind(matched["cause"]) or VerdictKind.REFUSED
    detail = f"FailedScaleUp: {matched['cause'].strip()}"
    whole_pool = not zones or set(pool.zones) <= set(zones)
    for zone in [None] if whole_pool else sorted(set(zones) & set(pool.zones)):
        yield Refusal(pool=pool.pool, at=at, kind=kind, detail=detail, zone=zone)


def _not_triggered(event: Json, text: str, pools: tuple[Candidate, ...]) -> Iterable[Refusal]:
    """A pool that is not even tried: one refusal, dated when that was first said, however often it is repeated."""
    said = next((reason for reason in _NOT_NOW if reason in text), None)
    first = moment(event.get("firstTimestamp")) or _last(event)
    if said is not None and first is not None and len(pools) == 1:
        yield Refusal(
            pool=pools[0].pool, at=first, kind=VerdictKind.REFUSED, detail=f"NotTriggerScaleUp: {said}", zone=None
        )


def _narrowed(pools: tuple[Candidate, ...], asked: str) -> tuple[Candidate, ...]:
    """Keep the pools whose instance groups were asked to grow, where their names show that.

    GKE names these ``gke-CLUSTER-POOL-HASH-grp`` and shortens cluster and pool where that is too long.
    """
    groups = [matched["name"] for matched in _GROUP.finditer(asked)]
    named = tuple(pool for pool in pools if any(f"-{pool.pool}-" in group for group in groups))
    return named or pools


def _last(event: Json) -> float | None:
    series = part(event, "series").get("lastObservedTime")
    return next(
        (
            at
            for at in (
                moment(series),
                moment(event.get("lastTimestamp")),
                moment(event.get("eventTime")),
                moment(part(event, "metadata").get("creationTimestamp")),
            )
            if at is not None
        ),
        None,
    )
