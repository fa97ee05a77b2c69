"""Stories that mostly wait run side by side on one API server: each has a namespace and nodes of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

Story = Callable[[], Awaitable[None]]


@dataclass
class SideBySide:
    """Decorates the stories of one module, which needs ``asyncio(loop_scope="module")``; at most some run at once.

    The first test that runs begins all that were selected, in their order; each test waits for its own.
    """

    at_most: int
    _stories: dict[str, Story] = field(default_factory=dict)
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __call__(self, story: Story) -> Callable[[pytest.FixtureRequest], Awaitable[None]]:
        name = story.__name__
        self._stories[name] = story

        async def test(request: pytest.FixtureRequest) -> None:
            if not self._running:
                self._begin({item.name for item in request.session.items if item.path == request.path})
            await self._running[name]

        test.__name__ = test.__qualname__ = name
        test.__doc__ = story.__doc__
        return test

    def _begin(self, selected: set[str]) -> None:
        gate = asyncio.Semaphore(self.at_most)

        async def told(story: Story) -> None:
            async with gate:
                await story()

        self._running = {
            name: asyncio.create_task(told(story)) for name, story in self._stories.items() if name in selected
        }
