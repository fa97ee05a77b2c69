"""GPU-hours, waste and savings, as the template needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.domain.identity import DeploymentId
from controller.policy.model import DeploymentPolicy, Policy
from controller.web.deployment import Tile
from controller.web.spending import Spent, scaled, together
from controller.web.timeline import Timeline
from controller.web.words import UNKNOWN, figure

_HOUR_S = 3600.0
_HUNDRED = 100.0


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bar, in percent of its length."""

    kind: str
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One deployment's GPU-seconds, and its money where the price is known."""

    id: DeploymentId
    gpus: Spent
    money: float | None
    split: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Other:
    """Another way on the same traffic."""

    name: str
    hours: float
    against: str
    meaning: str


def report(timeline: Timeline, policy: Policy) -> dict[str, Any]:
    """Build everything that ``report.html`` shows."""
    rules = {one.id: one for one in policy.deployments}
    spent = {name: timeline.known(name).account.total() for name in timeline.deployments()}
    gpus = {name: scaled(one, _gpus(rules, name)) for name, one in spent.items()}
    most = max((one.held for one in gpus.values()), default=0.0)
    rows = [
        CostRow(id=name, gpus=one, money=_money(rules, name, one.held), split=_split(one, most))
        for name, one in gpus.items()
    ]
    total = together(gpus.values())
    priced = [row.money for row in rows if row.money is not None]
    return {
        "since": timeline.since,
        "total": total,
        "unknown": total.unknown_s,
        "rows": rows,
        "priced": bool(priced),
        "tiles": _tiles(total, sum(priced) if priced else None, _saved(gpus)),
        "others": _others(gpus),
    }


def _tiles(total: Spent, money: float | None, saved: float | None) -> list[Tile]:
    share = total.waste / total.held if total.held else None
    tiles = [
        Tile("GPU-hours held", figure(total.held / _HOUR_S), "ready, starting and stopping"),
        Tile("Served demand", figure(total.needed / _HOUR_S), "GPU-hours that demand needed", "good"),
        Tile(
            "Not needed",
            UNKNOWN if share is None else f"{share:.0%}",
            f"{figure(total.waste / _HOUR_S)} GPU-hours: spare, starting, stopping",
            share=share,
        ),
        Tile(
            "Saved",
            UNKNOWN if saved is None else f"{saved:.0%}",
            "against a fleet at its maximum",
            "good" if saved and saved > 0 else "",
        ),
    ]
    return tiles if money is None else [*tiles, Tile("Money", figure(money), "at the policy's prices")]


def _others(gpus: Mapping[DeploymentId, Spent]) -> list[Other]:
    held = sum(one.held for one in gpus.values())
    ways = (
        ("As it was", held, "What was held."),
        (
            "Static at the limit",
            sum(one.at_limit for one in gpus.values()),
            "limits.max_replicas all the time.",
        ),
        (
            "Static at the peak",
            sum(one.at_peak for one in gpus.values()),
            "The most that was ever held, all the time: needs to know the peak beforehand.",
        ),
        (
            "Measured demand, no lead time",
            sum(one.oracle for one in gpus.values()),
            "What demand needed at each moment; cannot be had, because replicas take time to start.",
        ),
    )
    return [Other(name, amount / _HOUR_S, _against(held, amount), meaning) for name, amount, meaning in ways]


def _against(held: float, other: float) -> str:
    if not other or other == held:
        return UNKNOWN
    share = held / other - 1.0
    return f"{abs(share):.0%} {'more' if share > 0 else 'less'}"


def _saved(gpus: Mapping[DeploymentId, Spent]) -> float | None:
    limit = sum(one.at_limit for one in gpus.values())
    return 1.0 - sum(one.held for one in gpus.values()) / limit if limit else None


def _gpus(rules: Mapping[DeploymentId, DeploymentPolicy], name: DeploymentId) -> float:
    return float(rules[name].gpus) if name in rules else 1.0


def _money(rules: Mapping[DeploymentId, DeploymentPolicy], name: DeploymentId, held: float) -> float | None:
    price = rules[name].gpu_price_per_hour if name in rules else None
    return None if price is None else held / _HOUR_S * price


def _split(one: Spent, most: float) -> list[Part]:
    parts, x = [], 0.0
    for kind in ("needed", "spare", "starting", "stopping"):
        width = _HUNDRED * getattr(one, kind) / most if most else 0.0
        parts.append(Part(kind, round(x, 2), round(width, 2)))
        x += width
    return parts
