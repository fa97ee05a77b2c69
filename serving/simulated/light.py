"""A replica around the simulated engine without Ray Serve LLM: small enough for thirty of them on a laptop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from ray import serve

from serving.gate import Gate, Keys
from serving.simulated.batcher import Batcher, Silent
from serving.simulated.metrics import RayMetrics
from serving.simulated.openai_api import answer_of, application
from serving.simulated.timing import SimulatedModel
from serving.stats import autoscaling_stats


class LLMServer:
    """Stands where Ray Serve LLM's class of this name does; HAProxy streams from it directly, too."""

    async def __init__(  # type: ignore[misc] # Serve awaits it
        self, model_id: str, model: dict[str, Any], gate: dict[str, Any], around: Callable[[Any], Any] | None = None
    ) -> None:
        self._gate = gate
        self._around = around
        self._model_id = model_id
        wanted = SimulatedModel.model_validate(model)
        replica = serve.get_replica_context().replica_id.unique_id
        observer = RayMetrics(model_id=model_id, replica_id=replica) if wanted.exported else Silent()
        self._batcher = Batcher(wanted, observer)
        await asyncio.sleep(wanted.start_s)

    async def __serve_build_asgi_app__(self) -> Any:
        """Serve's hook: the application of this replica."""
        app = application(self._batcher, self._model_id)
        app = self._around(app) if self._around else app
        return Gate(app, keys=Keys(self._gate["api_keys_file"]), shed_above=self._gate["shed_above"])

    async def ask(self, body: dict[str, Any]) -> AsyncIterator[Any]:
        """Answer a chat request of another deployment."""
        async for part in answer_of(self._batcher, self._model_id, body, chat=True):
            yield part

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve's hook: what the autoscaling policy sizes by."""
        load = self._batcher.load()
        return autoscaling_stats(running=load.running, waiting=load.waiting, kv_usage=load.kv_usage)
