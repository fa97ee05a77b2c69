"""The Ray Serve LLM applications: OpenAI-compatible, for every engine the same.

Import paths for Serve: ``serving.llm:build`` (one model, tokens streamed straight from its replicas) and
``serving.llm:build_many`` (several models behind one address). Their arguments are in ``serving.args``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from serving import environment
from serving.args import Backend, GuidedArgs, LLMArgs, Models, Router
from serving.simulated.timing import CONFIG_KEY

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

_ROUTERS = {
    Router.LEAST_BUSY: "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter",
    Router.PREFIX: "ray.serve.llm.request_router:PrefixCacheAffinityRouter",
    Router.SESSION: "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter",
}
_ROUTER_TERMS: dict[Router, dict[str, Any]] = {
    # Ray's default is infinity: one popular beginning would then overload its replica while others are idle.
    Router.PREFIX: {"imbalanced_threshold": 8},
}
_SIMULATED_ENGINE = "serving.simulated.llm_engine.SimulatedEngine"


def build(args: dict[str, Any]) -> Any:
    """Build the application of one model. Called by Serve with the config's ``args``."""
    wanted = LLMArgs.model_validate(args)
    if wanted.router is Router.HAPROXY or (wanted.backend is Backend.SIMULATED and wanted.light):
        return llm_deployment(wanted)
    from ray.serve.llm import build_openai_app  # noqa: PLC0415 - costs ten seconds; only Serve needs it

    return build_openai_app({"llm_configs": [llm_config(wanted)]})


def build_many(args: dict[str, Any]) -> Any:
    """Build one application of several models, behind an ingress that reads each request's ``model``.

    Direct streaming serves one model an application, so it must be off here (``environment.SEVERAL_MODELS``); where
    each model may have its own address, several applications of ``build`` keep it.
    """
    from ray.serve.llm import build_openai_app  # noqa: PLC0415 - as above

    wanted = Models.model_validate(args)
    return build_openai_app(
        {
            "llm_configs": [llm_config(model) for model in wanted.models],
            "ingress_deployment_config": {
                "num_replicas": wanted.ingress_replicas,
                "autoscaling_config": None,
                "ray_actor_options": {"num_cpus": wanted.cpus},
            },
        }
    )


def llm_config(wanted: LLMArgs) -> Any:
    """Translate into Ray's ``LLMConfig``, which checks it once more."""
    from ray.serve.llm import LLMConfig  # noqa: PLC0415 - as above

    gpu = wanted.backend is Backend.GPU
    more: dict[str, Any] = {}
    if wanted.lora is not None:
        more["lora_config"] = {
            "dynamic_lora_loading_path": wanted.lora.dynamic_lora_loading_path,
            "max_num_adapters_per_replica": wanted.lora.max_num_adapters_per_replica,
        }
    if not gpu:
        # A local folder: nothing is to be downloaded.
        more["callback_config"] = {"callback_class": "serving.callbacks.SkipNodeInit"}
    return LLMConfig(
        model_loading_config={"model_id": wanted.model_id, "model_source": wanted.model_source or wanted.model_id},
        accelerator_type=wanted.accelerator_type if gpu else None,
        placement_group_config={"bundles": bundles(wanted), "strategy": wanted.placement.value},
        deployment_config=deployment_config(wanted),
        engine_kwargs=_engine(wanted),
        runtime_env={"env_vars": _replica_environment(wanted)},
        experimental_configs={
            "gate": {"api_keys_file": wanted.api_keys_file, "shed_above": wanted.shed_above},
            CONFIG_KEY: wanted.simulated.model_dump() if wanted.backend is Backend.SIMULATED else None,
        },
        server_cls="serving.server.LLMServer",
        **more,
    )


def bundles(wanted: LLMArgs) -> list[dict[str, float]]:
    """What one replica reserves: a bundle for each GPU, or one of CPUs.

    A bundle without a GPU makes Ray run vLLM's CPU executor; left out, it would assume a GPU.
    """
    if wanted.backend is not Backend.GPU:
        return [{"CPU": wanted.cpus}]
    return [{"CPU": 1, "GPU": 1} for _ in range(wanted.tensor_parallel_size * wanted.pipeline_parallel_size)]


def deployment_config(wanted: LLMArgs) -> dict[str, Any]:
    """Return Serve's options of the deployment."""
    options: dict[str, Any] = {
        "max_ongoing_requests": wanted.max_ongoing_requests,
        "max_queued_requests": wanted.max_queued_requests,
        "ray_actor_options": {"num_cpus": wanted.cpus},
        # Longer than the draining period, so that a leaving replica finishes its streams.
        "graceful_shutdown_timeout_s": wanted.graceful_shutdown_timeout_s,
        # Serve's default, 0, stops old replicas before their successors start: a single one would leave nobody.
        "max_surge_percent": wanted.max_surge_percent,
        "health_check_period_s": wanted.health_check_period_s,
        "health_check_timeout_s": wanted.health_check_timeout_s,
    }
    if wanted.router not in {Router.HAPROXY, Router.ROUND_ROBIN}:
        options["request_router_config"] = {
            "request_router_class": _ROUTERS[wanted.router],
            "request_router_kwargs": _ROUTER_TERMS.get(wanted.router, {}),
        }
    if wanted.guided is None:
        return options | {"num_replicas": wanted.num_replicas}
    return options | {"autoscaling_config": autoscaling_config(wanted.guided)}


def autoscaling_config(guided: GuidedArgs) -> dict[str, Any]:
    """Return Serve's autoscaling options of guided mode."""
    return {
        "min_replicas": guided.min_replicas,
        "max_replicas": guided.max_replicas,
        "initial_replicas": guided.initial_replicas,
        "target_ongoing_requests": guided.target_ongoing_requests,
        "look_back_period_s": guided.look_back_period_s,
        # The floor must count at once; the look-back period is what smooths the reaction.
        "upscale_delay_s": 0.0,
        "downscale_delay_s": guided.downscale_delay_s,
        "policy": {
            "policy_function": "serving.policies:GuidedPolicy",
            "policy_kwargs": {
                "controller_url": guided.controller_url,
                "token_file": guided.token_file,
                "floor_max_age_s": guided.floor_max_age_s,
                "target_kv_usage": guided.target_kv_usage,
            },
        },
    }


def local_config(*, model_source: str, http_port: int, model_id: str = "tiny") -> dict[str, Any]:
    """Return the body of ``PUT /api/serve/applications/`` for the one-machine stack."""
    args = LLMArgs(model_id=model_id, model_source=model_source)
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": http_port},
        "applications": [application("chat", args)],
    }


def application(name: str, args: LLMArgs, *, route_prefix: str = "/") -> dict[str, Any]:
    """Return one application of a Serve config."""
    return {
        "name": name,
        "route_prefix": route_prefix,
        "import_path": "serving.llm:build",
        # Opens the scale API, through which Foreserve sets the number of replicas. Serve refuses both ways at once.
        "external_scaler_enabled": args.guided is None,
        # The number is always said: see serving.args.
        "args": args.model_dump(mode="json", exclude_unset=True) | {"num_replicas": args.num_replicas},
    }


def _engine(wanted: LLMArgs) -> dict[str, Any]:
    if wanted.backend is Backend.SIMULATED:
        return {"max_model_len": 32_768}
    adapters: dict[str, Any] = {}
    if wanted.lora is not None:
        adapters = {"enable_lora": True, "max_lora_rank": wanted.lora.max_lora_rank}
    if wanted.backend is Backend.CPU:
        return LOCAL_ENGINE | adapters | wanted.engine
    parallel = {
        "tensor_parallel_size": wanted.tensor_parallel_size,
        "pipeline_parallel_size": wanted.pipeline_parallel_size,
    }
    return parallel | adapters | wanted.engine


def _replica_environment(wanted: LLMArgs) -> dict[str, str]:
    if wanted.backend is Backend.GPU:
        return {}
    # What `ray start` was given wins: this is built on the cluster.
    given = {name: os.environ.get(name, value) for name, value in environment.replica().items()}
    if wanted.backend is Backend.SIMULATED:
        return given | {"RAYLLM_VLLM_ENGINE_CLS": _SIMULATED_ENGINE}
    return given


def llm_deployment(wanted: LLMArgs, *, around: Callable[[Any], Any] | None = None, ingress: bool = True) -> Any:
    """Build the server as an ingress of its own: HAProxy balances over its replicas, and no router is asked first.

    Ray's direct streaming asks an LLMRouter replica over a new connection before each request. That is worth its price
    where the router knows something (prefixes, sessions, adapters); to take turns it is not.

    ``around`` wraps the engine's ASGI application. An application has one ingress: as a stage behind another one it is
    none (``ingress``), and is reached by its method ``ask``.
    """
    if wanted.backend is Backend.SIMULATED and wanted.light:
        return _light(wanted, around, serve_ingress=ingress)
    from ray import serve  # noqa: PLC0415 - only Serve needs it
    from ray.serve.llm import build_llm_deployment  # noqa: PLC0415 - costs ten seconds

    from serving.server import server_class  # noqa: PLC0415 - as above

    server = server_class(around)
    return build_llm_deployment(llm_config(wanted), deployment_cls=serve.ingress()(server) if ingress else server)


def _light(wanted: LLMArgs, around: Callable[[Any], Any] | None, *, serve_ingress: bool) -> Any:
    from ray import serve  # noqa: PLC0415 - only Serve needs it

    from serving.simulated.light import LLMServer  # noqa: PLC0415 - as above

    options = deployment_config(wanted)
    options["ray_actor_options"] = {"num_cpus": 0.01}
    server = serve.ingress()(LLMServer) if serve_ingress else LLMServer
    deployment = serve.deployment(server, name=f"LLMServer:{wanted.model_id}", **options)
    gate = {"api_keys_file": wanted.api_keys_file, "shed_above": wanted.shed_above}
    return deployment.bind(wanted.model_id, wanted.simulated.model_dump(), gate, around)
