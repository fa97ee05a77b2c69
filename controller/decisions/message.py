"""The lines of ``foreserve decide``: what is told in one, and what is answered. ``docs/decide.md`` describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from controller.decisions.cluster_message import ClusterAnswer, ClusterTold
from controller.domain.forecast import Forecast, LeadTime
from controller.domain.plan import Action, Capacity, OrderStatus, OutcomeStatus, Reason, Step

SCHEMA: Literal[1] = 1
"""Version of both kinds of line. A key may be added under the same number; a changed meaning is another number."""

_Count = Annotated[int, Field(ge=0, le=1_000_000)]
_NotNegative = Annotated[float, Field(ge=0, le=1e15)]
_Seconds = Annotated[float, Field(ge=0, le=1e9)]
_Name = Annotated[str, Field(max_length=507, pattern=r"^[^/]+/.+$", examples=["chat/LLMServer:llama"])]
_Signal = Literal["ongoing_requests", "requests_per_s", "prefill_tokens_per_s", "decode_tokens_per_s"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Told(_Part):
    """A measured value with its age, or the reason why there is none. Unknown is never zero."""

    value: _NotNegative | None = Field(default=None, description="The value, where it is known.")
    age_s: _Seconds = Field(default=0.0, description="Seconds since it was measured.")
    unknown: str | None = Field(default=None, max_length=1000, description="Why it is not known, instead of a value.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.value is None) == (self.unknown is None):
            msg = 'give either {"value": NUMBER, "age_s": SECONDS} or {"unknown": "why"}'
            raise ValueError(msg)
        return self


class Replicas(_Part):
    """Replicas by what they can do now."""

    running: _Count = Field(description="Serving.")
    starting: _Count = Field(default=0, description="Ordered, not serving yet.")
    stopping: _Count = Field(default=0, description="Draining.")


class LatencyTold(_Part):
    """Latency quantiles over the last half minute or so, in seconds."""

    ttft_p50_s: Told | None = None
    ttft_p95_s: Told | None = None
    itl_p50_s: Told | None = None
    itl_p95_s: Told | None = None


class EngineTold(_Part):
    """What one engine did over ``seconds`` ending at ``until``; teaches how much a replica carries."""

    replica_id: str = Field(max_length=500)
    until: float
    seconds: float = Field(gt=0, le=86_400)
    iterations: _NotNegative
    prompt_tokens: _NotNegative = Field(description="Those from the prefix cache included.")
    generation_tokens: _NotNegative
    first_tokens: _NotNegative = Field(description="Requests whose prefill ended.")
    cached_tokens: _NotNegative = 0.0
    preemptions: _NotNegative = 0.0
    running: _NotNegative | None = Field(default=None, description="Mean of sequences at once.")
    kv_usage: float | None = Field(default=None, ge=0, le=1, description="Mean share of the KV cache in use.")
    ready_s: _Seconds | None = Field(default=None, description="How long the replica had served at `until`.")
    model: str = Field(default="", max_length=500)
    accelerator: str = Field(default="", max_length=500)


class ServiceTold(_Part):
    """How users fared over ``seconds``: first tokens, how many of them late, and paces, how many of them slow."""

    seconds: float = Field(gt=0, le=86_400)
    first_tokens: _NotNegative
    late: _NotNegative
    paced: _NotNegative = 0.0
    slow: _NotNegative = 0.0


class Applied(_Part):
    """What came of the last plan for this deployment."""

    status: Literal["applied", "advised", "refused", "failed"]
    detail: str = Field(default="", max_length=1000)

    @property
    def outcome(self) -> OutcomeStatus:
        """The same in the words of the controller."""
        return OutcomeStatus(self.status)


class DeploymentTold(_Part):
    """One deployment as it was seen. What is left out is unknown."""

    deployment: _Name
    target: _Count | None = Field(default=None, description="Replicas asked for now; null: not known.")
    target_age_s: _Seconds = Field(
        default=0.0,
        description="Seconds since `target` was read; one read before the last plan was applied tells nothing.",
    )
    config_replicas: _Count | None = Field(default=None, description="Replicas that a redeploy resets the target to.")
    updating: bool = Field(default=False, description="Being redeployed; while it is, nothing is lowered.")
    replicas: Replicas | None = Field(default=None, description="null: not known.")
    deployed: bool = Field(default=True, description="false: it is known not to exist.")
    demand: dict[_Signal, Told] = Field(
        default_factory=dict, description="By signal; served, queued and shed together."
    )
    queued_requests: Told | None = None
    shed_per_s: Told | None = None
    errors_per_s: Told | None = None
    kv_cache_usage: Told | None = None
    latency: LatencyTold = LatencyTold()
    idle: bool = Field(default=False, description="Two independent sources agree that there is no traffic.")
    blind_spots: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        default=(), max_length=1000, description="Sources that are missing; while there is one, nothing is lowered."
    )
    at_the_door: Told | None = Field(
        default=None, description="Requests held or failing in front of the replicas; needed to go to zero."
    )
    stop_streams: tuple[_NotNegative | None, ...] = Field(
        default=(), max_length=32, description="Requests on the replicas that would stop first, in that order."
    )
    config_digest: str | None = Field(
        default=None, max_length=500, description="Changes with a redeploy; without it, engines teach nothing."
    )
    lead_time_s: Told | None = Field(default=None, description="Time to ready (P90) as another system measured it.")
    started_s: tuple[Annotated[float, Field(gt=0, le=86_400)], ...] = Field(
        default=(),
        max_length=1000,
        description="How long replicas took to start that became ready since the last line.",
    )
    engines: tuple[EngineTold, ...] = Field(
        default=(),
        max_length=10_000,
        description="One for each serving engine; one that overlaps what was learned from already is passed over.",
    )
    service: ServiceTold | None = Field(
        default=None,
        description="null: no request got a first token; the safe share of a full load is learned from it.",
    )
    applied: Applied | None = Field(
        default=None, description="What came of the last plan; left out: applied if `target` is what was planned."
    )


class SnapshotLine(_Part):
    """One line of input: everything that was seen at one moment."""

    schema_: Literal[1] = Field(alias="schema", description="Version of this format.")
    at: float = Field(ge=0, le=1e11, description="Unix seconds; later than on the line before.")
    deployments: tuple[DeploymentTold, ...] = Field(max_length=1000)
    cluster: ClusterTold | None = Field(default=None, description="null: only replicas are planned.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for one in self.deployments:
            if one.deployment in seen:
                msg = f"{one.deployment} is told twice; keep one entry"
                raise ValueError(msg)
            seen.add(one.deployment)
        return self


class Planned(_Part):
    """One deployment's decision. ``desired`` is the target to set; null: no opinion, leave it."""

    deployment: str
    current: int | None
    desired: int | None
    action: Action
    reason: Reason = Field(description="Of the stage that set the final number.")
    steps: tuple[Step, ...] = Field(description="Each stage's number and reason: see docs/planning.md.")
    lead: LeadTime
    capacity: Capacity
    forecasts: tuple[Forecast, ...] = Field(description="Quantiles of the largest demand within the horizon.")
    forecast_unavailable: str | None = Field(description="Why there is no forecast, when there is none.")


class PlannedOrder(_Part):
    """Capacity that was ordered, or given back, by one change of the target."""

    deployment: str
    ordered_at: float
    from_replicas: int
    to_replicas: int
    deadline: float
    status: OrderStatus
    closed_at: float | None


class FoundConflict(_Part):
    """A target that is not the one that was last set."""

    deployment: str
    expected: int
    found: int
    cause: str


class PlanLine(_Part):
    """One line of output."""

    schema_: Literal[1] = Field(default=SCHEMA, serialization_alias="schema")
    line: int = Field(description="Number of the input line, from 1.")
    at: float
    policy_version: str
    plan: tuple[Planned, ...] = Field(description="One entry for each deployment of the policy, in its order.")
    ledger: tuple[PlannedOrder, ...]
    conflicts: tuple[FoundConflict, ...]
    cluster: ClusterAnswer | None = Field(default=None, description="Where a cluster was told.")


class Problem(_Part):
    """What is wrong with a line; ``key`` is empty where the line as a whole is."""

    key: str
    message: str


class ErrorLine(_Part):
    """One line of output in place of a plan: nothing was learned from the input line, nothing is to be done."""

    schema_: Literal[1] = Field(default=SCHEMA, serialization_alias="schema")
    line: int
    error: Problem


def json_schema() -> dict[str, Any]:
    """JSON Schemas of the lines, ``input`` and ``output``."""
    answers: TypeAdapter[PlanLine | ErrorLine] = TypeAdapter(PlanLine | ErrorLine)
    return {
        "schema": SCHEMA,
        "input": SnapshotLine.model_json_schema(),
        "output": answers.json_schema(mode="serialization"),
    }


def dump_line(line: PlanLine | ErrorLine) -> str:
    """One line of JSON, without its end."""
    return line.model_dump_json(by_alias=True)
