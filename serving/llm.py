"""The Ray Serve LLM application: one model, OpenAI-compatible, tokens streamed straight from its replicas.

Import path for Serve: ``serving.llm:build``. ``LOCAL`` holds the arguments of the CPU pattern.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving import environment


class LLMArgs(BaseModel):
    """Arguments of ``build``, as they stand under ``args`` in a Serve config."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_id: str = Field(min_length=1, description="Name that requests give as `model`.")
    model_source: str = Field(min_length=1, description="Local folder, or a hub's name of the model.")
    # Always a number: without one, Ray gives the deployment an autoscaling config of its own (1 to 1),
    # and that undoes every target set from outside within a third of a second.
    num_replicas: int = Field(default=1, ge=0)
    cpus: float = Field(default=0.5, gt=0, description="CPUs reserved for a replica, and again for its engine.")
    max_ongoing_requests: int = Field(
        default=256, ge=1, description="Requests in flight per replica before Serve itself makes the rest wait."
    )
    engine: dict[str, Any] = Field(default_factory=dict, description="vLLM engine arguments.")


LOCAL_ENGINE: dict[str, Any] = {
    "dtype": "bfloat16",
    "max_model_len": 2048,
    # Few at a time: the rest wait inside vLLM, where waiting is visible as ray_vllm_num_requests_waiting.
    "max_num_seqs": 8,
    "max_num_batched_tokens": 2048,
    # Compilation and graph capture cost half a minute at start and gain nothing on a model of this size.
    "enforce_eager": True,
    "kv_cache_memory_bytes": 64 << 20,
}


def build(args: dict[str, Any]) -> Any:
    """Build the application. Called by Serve with the config's ``args``; returns a ``serve.Application``."""
    from ray.serve.llm import LLMConfig, build_openai_app  # noqa: PLC0415 - costs ten seconds; only Serve needs it

    wanted = LLMArgs.model_validate(args)
    config = LLMConfig(
        model_loading_config={"model_id": wanted.model_id, "model_source": wanted.model_source},
        # No accelerator, and a bundle without a GPU: Ray then runs vLLM's CPU executor. Left out, it assumes a GPU.
        accelerator_type=None,
        placement_group_config={"bundles": [{"CPU": wanted.cpus}]},
        deployment_config={
            "num_replicas": wanted.num_replicas,
            "max_ongoing_requests": wanted.max_ongoing_requests,
            "ray_actor_options": {"num_cpus": wanted.cpus},
            # Longer than the draining period, so that a leaving replica finishes its streams.
            "graceful_shutdown_timeout_s": 30,
            "health_check_period_s": 5,
        },
        engine_kwargs=LOCAL_ENGINE | wanted.engine,
        runtime_env={"env_vars": environment.replica()},
        callback_config={"callback_class": "serving.callbacks.SkipNodeInit"},
    )
    return build_openai_app({"llm_configs": [config]})


def local_config(*, model_source: str, http_port: int, model_id: str = "tiny") -> dict[str, Any]:
    """Return the body of ``PUT /api/serve/applications/`` for the one-machine stack."""
    args = LLMArgs(model_id=model_id, model_source=model_source)
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": http_port},
        "applications": [
            {
                "name": "chat",
                "route_prefix": "/",
                "import_path": "serving.llm:build",
                # Opens the scale API, through which Foreserve sets the number of replicas.
                "external_scaler_enabled": True,
                "args": args.model_dump(),
            }
        ],
    }
