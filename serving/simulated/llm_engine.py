"""The simulated engine inside Ray Serve LLM's own server, in vLLM's place: the whole path around it is the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionResponse, CompletionResponse
from ray.llm._internal.serve.core.engine.protocol import LLMEngine

from serving.simulated.batcher import Batcher, Observer, Silent
from serving.simulated.openai_api import answer_of, application
from serving.simulated.timing import CONFIG_KEY, SimulatedModel


class SimulatedEngine(LLMEngine):
    """Serves filler words at a GPU's pace. See ``serving.simulated``."""

    def __init__(self, llm_config: Any) -> None:
        self._model_id: str = llm_config.model_id
        self._model = SimulatedModel.model_validate(llm_config.experimental_configs.get(CONFIG_KEY) or {})
        self.batcher = Batcher(self._model, self._observer())

    async def start(self) -> None:
        """Take as long as loading the weights would."""
        await asyncio.sleep(self._model.start_s)

    async def build_asgi_app(self) -> Any:
        """Return the application that direct streaming serves."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # Ray adds a route by FastAPI's decorator
        app.router.routes.extend(application(self.batcher, self._model_id).routes)
        return app

    async def chat(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Answer what comes through the OpenAI ingress."""
        del raw_request_info
        async for part in answer_of(self.batcher, self._model_id, request.model_dump(exclude_none=True), chat=True):
            yield part if isinstance(part, str) else ChatCompletionResponse.model_validate(part)

    async def completions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Answer what comes through the OpenAI ingress."""
        del raw_request_info
        async for part in answer_of(self.batcher, self._model_id, request.model_dump(exclude_none=True), chat=False):
            yield part if isinstance(part, str) else CompletionResponse.model_validate(part)

    async def embeddings(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Refuse: only the direct application embeds."""
        msg = "the simulated engine embeds behind direct streaming only"
        raise NotImplementedError(msg)
        yield request, raw_request_info

    async def transcriptions(self, request: Any, raw_request_info: Any = None) -> AsyncIterator[Any]:
        """Refuse: there is no sound here."""
        msg = "the simulated engine does not transcribe"
        raise NotImplementedError(msg)
        yield request, raw_request_info

    def routing_stats(self) -> dict[str, Any]:
        """Nothing to route by."""
        return {}

    async def resolve_lora(self, lora_model: Any) -> None:
        """Any adapter will do: it changes no filler word."""

    async def reset_prefix_cache(self) -> None:
        """There is no prefix cache."""

    def _observer(self) -> Observer:
        if self._model.gpu is None or not self._model.exported:
            return Silent()
        from serving.simulated.metrics import RayMetrics  # noqa: PLC0415 - only where they are exported

        replica = serve.get_replica_context().replica_id.unique_id
        return RayMetrics(model_id=self._model_id, replica_id=replica)
