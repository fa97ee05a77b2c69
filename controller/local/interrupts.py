"""Ctrl-C and SIGTERM: the first one ends the run, every further one hurries its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(BaseException):
    """Somebody asked the run to end."""


class Interrupts:
    """Counts requests to stop; the first one raises ``StopRequested`` where the body allows it."""

    def __init__(self) -> None:
        self._count = 0
        self._raising = False

    @property
    def hurried(self) -> bool:
        """Whether somebody asked a second time."""
        return self._count > 1

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count signals during the body instead of dying of them."""
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise ``StopRequested`` out of the body on the first signal."""
        self._raising = True
        try:
            if self._count:
                raise StopRequested
            yield
        finally:
            self._raising = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._raising and self._count == 1:
            raise StopRequested
