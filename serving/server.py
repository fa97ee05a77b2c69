"""Ray Serve LLM's server, which also tells Serve's autoscaling policy how full its engine is."""

from __future__ import annotations

from typing import Any

from ray.llm._internal.serve.core.server.llm_server import LLMServer as RayLLMServer

from serving.stats import autoscaling_stats


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


class LLMServer(RayLLMServer):
    """Has Ray's name, so that deployments and policies keep theirs (``LLMServer:<model>``)."""

    async def start(self) -> None:
        """Start the engine, then listen to its scheduler."""
        await super().start()
        self._recorder = _Recorder()
        # vLLM takes further stat loggers only where the engine is made, which Ray does itself.
        manager = getattr(getattr(self.engine, "_engine_client", None), "logger_manager", None)
        self._hears = manager is not None
        if manager is not None:
            manager.stat_loggers.append(self._recorder)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve's hook; empty when the engine tells nothing, and the policy then counts requests only."""
        batcher = getattr(self.engine, "batcher", None)
        if batcher is not None:
            load = batcher.load()
            return autoscaling_stats(running=load.running, waiting=load.waiting, kv_usage=load.kv_usage)
        if not self._hears:
            return {}
        seen = self._recorder
        return autoscaling_stats(running=seen.running, waiting=seen.waiting, kv_usage=seen.kv_usage)
