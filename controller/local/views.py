"""What is seen of a local run: a live panel for a person, plain lines for a log, JSON lines for a program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live

from controller.codec import dump_record
from controller.domain.identity import DeploymentId
from controller.domain.plan import Decision, OutcomeStatus
from controller.domain.record import TickRecord
from controller.explain.cluster import deed_words
from controller.live import LiveState, StepStatus, render, render_startup
from controller.load.tick import LoadTick
from controller.local.steps import Steps
from controller.policy.model import Policy


class View(Protocol):
    """One way of showing a run, from its first step to its end."""

    def changed(self, step: StepStatus) -> None:
        """A step of the start has begun or ended."""
        ...

    def starting(self, steps: Steps) -> AbstractContextManager[object]:
        """Show the start while the body runs."""
        ...

    def running(self, policy: Policy, links: Mapping[str, str]) -> AbstractContextManager[object]:
        """Show the run while the body runs."""
        ...

    def update(self, record: TickRecord | None, load: LoadTick | None) -> None:
        """Show the newest record and traffic numbers. Called about once a second."""
        ...

    def note(self, text: str) -> None:
        """Say one thing."""
        ...


class LiveView:
    """A panel that is drawn again and again, for a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._draw: Callable[[], RenderableType] = str
        self._record: TickRecord | None = None
        self._load: LoadTick | None = None
        self._past = LiveState()

    def changed(self, step: StepStatus) -> None:
        """Nothing to do: the panel is drawn anyway."""

    def starting(self, steps: Steps) -> AbstractContextManager[object]:
        """Draw the steps four times a second."""
        return self._live(lambda: render_startup(steps.statuses(), width=self._console.width), transient=False)

    def running(self, policy: Policy, links: Mapping[str, str]) -> AbstractContextManager[object]:
        """Draw the newest numbers."""
        return self._live(
            lambda: render(
                self._record, self._load, policy=policy, links=links, width=self._console.width, state=self._past
            ),
            transient=True,
        )

    def update(self, record: TickRecord | None, load: LoadTick | None) -> None:
        """Keep the newest numbers for the next drawing."""
        if record is not None:
            self._past.update(record)
        self._record, self._load = record, load

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, highlight=False)

    def _live(self, draw: Callable[[], RenderableType], *, transient: bool) -> Live:
        return Live(get_renderable=draw, console=self._console, refresh_per_second=4, transient=transient)


class PlainView:
    """A line per step and per change of a decision, on standard error."""

    def __init__(self) -> None:
        self._shown: dict[DeploymentId, tuple[int | None, int | None, str]] = {}
        self._deeds_of: int | None = None

    def changed(self, step: StepStatus) -> None:
        """Print the end of a step, or its beginning."""
        if step.state == "running":
            self.note(f"{step.name} ...")
        else:
            detail = f" ({step.detail})" if step.detail else ""
            self.note(f"{step.name}: {step.state} after {step.seconds:.1f} s{detail}")

    def starting(self, steps: Steps) -> AbstractContextManager[object]:
        """Nothing besides the lines."""
        del steps
        return nullcontext()

    def running(self, policy: Policy, links: Mapping[str, str]) -> AbstractContextManager[object]:
        """Print the addresses."""
        del policy
        for name, address in links.items():
            self.note(f"{name}: {address}")
        return nullcontext()

    def update(self, record: TickRecord | None, load: LoadTick | None) -> None:
        """Print decisions that differ from the ones printed last, and what was done about nodes and workers."""
        del load
        for deployment in record.deployments if record else ():
            decision = deployment.decision
            key = (decision.current, decision.desired, decision.binding.value)
            if self._shown.get(decision.id) != key:
                self._shown[decision.id] = key
                self.note(decision_line(decision))
        if record is not None and record.cluster is not None and record.tick != self._deeds_of:
            self._deeds_of = record.tick
            for words, status in deed_words(record.cluster):
                if status is OutcomeStatus.APPLIED:
                    self.note(words)

    def note(self, text: str) -> None:
        """Print a line on standard error."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class HeadlessView(PlainView):
    """One JSON line per tick on standard output; everything else on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self._tick: int | None = None

    def update(self, record: TickRecord | None, load: LoadTick | None) -> None:
        """Write the record when it is a new one."""
        del load
        if record is not None and record.tick != self._tick:
            self._tick = record.tick
            sys.stdout.write(dump_record(record).decode() + "\n")
            sys.stdout.flush()


def decision_line(decision: Decision) -> str:
    """One decision in a line: ``chat/LLMServer:tiny: 1 → 2 (demand: 6.2 requests in flight / 4 = 1.6)``."""
    details = (step.detail for step in decision.steps if step.reason == decision.binding)
    why = next(details, "")
    now = "unknown" if decision.current is None else decision.current
    wanted = "no opinion" if decision.desired is None else decision.desired
    return f"{decision.id}: {now} → {wanted} ({decision.binding.value}{': ' + why if why else ''})"
