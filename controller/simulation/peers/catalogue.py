"""Peers by name, for the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.errors import BadInputError
from controller.simulation.peers.hpa import Hpa
from controller.simulation.peers.keda import keda
from controller.simulation.peers.kpa import Kpa
from controller.simulation.peers.ray_serve import RayServe
from controller.simulation.peers.static import Static
from controller.simulation.policy import ScalingPolicy

_MAKERS: dict[str, tuple[float, Callable[[float], ScalingPolicy]]] = {
    "ray-serve": (2.0, RayServe),
    "hpa": (20.0, Hpa),
    "kpa": (28.0, Kpa),
    "keda": (5.0, keda),
}

EVERY_PEER = "ray-serve:2,ray-serve:12,hpa:12,hpa:20,kpa:28,keda:5,static"


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer with its setting. ``target`` is None for a static fleet, whose size is found in hindsight."""

    kind: str
    target: float | None

    def policy(self, static: int) -> ScalingPolicy:
        """Make it anew, without memory."""
        return Static(static) if self.target is None else _MAKERS[self.kind][1](self.target)


def parse_peers(text: str) -> tuple[Peer, ...]:
    """Read ``NAME[:TARGET],...``. Raises BadInputError for one that is not known."""
    return tuple(_parse(one.strip()) for one in text.split(",") if one.strip())


def _parse(text: str) -> Peer:
    kind, _, setting = text.partition(":")
    if kind == "static" and not setting:
        return Peer(kind, None)
    known = _MAKERS.get(kind)
    try:
        target = float(setting) if setting else (known or (0.0,))[0]
    except ValueError:
        target = 0.0
    if known is None or not 0.0 < target < float("inf"):
        names = ", ".join(f"{name}[:TARGET]" for name in _MAKERS)
        msg = f"--against {text!r} is no known peer; choose from {names} and static, targets above 0"
        raise BadInputError(msg)
    return Peer(kind, target)
