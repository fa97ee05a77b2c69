"""What GKE's API answers, as values: node pools and operations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from controller.domain.cluster import PoolFound
from controller.domain.pools import Accelerator, PoolBounds, PoolStatus, Provisioning, TotalBounds, ZoneBounds

if TYPE_CHECKING:
    from google.cloud import container_v1

_STATUS = {
    1: PoolStatus.PROVISIONING,
    2: PoolStatus.RUNNING,
    3: PoolStatus.RUNNING_WITH_ERROR,
    4: PoolStatus.RECONCILING,
    5: PoolStatus.STOPPING,
    6: PoolStatus.ERROR,
}
"""``NodePool.Status`` by number; a number that is not here came after this was written."""
_DONE = 3
"""``Operation.Status.DONE``."""
_CONDITIONS = {1: "GCE_STOCKOUT", 3: "GCE_QUOTA_EXCEEDED"}
"""``StatusCondition.Code`` by number, those that say that there are no nodes to be had."""
_RESERVED = {3, 4}
"""``ReservationAffinity.Type``: SPECIFIC_RESERVATION, ANY_RESERVATION_THEN_FAIL."""
_OPERATIONS = {9: "SET_NODE_POOL_MANAGEMENT", 7: "CREATE_NODE_POOL", 14: "SET_NODE_POOL_SIZE", 6: "UPDATE_CLUSTER"}
"""``Operation.Type`` by number, those that this controller or a person resizing a pool starts."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that GKE says is wrong with a pool, or went wrong in an operation. ``code`` is "" where unknown."""

    code: str
    message: str

    @property
    def text(self) -> str:
        """Code and message in one."""
        return f"{self.code}: {self.message}".strip(": ")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAnswer:
    """One node pool. ``location_policy`` and ``autoprovisioned`` are kept only to be sent back as they are."""

    found: PoolFound
    conditions: tuple[Condition, ...] = ()
    location_policy: int = 0
    autoprovisioned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationAnswer:
    """One operation. ``pool`` is None where it is not about one. Times are Unix seconds, None where not given.

    ``problems`` say why it failed; none where it did not, or is not done.
    """

    name: str
    kind: str
    done: bool
    cluster: str
    pool: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    problems: tuple[Condition, ...] = ()


def read_pool(answer: container_v1.NodePool) -> PoolAnswer:
    """Read a pool. Bounds are those of the kind that is in use: GKE leaves the others at 0."""
    raw = type(answer).pb(answer)
    scaling = raw.autoscaling
    return PoolAnswer(
        found=PoolFound(
            name=raw.name,
            status=_STATUS.get(raw.status, PoolStatus.UNKNOWN),
            autoscaled=scaling.enabled,
            zones=tuple(sorted(raw.locations)),
            bounds=_bounds(scaling) if scaling.enabled else None,
            accelerator=_accelerator(raw.config),
            gpus_per_node=_gpus(raw.config),
            provisioning=_provisioning(raw),
        ),
        conditions=tuple(_condition(one) for one in raw.conditions),
        location_policy=scaling.location_policy,
        autoprovisioned=scaling.autoprovisioned,
    )


def read_operation(answer: container_v1.Operation) -> OperationAnswer:
    """Read an operation."""
    raw = type(answer).pb(answer)
    done = raw.status == _DONE
    target = raw.target_link.split("?", 1)[0].split("/")
    return OperationAnswer(
        name=raw.name,
        kind=_OPERATIONS.get(raw.operation_type, str(raw.operation_type)),
        done=done,
        cluster=_after("clusters", target) or "",
        pool=_after("nodePools", target),
        started_at=_unix(raw.start_time),
        ended_at=_unix(raw.end_time),
        problems=_problems(raw) if done else (),
    )


def _bounds(scaling: Any) -> PoolBounds:
    if scaling.total_max_node_count or scaling.total_min_node_count:
        return TotalBounds(scaling.total_min_node_count, scaling.total_max_node_count)
    return ZoneBounds(scaling.min_node_count, scaling.max_node_count)


def _accelerator(config: Any) -> Accelerator | None:
    kinds = {one.accelerator_type for one in config.accelerators}
    return Accelerator(kinds.pop()) if len(kinds) == 1 else None


def _gpus(config: Any) -> int | None:
    """Whole GPUs of a node; None where they are cut up or shared, and a pod's share is something else."""
    if any(one.gpu_partition_size or one.HasField("gpu_sharing_config") for one in config.accelerators):
        return None
    return sum(int(one.accelerator_count) for one in config.accelerators)


def _provisioning(raw: Any) -> Provisioning:
    config = raw.config
    if config.flex_start or raw.queued_provisioning.enabled:
        return Provisioning.FLEX_START
    if config.spot or config.preemptible:
        return Provisioning.SPOT
    if config.reservation_affinity.consume_reservation_type in _RESERVED:
        return Provisioning.RESERVATION
    return Provisioning.ON_DEMAND


def _problems(raw: Any) -> tuple[Condition, ...]:
    found = [_condition(one) for one in raw.nodepool_conditions]
    if raw.error.message and not any(one.message == raw.error.message for one in found):
        found.append(Condition("", raw.error.message))
    if not found and raw.error.code:
        found.append(Condition("", raw.status_message or f"status code {raw.error.code}"))
    return tuple(found)


def _condition(raw: Any) -> Condition:
    return Condition(_CONDITIONS.get(raw.code, ""), raw.message)


def _after(name: str, parts: list[str]) -> str | None:
    places = [place for place, part in enumerate(parts[:-1]) if part == name]
    return parts[places[0] + 1] if places else None


def _unix(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
