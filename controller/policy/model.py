"""The policy: what each deployment needs, in the words of its operator.

A policy says *what*; where things are (addresses, tokens, files) is in ``controller.settings``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from controller.domain.identity import DeploymentId
from controller.domain.placement import Budget as NodeBudget
from controller.domain.signals import Signal
from controller.policy.canary import CanaryPolicy
from controller.policy.cluster import ClusterPolicy, PlacementPolicy
from controller.policy.events import Event
from controller.policy.interventions import ApprovalPolicy, OverridePolicy
from controller.policy.section import PositiveSeconds, Seconds, Section
from controller.policy.webhooks import EVERYWHERE, FROM_LABELS, WebhookPolicy


class Mode(StrEnum):
    """How far the controller goes."""

    DIRECT = "direct"
    """Set targets through Serve's scale API."""
    APPROVE = "approve"
    """Set a target only after a person's word on it."""
    GUIDED = "guided"
    """Give Serve's own autoscaler a floor; it goes on by itself when the controller is gone."""
    ADVISORY = "advisory"
    """Compute, record and export; touch nothing."""


class Limits(Section):
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


class Objectives(Section):
    """What users are promised. Times are measured at the 95th percentile."""

    ttft_s: PositiveSeconds = Field(default=2.0, description="Time to first token, seconds.")
    itl_s: PositiveSeconds = Field(default=0.1, description="Time between two tokens, seconds.")
    success_ratio: float = Field(
        default=0.99,
        ge=0.95,
        le=0.9999,
        description="Share of requests that are neither failed by the service nor shed; alerts follow it.",
    )


class IterationPrior(Section):
    """Seconds of one engine iteration, measured once (``foreserve profile``); goes on being learned."""

    base_s: float = Field(gt=0, le=60, description="Seconds of every iteration.")
    per_sequence_s: float = Field(gt=0, le=1, description="More for each decoding sequence.")
    per_context_token_s: float = Field(gt=0, le=1, description="More for each context token of these.")
    per_prefill_token_s: float = Field(gt=0, le=1, description="More for each prefilled token.")


class CapacityPrior(Section):
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


class Costs(Section):
    """Relative cost of too little and of too much; sets the forecast quantile miss / (miss + spare)."""

    miss: float = Field(gt=0, description="Cost of one replica too few for a while.")
    spare: float = Field(gt=0, description="Cost of one replica too many for as long.")


class ForecastPolicy(Section):
    """Whether and how far to act ahead. Give either ``quantile`` or ``costs``, not both."""

    enabled: bool = Field(default=True, description="Act ahead of demand; false follows measured demand only.")
    quantile: float | None = Field(default=None, ge=0.5, le=0.99, description="Forecast quantile to size for.")
    costs: Costs | None = None
    allowed_misses: float = Field(
        default=0.0025,
        gt=0,
        le=1,
        description="Share of requests that may miss an objective before the quantile rises; 1: it never does.",
    )

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

    @property
    def quantile_from(self) -> str:
        """Where ``target_quantile`` comes from, in words."""
        if self.quantile is not None:
            return "as the policy says"
        if self.costs is None:
            return "the default"
        miss, spare = self.costs.miss, self.costs.spare
        return f"a miss costs {miss:g}, a spare replica {spare:g}: {miss:g} / ({miss:g} + {spare:g})"


class LeadTimePolicy(Section):
    """Used only until replica starts have been measured."""

    assumed_s: PositiveSeconds | None = Field(
        default=None, description="Seconds from order to ready where worker and node are there."
    )
    warm_replicas: int | None = Field(
        default=None,
        ge=0,
        le=10_000,
        description="Replicas for which workers and nodes are always there; further ones wait for both.",
    )
    worker_s: PositiveSeconds | None = Field(default=None, description="Seconds that a further worker takes to come.")
    node_s: PositiveSeconds | None = Field(default=None, description="Seconds that a further node takes to come.")


class Stabilisation(Section):
    """How long a changed need must last before it is followed."""

    upscale_delay_s: Seconds = Field(default=0.0, description="Need must stay higher for this long.")
    downscale_delay_s: Seconds = Field(default=300.0, description="Need must stay lower for this long.")
    max_drain_wait_s: Seconds = Field(
        default=30.0, description="Longest wait for a moment when few requests run on the replicas that would stop."
    )


class ScaleToZero(Section):
    """When nothing may run at all. Goes with ``limits.min_replicas`` 0."""

    after_idle_s: PositiveSeconds = Field(description="Two sources must have agreed for this long that nobody comes.")
    cold_start_promise_s: PositiveSeconds = Field(
        description="Longest wait of the first request; where starts take longer, one replica stays."
    )


class DeploymentPolicy(Section):
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
    scale_to_zero: ScaleToZero | None = None
    events: tuple[Event, ...] = Field(
        default=(), min_length=0, max_length=100, description="What is known beforehand to happen, and when."
    )
    paused: bool = Field(default=False, description="Leave this deployment's target alone.")
    gpus_per_replica: int | None = Field(
        default=None, ge=0, le=1024, description="GPUs that one replica holds, where placement does not say; unset: 1."
    )
    gpu_price_per_hour: float | None = Field(
        default=None, gt=0, le=1e6, description="What one GPU costs an hour, where no node pool says."
    )
    priority: int = Field(
        default=0, ge=-100, le=100, description="Higher ones get their share of the budget before lower ones."
    )
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Share of the budget among equals, relative to what is wanted."
    )

    @model_validator(mode="after")
    def _gpus_are_said_once(self) -> Self:
        if self.placement is not None and self.gpus_per_replica is not None:
            msg = (
                f"gpus_per_replica is given beside placement, which takes {self.placement.shape.gpus} GPUs "
                "(tensor_parallel x pipeline_parallel); leave gpus_per_replica out"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _zero_is_meant(self) -> Self:
        if self.limits.min_replicas == 0 and self.scale_to_zero is None:
            msg = (
                "limits.min_replicas is 0 without scale_to_zero; "
                "say when nothing may run: scale_to_zero: {after_idle_s, cold_start_promise_s}"
            )
            raise ValueError(msg)
        if self.limits.min_replicas > 0 and self.scale_to_zero is not None:
            msg = f"scale_to_zero is given, but limits.min_replicas is {self.limits.min_replicas}; set it to 0"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _events_fit(self) -> Self:
        for index, event in enumerate(self.events):
            _check_floor(f"events[{index}] ({event.name})", event, self.limits)
            _check_load(f"events[{index}] ({event.name})", event, self.capacity)
        return self

    @property
    def gpus(self) -> int:
        """GPUs that one replica holds."""
        if self.placement is not None:
            return self.placement.shape.gpus
        return 1 if self.gpus_per_replica is None else self.gpus_per_replica

    @property
    def id(self) -> DeploymentId:
        """The deployment this policy is for."""
        return DeploymentId(self.application, self.deployment)


def _check_floor(name: str, event: Event, limits: Limits) -> None:
    if event.min_replicas is not None and event.min_replicas > limits.max_replicas:
        msg = (
            f"{name} asks for {event.min_replicas} replicas; "
            f"raise limits.max_replicas ({limits.max_replicas}) or ask for fewer"
        )
        raise ValueError(msg)


def _check_load(name: str, event: Event, capacity: CapacityPrior) -> None:
    if event.extra_load is None:
        return
    for signal in event.extra_load.amounts:
        figure = "target_ongoing_requests" if signal is Signal.ONGOING_REQUESTS else signal.value
        if getattr(capacity, figure) is None:
            msg = f"{name} gives extra_load.{signal.value}; say what one replica carries of it: capacity.{figure}"
            raise ValueError(msg)


class ControlPolicy(Section):
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


class Budget(Section):
    """What all deployments of this file together may hold, starting and draining replicas included.

    With a ``cluster`` it bounds the nodes, too, empty and coming ones included.
    """

    gpus: int | None = Field(default=None, ge=1, le=1_000_000, description="Most GPUs ever held.")
    spend_per_hour: float | None = Field(
        default=None,
        gt=0,
        description="Most spent an hour; needs the price of every node pool, and ``gpu_price_per_hour`` of every "
        "deployment without a placement in them.",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.gpus is None and self.spend_per_hour is None:
            msg = "limits nothing; give gpus, spend_per_hour or both"
            raise ValueError(msg)
        return self

    @property
    def of_nodes(self) -> NodeBudget:
        """The same for node pools."""
        return NodeBudget(cost_per_hour=self.spend_per_hour, gpus=self.gpus)


class Policy(Section):
    """A whole policy file."""

    version: Literal[1] = Field(description="Version of this file format.")
    mode: Mode = Field(
        default=Mode.DIRECT,
        description="direct sets targets through Serve's scale API; guided gives Serve's own autoscaler a floor; "
        "approve asks first; advisory touches nothing.",
    )
    control: ControlPolicy = ControlPolicy()
    budget: Budget | None = None
    deployments: tuple[DeploymentPolicy, ...] = Field(
        min_length=1, max_length=1000, description="One entry for each deployment that is scaled."
    )
    cluster: ClusterPolicy | None = None
    canaries: tuple[CanaryPolicy, ...] = Field(
        default=(), min_length=0, max_length=100, description="New builds that get traffic step by step."
    )
    overrides: OverridePolicy = OverridePolicy()
    approval: ApprovalPolicy = ApprovalPolicy()
    webhooks: WebhookPolicy = WebhookPolicy()

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
    def _each_canary_once(self) -> Self:
        names = [one.name for one in self.canaries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"canaries: {twice[0]} is listed twice; keep one entry"
            raise ValueError(msg)
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

    @model_validator(mode="after")
    def _alerts_ask_within_bounds(self) -> Self:
        known = {str(one.id) for one in self.deployments} | {FROM_LABELS, EVERYWHERE}
        most_s = self.overrides.max_duration_s
        for receiver in self.webhooks.incoming:
            for index, one in enumerate(receiver.actions):
                name = f"webhooks.in: {receiver.name}: actions[{index}]"
                if one.for_s > most_s:
                    msg = f"{name}.for_s ({one.for_s:g}) is more than overrides.max_duration_s ({most_s:g}); change one"
                    raise ValueError(msg)
                if one.target not in known:
                    msg = f"{name}.target ({one.target}) is no deployment of this policy; there are {', '.join(known)}"
                    raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _prices_are_said_once(self) -> Self:
        for one in self.deployments:
            if self.cluster is not None and one.placement is not None and one.gpu_price_per_hour is not None:
                msg = (
                    f"{one.id} has a gpu_price_per_hour, but runs on cluster.node_pools; give their price_per_hour, "
                    "and leave gpu_price_per_hour out"
                )
                raise ValueError(msg)
        return self

    def gpu_price(self, deployment: DeploymentPolicy) -> float | None:
        """What one GPU of a deployment costs an hour: of the cheapest pool that has it, else as the deployment says."""
        if self.cluster is not None and deployment.placement is not None:
            return self.cluster.gpu_price(deployment.placement.accelerator)
        return deployment.gpu_price_per_hour

    @model_validator(mode="after")
    def _budget_covers_the_least(self) -> Self:
        if self.budget is None:
            return self
        if self.budget.spend_per_hour is not None:
            _check_prices(self)
        least = [(one, one.limits.min_replicas * one.gpus) for one in self.deployments]
        _check_least("gpus", "GPUs", self.budget.gpus, sum(gpus for _, gpus in least))
        spent = sum(gpus * (self.gpu_price(one) or 0.0) for one, gpus in least)
        _check_least("spend_per_hour", "an hour", self.budget.spend_per_hour, spent)
        return self


def _check_prices(policy: Policy) -> None:
    for pool in () if policy.cluster is None else policy.cluster.node_pools:
        if pool.price_per_hour is None:
            msg = f"budget.spend_per_hour needs the price of every node; give the pool {pool.name} a price_per_hour"
            raise ValueError(msg)
    for one in policy.deployments:
        if one.gpus > 0 and policy.gpu_price(one) is None:
            msg = f"budget.spend_per_hour needs the price of every GPU; give {one.id} its gpu_price_per_hour"
            raise ValueError(msg)


def _check_least(key: str, unit: str, limit: float | None, least: float) -> None:
    if limit is not None and least > limit:
        msg = (
            f"budget.{key} ({limit:g}) is less than the min_replicas of all deployments take ({least:g} {unit}); "
            "raise the budget or lower min_replicas"
        )
        raise ValueError(msg)
