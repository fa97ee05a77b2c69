"""Peers by name, for the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.errors import BadInputError
from controller.simulation.cluster import ClusterSpec
from controller.simulation.outcome import Objectives
from controller.simulation.peers.dynamo import DynamoPlanner
from controller.simulation.peers.dynamo_predictors import WITH_WHEEL, predictor
from controller.simulation.peers.hpa import Hpa
from controller.simulation.peers.keda import keda
from controller.simulation.peers.kpa import AIBRIX, KNATIVE, Kpa
from controller.simulation.peers.ray_serve import RayServe
from controller.simulation.peers.static import Static
from controller.simulation.peers.wva import SaturationV1, SaturationV2, wva
from controller.simulation.policy import ScalingPolicy

_Maker = Callable[[float, ClusterSpec, Objectives], ScalingPolicy]
_BELOW_ONE = 1.0


def _kpa(target: float, _cluster: ClusterSpec, _objectives: Objectives) -> ScalingPolicy:
    return Kpa(target, settings=KNATIVE, name=f"kpa-{target:g}")


def _aibrix(target: float, _cluster: ClusterSpec, _objectives: Objectives) -> ScalingPolicy:
    return Kpa(target, settings=AIBRIX, name=f"aibrix-{target:g}")


def _wva(threshold: float, cluster: ClusterSpec, _objectives: Objectives) -> ScalingPolicy:
    return wva(f"wva-{threshold:g}", SaturationV2.with_threshold(threshold), cluster)


def _wva_v1(threshold: float, cluster: ClusterSpec, _objectives: Objectives) -> ScalingPolicy:
    return wva(f"wva-v1-{threshold:g}", SaturationV1(threshold), cluster)


def _dynamo(kind: str) -> _Maker:
    def make(share: float, cluster: ClusterSpec, objectives: Objectives) -> ScalingPolicy:
        told = Objectives(ttft_s=objectives.ttft_s * share, tpot_s=objectives.tpot_s * share)
        return DynamoPlanner(cluster.replica, told, kind=kind, name=f"dynamo-{kind}-{share:g}")

    return make


@dataclass(frozen=True, slots=True)
class _Kind:
    """``setting`` is used where none is given: the best tried on the public traces. ``most`` bounds it."""

    setting: float
    make: _Maker
    most: float = float("inf")


_KINDS: dict[str, _Kind] = {
    "ray-serve": _Kind(10.0, lambda target, _cluster, _objectives: RayServe(target)),
    "hpa": _Kind(12.0, lambda target, _cluster, _objectives: Hpa(target)),
    "kpa": _Kind(14.0, _kpa),
    "aibrix": _Kind(10.0, _aibrix),
    "keda": _Kind(5.0, lambda threshold, _cluster, _objectives: keda(threshold)),
    "wva": _Kind(1.0, _wva, _BELOW_ONE),
    "wva-v1": _Kind(0.8, _wva_v1, _BELOW_ONE),
    **{f"dynamo-{kind}": _Kind(0.27, _dynamo(kind)) for kind in WITH_WHEEL},
}

EVERY_PEER = "ray-serve:2,ray-serve:12,hpa:12,hpa:20,kpa:28,kpa,aibrix,keda:5,wva,dynamo-kalman,static"


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer with its setting. ``setting`` is None for a static fleet, whose size is found in hindsight."""

    kind: str
    setting: float | None

    def policy(self, static: int, cluster: ClusterSpec, objectives: Objectives) -> ScalingPolicy:
        """Make it anew, without memory."""
        if self.setting is None:
            return Static(static)
        return _KINDS[self.kind].make(self.setting, cluster, objectives)


def parse_peers(text: str) -> tuple[Peer, ...]:
    """Read ``NAME[:SETTING],...``.

    Raises:
        BadInputError: one is not known, its setting is out of range, or it needs what is not installed.

    """
    return tuple(_parse(one.strip()) for one in text.split(",") if one.strip())


def _parse(text: str) -> Peer:
    name, _, setting = text.partition(":")
    if name == "static" and not setting:
        return Peer(name, None)
    known = _KINDS.get(name)
    try:
        value = float(setting) if setting else (known.setting if known else 0.0)
    except ValueError:
        value = 0.0
    if known is None or not (0.0 < value < float("inf") and value <= known.most):
        names = ", ".join(f"{one}[:SETTING]" for one in _KINDS)
        msg = f"--against {text!r} is no known peer; choose from {names} and static, settings above 0 (wva: at most 1)"
        raise BadInputError(msg)
    if name.startswith("dynamo-"):
        predictor(name.removeprefix("dynamo-"), 1.0)
    return Peer(name, value)
