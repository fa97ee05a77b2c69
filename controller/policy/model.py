"""The policy: what each deployment needs, in the words of its operator.

A policy says *what*; where things are (addresses, tokens, files) is in ``controller.settings``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.domain.identity import DeploymentId
from controller.policy.cluster import ClusterPolicy, PlacementPolicy

Seconds = Annotated[float, Field(ge=0, le=86_400)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mode(StrEnum):
    """How far the controller goes."""

    DIRECT = "direct"
    """Set targets through Serve's scale API."""
    ADVISORY = "advisory"
    """Compute, record and export; touch nothing."""


class Limits(_Section):
    """Hard bounds, applied last. Nothing exceeds them."""

    min_replicas: int = Field(default=1, ge=0, le=10_000, description="Fewest replicas ever wanted.")
    max_replicas: int = Field(ge=1, le=10_000, description="Most replicas ever wanted.")
    max_step_up: int = Field(default=16, ge=1, le=10_000, description="Most replicas added in one tick.")
    max_step_down: int = Field(default=4, ge=1, le=10_000, description="Most replicas removed in one tick.")

    @model_validator(mode="after")
    def _min_not_above_max(self) -> Self:
        if self.min_replicas > self.max_replicas:
            msg = f"min_replicas ({self.min_replicas}) must be <= max_replicas ({self.max_replicas})"
            raise ValueError(msg)
        return self


class Objectives(_Section):
    """What users are promised. Times are measured at the 95th percentile."""

    ttft_s: PositiveSeconds = Field(default=2.0, description="Time to first token, seconds.")
    itl_s: PositiveSeconds = Field(default=0.1, description="Time between two tokens, seconds.")
    success_ratio: float = Field(
        default=0.99,
        ge=0.95,
        le=0.9999,
        description="Share of requests that are neither failed by the service nor shed; alerts follow it.",
    )


class IterationPrior(_Section):
    """Seconds of one engine iteration, measured once (``foreserve profile``); goes on being learned."""

    base_s: float = Field(gt=0, le=60, description="Seconds of every iteration.")
    per_sequence_s: float = Field(gt=0, le=1, description="More for each decoding sequence.")
    per_context_token_s: float = Field(gt=0, le=1, description="More for each context token of these.")
    per_prefill_token_s: float = Field(gt=0, le=1, description="More for each prefilled token.")


class CapacityPrior(_Section):
    """What one replica carries within the objectives. The signal that needs most replicas decides."""

    target_ongoing_requests: float = Field(
        gt=0, le=100_000, description="Requests in flight per replica, waiting ones included."
    )
    requests_per_s: float | None = Field(default=None, gt=0, description="Requests per second per replica.")
    prefill_tokens_per_s: float | None = Field(default=None, gt=0, description="Prompt tokens/s per replica.")
    decode_tokens_per_s: float | None = Field(default=None, gt=0, description="Output tokens/s per replica.")
    learn: bool = Field(
        default=True,
        description="Size by token work once it is learned from the engines; until then by the figures here.",
    )
    iteration: IterationPrior | None = Field(
        default=None, description="How long an engine iteration takes, before it is learned."
    )
    kv_cache_tokens: int | None = Field(default=None, ge=1, description="Tokens that one replica's KV cache holds.")
    max_num_seqs: int | None = Field(default=None, ge=1, description="The engine's own limit of sequences at once.")
    max_num_batched_tokens: int = Field(
        default=2048, ge=1, description="The engine's own limit of tokens an iteration."
    )


class Costs(_Section):
    """Relative cost of too little and of too much; sets the forecast quantile miss / (miss + spare)."""

    miss: float = Field(gt=0, description="Cost of one replica too few for a while.")
    spare: float = Field(gt=0, description="Cost of one replica too many for as long.")


class ForecastPolicy(_Section):
    """Whether and how far to act ahead. Give either ``quantile`` or ``costs``, not both."""

    enabled: bool = Field(default=True, description="Act ahead of demand; false follows measured demand only.")
    quantile: float | None = Field(default=None, ge=0.5, le=0.99, description="Forecast quantile to size for.")
    costs: Costs | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.quantile is not None and self.costs is not None:
            msg = "give either quantile or costs, not both"
            raise ValueError(msg)
        return self

    @property
    def target_quantile(self) -> float:
        """The quantile to size for: set directly, or from costs, or 0.9; within [0.5, 0.99]."""
        if self.quantile is not None:
            return self.quantile
        if self.costs is not None:
            ratio = self.costs.miss / (self.costs.miss + self.costs.spare)
            return min(0.99, max(0.5, ratio))
        return 0.9


class LeadTimePolicy(_Section):
    """Used only until replica starts have been measured."""

    assumed_s: PositiveSeconds | None = Field(
        default=None, description="Seconds from order to ready, before anything was measured."
    )


class Stabilisation(_Section):
    """How long a changed need must last before it is followed."""

    upscale_delay_s: Seconds = Field(default=0.0, description="Need must stay higher for this long.")
    downscale_delay_s: Seconds = Field(default=300.0, description="Need must stay lower for this long.")


class DeploymentPolicy(_Section):
    """The policy of one deployment."""

    application: str = Field(min_length=1, max_length=253, description="Ray Serve application name.")
    deployment: str = Field(min_length=1, max_length=253, description="Ray Serve deployment name.")
    limits: Limits
    capacity: CapacityPrior
    placement: PlacementPolicy | None = None
    objectives: Objectives = Objectives()
    forecast: ForecastPolicy = ForecastPolicy()
    lead_time: LeadTimePolicy = LeadTimePolicy()
    stabilisation: Stabilisation = Stabilisation()
    paused: bool = Field(default=False, description="Leave this deployment's target alone.")

    @property
    def id(self) -> DeploymentId:
        """The deployment this policy is for."""
        return DeploymentId(self.application, self.deployment)


class ControlPolicy(_Section):
    """The loop itself."""

    interval_s: float = Field(default=10.0, ge=1, le=300, description="Seconds between two ticks.")
    window_s: float = Field(
        default=30.0, ge=5, le=600, description="Seconds over which rates and latencies are measured."
    )
    max_signal_age_s: float = Field(
        default=30.0, ge=2, le=600, description="Older readings are unknown, and their source is stale."
    )

    @model_validator(mode="after")
    def _often_enough(self) -> Self:
        if self.window_s < 2 * self.interval_s:
            msg = f"window_s ({self.window_s:g}) must be at least twice interval_s ({self.interval_s:g})"
            raise ValueError(msg)
        if self.max_signal_age_s <= self.interval_s:
            msg = f"max_signal_age_s ({self.max_signal_age_s:g}) must be above interval_s ({self.interval_s:g})"
            raise ValueError(msg)
        return self


class Policy(_Section):
    """A whole policy file."""

    version: Literal[1] = Field(description="Version of this file format.")
    mode: Mode = Field(
        default=Mode.DIRECT, description="direct sets targets through Serve's scale API; advisory touches nothing."
    )
    control: ControlPolicy = ControlPolicy()
    deployments: tuple[DeploymentPolicy, ...] = Field(
        min_length=1, max_length=1000, description="One entry for each deployment that is scaled."
    )
    cluster: ClusterPolicy | None = None

    @model_validator(mode="after")
    def _each_deployment_once(self) -> Self:
        seen: set[DeploymentId] = set()
        for deployment in self.deployments:
            if deployment.id in seen:
                msg = f"{deployment.id} is listed twice; keep one entry"
                raise ValueError(msg)
            seen.add(deployment.id)
        return self

    @model_validator(mode="after")
    def _placements_have_places(self) -> Self:
        for one in self.deployments:
            if one.placement is not None and self.cluster is not None and not self.cluster.houses(one.placement.shape):
                msg = (
                    f"{one.id} needs {one.placement.shape.gpus} {one.placement.accelerator} for a replica, which no "
                    "worker group has; add one to cluster.worker_groups"
                )
                raise ValueError(msg)
        return self
