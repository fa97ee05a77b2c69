"""Server-sent events: one message a tick, to a bounded number of followers, each at its own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

HEARTBEAT_S = 15.0
RETRY_MS = 2000


@dataclass(frozen=True, slots=True)
class _Message:
    number: int
    text: str


@dataclass(slots=True)
class Feed:
    """Keeps the newest ``kept`` messages; nobody's slowness costs more memory.

    Used from the event loop's thread only.
    """

    most_followers: int = 32
    kept: int = 128
    heartbeat_s: float = HEARTBEAT_S
    _messages: deque[_Message] = field(default_factory=deque)
    _followers: set[asyncio.Event] = field(default_factory=set)
    _closed: bool = False

    @property
    def full(self) -> bool:
        """Whether nobody else may follow."""
        return len(self._followers) >= self.most_followers

    def publish(self, number: int, data: str) -> None:
        """Send one message; numbers only grow. ``data`` has no line breaks."""
        self._messages.append(_Message(number, f"id: {number}\nevent: tick\ndata: {data}\n\n"))
        while len(self._messages) > self.kept:
            self._messages.popleft()
        for news in self._followers:
            news.set()

    def close(self) -> None:
        """Let every follower go."""
        self._closed = True
        for news in self._followers:
            news.set()

    async def follow(self, last: int | None) -> AsyncGenerator[str, None]:
        """Yield what comes, after what was missed since ``last``; only the newest message when that is None.

        Where more was missed than is kept, or the numbers began anew, a ``reset`` comes first.
        """
        with self._admitted() as news:
            yield f"retry: {RETRY_MS}\n\n"
            seen = last
            if last is None:
                seen = self._messages[-1].number - 1 if self._messages else 0
            elif self._missed(last):
                seen = self._messages[0].number - 1 if self._messages else 0
                yield "event: reset\ndata: {}\n\n"
            while not self._closed:
                news.clear()
                for message in self._later(seen or 0):
                    seen = message.number
                    yield message.text
                try:
                    async with asyncio.timeout(self.heartbeat_s):
                        await news.wait()
                except TimeoutError:
                    yield ": still here\n\n"

    def _missed(self, last: int) -> bool:
        if not self._messages:
            return last > 0
        return not self._messages[0].number - 1 <= last <= self._messages[-1].number

    def _later(self, seen: int) -> list[_Message]:
        newer = sum(message.number > seen for message in self._messages)
        return list(islice(self._messages, len(self._messages) - newer, None))

    @contextmanager
    def _admitted(self) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        self._followers.add(news)
        try:
            yield news
        finally:
            self._followers.discard(news)
