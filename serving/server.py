"""Ray Serve LLM's server with what a service needs beside the engine.

It tells Serve's autoscaling policy how full the engine is, stands behind a gate (keys, limits), and ends at once when
its engine dies: until Serve's health checks notice, a replica without an engine would go on taking its share of the
requests and fail them. One that has ended refuses connections, and HAProxy sends those to the next replica.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

from ray.llm._internal.serve.core.configs.openai_api_models import ChatCompletionRequest
from ray.llm._internal.serve.core.server.llm_server import LLMServer as RayLLMServer

from serving.gate import Gate, Keys
from serving.stats import autoscaling_stats

GATE_KEY = "gate"
"""Where the gate's arguments stand in ``LLMConfig.experimental_configs``."""

_LOOK_EVERY_S = 0.1
_ENGINE_DIED = 70
_log = logging.getLogger("ray.serve")


class _Recorder:
    """A vLLM stat logger that remembers the scheduler's last figures."""

    def __init__(self) -> None:
        self.running = self.waiting = 0
        self.kv_usage = 0.0

    def record(self, scheduler_stats: Any = None, *_: Any, **__: Any) -> None:
        if scheduler_stats is not None:
            self.running = scheduler_stats.num_running_reqs
            self.waiting = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
            self.kv_usage = scheduler_stats.kv_cache_usage

    def log(self) -> None:
        """Nothing is logged."""

    def log_engine_initialized(self) -> None:
        """Nothing is logged."""

    def record_sleep_state(self, *_: Any, **__: Any) -> None:
        """Nothing is noted."""


class LLMServer(RayLLMServer):  # type: ignore[misc] # Ray's types are skipped
    """Has Ray's name, so that deployments and policies keep theirs (``LLMServer:<model>``)."""

    around: ClassVar[Callable[[Any], Any] | None] = None
    """Wraps the engine's application; see ``server_class``."""

    _recorder: _Recorder | None = None

    async def start(self) -> None:
        """Start the engine, then listen to its scheduler and watch that it lives."""
        await super().start()
        # vLLM takes further stat loggers only where the engine is made, which Ray does itself.
        client = getattr(self.engine, "_engine_client", None)
        manager = getattr(client, "logger_manager", None)
        if manager is not None:
            self._recorder = _Recorder()
            manager.stat_loggers.append(self._recorder)
        if client is not None and hasattr(type(client), "errored"):
            self._watch = asyncio.create_task(_end_with(client))

    async def __serve_build_asgi_app__(self) -> Any:
        """Serve's hook: the engine's own application, behind the gate."""
        app = await super().__serve_build_asgi_app__()
        wrap = type(self).around
        app = app if wrap is None else wrap(app)
        wanted = self._llm_config.experimental_configs.get(GATE_KEY) or {}
        return Gate(app, keys=Keys(wanted.get("api_keys_file")), shed_above=wanted.get("shed_above"))

    async def ask(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Answer a chat request of another deployment."""
        async for part in await self.chat(ChatCompletionRequest.model_validate(body)):
            yield part.model_dump()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve's hook; empty when the engine tells nothing, and the policy then counts requests only."""
        batcher = getattr(self.engine, "batcher", None)
        if batcher is not None:
            load = batcher.load()
            return autoscaling_stats(running=load.running, waiting=load.waiting, kv_usage=load.kv_usage)
        if self._recorder is None:
            return {}
        seen = self._recorder
        return autoscaling_stats(running=seen.running, waiting=seen.waiting, kv_usage=seen.kv_usage)


def server_class(around: Callable[[Any], Any] | None) -> type[LLMServer]:
    """Return the server's class, with ``around`` wrapped about the engine's application where one is given."""
    if around is None:
        return LLMServer
    return type("LLMServer", (LLMServer,), {"around": staticmethod(around)})


async def _end_with(client: Any) -> None:
    """End this process once the engine is dead: it takes no further request, and Serve starts another."""
    while not client.errored:  # noqa: ASYNC110 - vLLM has a flag there, and no event
        await asyncio.sleep(_LOOK_EVERY_S)
    _log.error("the engine died (%r); this replica ends with it", getattr(client, "dead_error", None))
    for handler in logging.getLogger("ray.serve").handlers:
        handler.flush()
    os._exit(_ENGINE_DIED)
