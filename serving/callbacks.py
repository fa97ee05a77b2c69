"""Hooks into the start of a Ray Serve LLM replica."""

from __future__ import annotations

from ray.llm._internal.common.callbacks.base import CallbackBase


class SkipNodeInit(CallbackBase):
    """Leave out Ray's download step for a model that is already on disk.

    The step runs in a fresh worker that imports Ray LLM and vLLM once more: half a minute for nothing.
    """

    async def on_before_node_init(self) -> None:
        """Tell the replica that nothing is to be initialised on the node."""
        self.ctx.run_init_node = False
