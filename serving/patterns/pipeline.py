"""Several models for one answer: prepare, ask two models at the same time, merge. Each stage scales by itself.

Import path ``serving.patterns.pipeline:build``. ``POST /v1/answer`` with ``{"text": …, "max_tokens": …}`` asks every
model for an answer to the prepared text, and merges what comes within ``deadline_s``: a model that is late or fails is
left out and named, so that one slow stage does not take the others down with it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.args import LLMArgs
from serving.llm import llm_deployment

_MOST_CHARACTERS = 20_000


class PipelineArgs(BaseModel):
    """Arguments of ``build``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[LLMArgs, ...] = Field(min_length=2, description="The models that are asked side by side.")
    prepare_replicas: int = Field(default=1, ge=1)
    merge_replicas: int = Field(default=1, ge=1)
    deadline_s: float = Field(default=30.0, gt=0)
    cpus: float = Field(default=0.1, ge=0, description="CPUs of a replica of the small stages.")


class Prepare:
    """The first stage: cleans what comes in."""

    async def __call__(self, text: str) -> str:
        """Drop what is no text, and cut what is too long."""
        return re.sub(r"\s+", " ", text).strip()[:_MOST_CHARACTERS]


class Merge:
    """The ingress: prepares, fans out, merges."""

    def __init__(self, prepare: DeploymentHandle, models: Mapping[str, DeploymentHandle], deadline_s: float) -> None:
        self._prepare = prepare
        self._models = {name: handle.options(stream=True) for name, handle in models.items()}
        self._deadline_s = deadline_s

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        wanted = await request.json()
        if not isinstance(wanted, dict) or not isinstance(wanted.get("text"), str):
            return JSONResponse({"error": {"message": "text is missing; give {text, max_tokens}"}}, status_code=400)
        text = await self._prepare.remote(wanted["text"])
        asked = [self._ask(name, text, int(wanted.get("max_tokens", 16))) for name in self._models]
        answers = dict(zip(self._models, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        got = {name: one for name, one in answers.items() if not isinstance(one, BaseException)}
        missing = {name: type(one).__name__ for name, one in answers.items() if isinstance(one, BaseException)}
        body = {"text": text, "answers": got, "missing": missing}
        return JSONResponse(body, status_code=200 if got else 503)

    async def _ask(self, name: str, text: str, tokens: int) -> str:
        body = {"model": name, "max_tokens": tokens, "messages": [{"role": "user", "content": text}]}
        async with asyncio.timeout(self._deadline_s):
            async for part in self._models[name].ask.remote(body):
                return str(part["choices"][0]["message"]["content"])
        msg = f"{name} gave no answer"
        raise RuntimeError(msg)


def build(args: dict[str, Any]) -> Any:
    """Build the application. Called by Serve with the config's ``args``."""
    wanted = PipelineArgs.model_validate(args)
    small = {"ray_actor_options": {"num_cpus": wanted.cpus}, "max_ongoing_requests": 256}
    prepare = serve.deployment(Prepare, num_replicas=wanted.prepare_replicas, **small).bind()
    models = {model.model_id: llm_deployment(model, ingress=False) for model in wanted.models}
    merge = serve.deployment(Merge, num_replicas=wanted.merge_replicas, **small)
    return merge.bind(prepare, models, wanted.deadline_s)
