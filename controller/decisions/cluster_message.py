"""The cluster's part of the lines of ``foreserve decide``. ``docs/decide.md`` describes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.domain.cluster import LayerStep
from controller.domain.layer import Layer
from controller.domain.nodes import NodeState
from controller.domain.placement import GroupTarget, PoolTarget
from controller.domain.pools import VerdictKind
from controller.domain.workers import ReplicaState, WorkerState

_Count = Annotated[int, Field(ge=0, le=1_000_000)]
_Gpus = Annotated[int, Field(ge=0, le=1024)]
_Moment = Annotated[float, Field(ge=0, le=1e11)]
_Word = Annotated[str, Field(min_length=1, max_length=500)]
_Sentence = Annotated[str, Field(max_length=1000)]


class Part(BaseModel):
    """A part of a line: no key that is not known, no number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OccupantTold(Part):
    """A replica on a worker. One over several workers is told on the one that has its actor."""

    replica: _Word = Field(description="Serve's id of it; never used twice.")
    deployment: _Word = Field(examples=["chat/LLMServer:llama"])
    gpus: _Gpus = Field(default=0, description="GPUs that it holds, where its deployment has no `placement`.")
    state: ReplicaState = ReplicaState.RUNNING
    created_at: _Moment | None = Field(default=None, description="When its actor was created.")


class WorkerTold(Part):
    """A Ray worker that is scheduled to its node."""

    name: _Word
    group: _Word
    gpus: _Gpus
    state: WorkerState = WorkerState.READY
    since: _Moment = Field(description="When it was scheduled.")
    created_at: _Moment | None = None
    image_pulled_at: _Moment | None = None
    ready_at: _Moment | None = None
    replicas: tuple[OccupantTold, ...] = Field(default=(), max_length=1024)


class NodeTold(Part):
    """A GPU node of one of the policy's pools."""

    name: _Word
    pool: _Word
    zone: _Word
    gpus: _Gpus
    state: NodeState = NodeState.READY
    since: _Moment = Field(description="When it was created.")
    ready_at: _Moment | None = None
    foreign_gpus: _Gpus = Field(default=0, description="Held by pods that are no workers of the policy's groups.")
    workers: tuple[WorkerTold, ...] = Field(default=(), max_length=1024)


class GroupTold(Part):
    """The bounds of a worker group as they stand. One that is left out is not there, and is not set."""

    name: _Word
    min_workers: _Count
    max_workers: _Count
    pending: tuple[_Word, ...] = Field(default=(), max_length=10_000, description="Workers that have no node yet.")


class RefusalTold(Part):
    """The platform gives no node of a pool, or of its zone, now."""

    pool: _Word
    at: _Moment
    kind: Literal["stocked_out", "quota", "refused"]
    detail: _Sentence = ""
    zone: _Word | None = None

    @property
    def verdict(self) -> VerdictKind:
        """The same in the words of the controller."""
        return VerdictKind(self.kind)


class LayerApplied(Part):
    """What came of the last target of a pool's nodes or of a worker group."""

    layer: Literal[Layer.NODE, Layer.WORKER]
    name: _Word
    status: Literal["applied", "nothing_to_do", "advised", "refused", "failed"]


class ClusterTold(Part):
    """The cluster as it was seen. ``nodes`` that are left out are unknown: nothing below the replicas is planned."""

    nodes: tuple[NodeTold, ...] | None = Field(default=None, max_length=20_000, description="null: not known.")
    groups: tuple[GroupTold, ...] | None = Field(default=None, max_length=1000, description="null: not known.")
    warm: dict[_Word, _Count] | None = Field(
        default=None, description="Nodes kept warm, by pool; null: as the last plan had it."
    )
    refusals: tuple[RefusalTold, ...] = Field(default=(), max_length=1000)
    frozen: _Sentence | None = Field(default=None, description="Why worker groups must not be touched now.")
    unknown: _Sentence | None = Field(default=None, description="Why nodes or groups are not known.")
    applied: tuple[LayerApplied, ...] = Field(
        default=(), max_length=1000, description="What came of the last plan's steps; left out: not set."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        nodes = self.nodes or ()
        workers = [worker for node in nodes for worker in node.workers]
        for what, names in {
            "node": [one.name for one in nodes],
            "worker": [one.name for one in workers],
            "replica": [one.replica for worker in workers for one in worker.replicas],
            "group": [one.name for one in self.groups or ()],
        }.items():
            if (twice := _twice(names)) is not None:
                msg = f"{what} {twice} is told twice; keep one entry"
                raise ValueError(msg)
        return self


class UnplacedTold(Part):
    """Replicas that have no place, and why."""

    deployment: str
    replicas: int
    obstacle: str
    detail: str


class VerdictTold(Part):
    """A pool that is not asked before ``until``."""

    pool: str
    zone: str | None
    kind: VerdictKind
    until: float
    detail: str


class ClusterAnswer(Part):
    """Nodes and workers to set. ``steps`` are what differs from what was told, in the order to set it in."""

    pools: tuple[PoolTarget, ...]
    groups: tuple[GroupTarget, ...]
    steps: tuple[LayerStep, ...]
    unplaced: tuple[UnplacedTold, ...]
    verdicts: tuple[VerdictTold, ...]
    held: str | None = Field(description="Why nothing is planned, when nothing is.")
    problems: tuple[str, ...]


def _twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
