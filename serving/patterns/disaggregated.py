"""Prefill and decode on replicas of their own: long prompts do not hold up the tokens of others.

Import path ``serving.patterns.disaggregated:build``. The deployments are ``Prefill:<model>`` and ``Decode:<model>``;
each is scaled by itself, by what it does: the policy gives the one ``prefill_tokens_per_s``, the other
``decode_tokens_per_s``. The KV cache goes from one to the other by NIXL, which needs GPUs: this one runs nowhere else.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from serving.args import Backend, LLMArgs
from serving.llm import llm_config

_KV_TRANSFER = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}


class DisaggregatedArgs(BaseModel):
    """Arguments of ``build``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefill: LLMArgs
    decode: LLMArgs

    @model_validator(mode="after")
    def _one_model_on_gpus(self) -> Self:
        if self.prefill.model_id != self.decode.model_id:
            msg = f"prefill serves {self.prefill.model_id}, decode {self.decode.model_id}; they share one model_id"
            raise ValueError(msg)
        if {self.prefill.backend, self.decode.backend} != {Backend.GPU}:
            msg = "the KV cache goes from GPU to GPU; set backend: gpu for prefill and decode"
            raise ValueError(msg)
        return self


def build(args: dict[str, Any]) -> Any:
    """Build the application. Called by Serve with the config's ``args``."""
    from ray.llm._internal.serve.serving_patterns.prefill_decode.builder import (  # noqa: PLC0415 - slow to import
        build_pd_openai_app,
    )

    wanted = DisaggregatedArgs.model_validate(args)
    return build_pd_openai_app({"prefill_config": role(wanted.prefill), "decode_config": role(wanted.decode)})


def role(args: LLMArgs) -> Any:
    """Return one role's config: Ray's own server class for it, and the way the KV cache takes."""
    config = llm_config(args)
    config.server_cls = None
    config.engine_kwargs = {"kv_transfer_config": _KV_TRANSFER} | config.engine_kwargs
    return config
