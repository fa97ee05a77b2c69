"""What an LLM application is made of, as it stands under ``args`` in a Serve config. Typed, and free of Ray."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.simulated.timing import SimulatedModel


class _Args(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Backend(StrEnum):
    """What computes."""

    GPU = "gpu"
    """vLLM on GPUs."""
    CPU = "cpu"
    """vLLM on CPUs, for a tiny model on one machine."""
    SIMULATED = "simulated"
    """Nothing: a timing model of a GPU, filler words. See ``serving.simulated``."""


class Router(StrEnum):
    """Who picks a request's replica."""

    HAPROXY = "haproxy"
    """HAProxy itself, by fewest connections: no further process is asked on the way."""
    ROUND_ROBIN = "round_robin"
    """Ray's LLMRouter, in turn: what Ray Serve LLM does with direct streaming by itself."""
    LEAST_BUSY = "least_busy"
    """The less busy of two drawn ones."""
    PREFIX = "prefix"
    """One that has seen the prompt's beginning, unless the load is uneven; needs FORWARD_BODY."""
    SESSION = "session"
    """Always the same one for a session's header (``x-session-id``)."""


class Placement(StrEnum):
    """How a replica's GPUs lie."""

    STRICT_PACK = "STRICT_PACK"
    """All on one node, or the replica does not start."""
    PACK = "PACK"
    """On as few nodes as possible: pipeline stages may lie on different ones."""


class LoraArgs(_Args):
    """Adapters that share one base model's replicas. A request names one as ``<model_id>:<adapter>``."""

    dynamic_lora_loading_path: str = Field(description="Folder or bucket with one folder for each adapter.")
    max_num_adapters_per_replica: int = Field(default=16, ge=1)
    max_lora_rank: int = Field(default=16, ge=1)


class GuidedArgs(_Args):
    """Serve's own autoscaler with ``serving.policies``: it goes on without the controller, and higher with it."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(ge=1)
    initial_replicas: int | None = Field(default=None, ge=0)
    target_ongoing_requests: float = Field(gt=0, description="Requests in flight that one replica carries.")
    target_kv_usage: float = Field(default=0.8, gt=0, le=1, description="Share of the KV cache to fill.")
    controller_url: str | None = Field(default=None, description="The controller's API; without one only the reaction.")
    token_file: str | None = Field(default=None, description="File with a token that may read there.")
    floor_max_age_s: float = Field(default=30.0, gt=0, description="An older floor of the controller counts no more.")
    look_back_period_s: float = Field(default=5.0, gt=0, description="Requests are averaged over so long.")
    downscale_delay_s: float = Field(default=300.0, ge=0)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.max_replicas < max(1, self.min_replicas):
            msg = f"max_replicas ({self.max_replicas}) is below min_replicas ({self.min_replicas}); raise it"
            raise ValueError(msg)
        return self


class LLMArgs(_Args):
    """Arguments of ``serving.llm:build``: one model."""

    model_id: str = Field(min_length=1, description="Name that requests give as `model`.")
    model_source: str = Field(default="", description="Local folder, bucket, or a hub's name of the model.")
    backend: Backend = Field(default=Backend.CPU, description="gpu, cpu or simulated.")
    # Always a number: without one, Ray gives the deployment an autoscaling config of its own (1 to 1),
    # and that undoes every target set from outside within a third of a second.
    num_replicas: int = Field(default=1, ge=0, description="Replicas at first; left out of account when guided.")
    guided: GuidedArgs | None = Field(default=None, description="Serve scales by itself, above the controller's floor.")
    accelerator_type: str | None = Field(default=None, description="GPU's name in Ray, such as H100. Any when absent.")
    tensor_parallel_size: int = Field(default=1, ge=1, description="GPUs that share each layer; keep it in one node.")
    pipeline_parallel_size: int = Field(default=1, ge=1, description="Groups of layers, one after the other.")
    placement: Placement = Field(default=Placement.STRICT_PACK, description="STRICT_PACK, or PACK over nodes.")
    cpus: float = Field(default=0.5, gt=0, description="CPUs reserved for a replica, and again for its engine.")
    max_ongoing_requests: int = Field(
        default=256, ge=1, description="Requests in flight per replica before Serve itself makes the rest wait."
    )
    max_queued_requests: int = Field(
        default=-1, ge=-1, description="Requests that may wait beyond these; more get 503 at once. -1 is no limit."
    )
    shed_above: int | None = Field(
        default=None, ge=1, description="In flight per replica; a further request gets 429 and Retry-After at once."
    )
    api_keys_file: str | None = Field(
        default=None, description="File on every node with the clients' keys, one a line; anyone may ask when absent."
    )
    graceful_shutdown_timeout_s: float = Field(
        default=30.0, gt=0, description="Longest time that a leaving replica has for its streams."
    )
    max_surge_percent: int = Field(
        default=20,
        ge=0,
        le=100,
        description="Replicas above the target while a new build rolls out, in percent of it, rounded up; with 0 old "
        "ones stop before new ones start. Where there is no room for more, the old ones go on serving.",
    )
    health_check_period_s: float = Field(default=5.0, gt=0)
    health_check_timeout_s: float = Field(default=10.0, gt=0)
    router: Router = Field(default=Router.HAPROXY, description="Who picks the replica of a request.")
    lora: LoraArgs | None = None
    engine: dict[str, Any] = Field(default_factory=dict, description="vLLM engine arguments.")
    simulated: SimulatedModel = Field(default=SimulatedModel(), description="The model that is pretended.")
    light: bool = Field(
        default=True, description="Simulated only: replicas without Ray Serve LLM, a tenth of the memory."
    )
    build: str = Field(default="", description="Name of this build; a new one rolls the replicas over.")

    @model_validator(mode="after")
    def _source_where_it_is_needed(self) -> Self:
        if self.backend is not Backend.SIMULATED and not self.model_source:
            msg = "model_source is missing; name the model's folder, bucket or hub name"
            raise ValueError(msg)
        if self.shed_above is not None and self.shed_above >= self.max_ongoing_requests:
            msg = (
                f"shed_above ({self.shed_above}) is never reached: Serve itself makes requests wait from "
                f"max_ongoing_requests ({self.max_ongoing_requests}) on; set it lower"
            )
            raise ValueError(msg)
        if self.lora is not None and self.router is Router.HAPROXY:
            msg = "router haproxy reads no request body, so it finds no adapter; set router: least_busy"
            raise ValueError(msg)
        if self.lora is not None and self.router is Router.PREFIX:
            msg = "router prefix and lora do not go together: Ray 2.60 then never answers; set router: least_busy"
            raise ValueError(msg)
        if self.backend is not Backend.GPU and self.tensor_parallel_size * self.pipeline_parallel_size > 1:
            msg = f"backend {self.backend} has no GPUs to share; leave tensor and pipeline parallel sizes at 1"
            raise ValueError(msg)
        return self


class Models(_Args):
    """Arguments of ``serving.llm:build_many``: several models behind one address, each scaled by itself."""

    models: tuple[LLMArgs, ...] = Field(min_length=1)
    ingress_replicas: int = Field(default=2, ge=1)
    cpus: float = Field(default=1.0, ge=0, description="CPUs of an ingress replica.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [model.model_id for model in self.models]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            msg = f"model_id {', '.join(sorted(twice))} is given twice; each model needs its own"
            raise ValueError(msg)
        return self
