"""The steps of a start: each named, timed and shown, with its log when it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from controller.errors import BadInputError, ForeserveError, UnavailableError
from controller.live.startup import StepStatus
from controller.local.children import tail
from controller.ports import Clock


class StepFailedError(ForeserveError):
    """A step of the start failed for a reason of its own (exit code 1)."""


class Display(Protocol):
    """Shows how far a start has come."""

    def changed(self, step: StepStatus) -> None:
        """Take note that one step has begun, has a new detail, or has ended."""
        ...


class Steps:
    """Keeps the state of every step. ``statuses`` may be read from another thread at any time."""

    def __init__(self, names: Sequence[str], *, clock: Clock, display: Display) -> None:
        self._clock = clock
        self._display = display
        self._began = clock.monotonic()
        self._known = [StepStatus(name=name, state="waiting") for name in names]

    def statuses(self) -> list[StepStatus]:
        """Every step, with the seconds of the running one counted up to now."""
        elapsed = self._clock.monotonic() - self._began
        return [replace(step, seconds=elapsed) if step.state == "running" else step for step in self._known]

    def detail(self, text: str) -> None:
        """Say what the running step is doing, or what came of it."""
        for index, step in enumerate(self._known):
            if step.state == "running" and step.detail != text:
                self._known[index] = replace(step, detail=text)

    @contextmanager
    def step(self, name: str, *, log: Path | None = None) -> Iterator[None]:
        """Time the body as the step ``name``.

        Raises:
            BadInputError: as the body did, so that the exit code is kept.
            UnavailableError: likewise.
            StepFailedError: the body failed otherwise; the message has the log's path and last lines.

        """
        self._began = self._clock.monotonic()
        self._set(name, state="running", log=log)
        try:
            yield
        except (BadInputError, UnavailableError):
            self._end(name, "failed")
            raise
        except (ForeserveError, OSError) as exc:
            self._end(name, "failed")
            raise StepFailedError(_failure(name, exc, log)) from exc
        except BaseException:
            self._end(name, "failed")
            raise
        self._end(name, "done")

    def _end(self, name: str, state: str) -> None:
        seconds = self._clock.monotonic() - self._began
        self._set(name, state=state, seconds=seconds)

    def _set(self, name: str, **changes: object) -> None:
        index = next(i for i, step in enumerate(self._known) if step.name == name)
        self._known[index] = replace(self._known[index], **changes)  # type: ignore[arg-type]
        self._display.changed(self._known[index])


def _failure(name: str, cause: Exception, log: Path | None) -> str:
    message = f"{name}: {cause}"
    if log is None or str(log) in str(cause):
        return message
    return f"{message}\nlog: {log}\n{tail(log)}"
