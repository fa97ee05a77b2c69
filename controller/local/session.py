"""One run of the local stack from start to end: start, traffic, watching, end, account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from controller.codec import load_record
from controller.domain.record import TickRecord
from controller.local.account import Account, take_account
from controller.local.calls import RequestFailedError, request
from controller.local.guard import adopt_orphans, reap_orphans
from controller.local.interrupts import Interrupts, StopRequested
from controller.local.stack import LocalStack, StackOptions
from controller.local.steps import Steps
from controller.local.traffic import TickReader, TrafficOptions
from controller.local.views import View
from controller.policy.load import load_policy
from controller.ports import Clock

PERIOD_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What to run, for how long (None: until interrupted), and where to put the report."""

    stack: StackOptions
    traffic: TrafficOptions = field(default_factory=TrafficOptions)
    duration_s: float | None = None
    report: Path | None = None


def run_session(options: SessionOptions, *, view: View, clock: Clock, pause: Callable[[float], None]) -> Account | None:
    """Run until the duration is over or a signal comes; None when it was stopped before it was up.

    Raises:
        BadInputError: the policy, a port or a missing program; nothing was started.
        StepFailedError: a step of the start failed.
        ChildDiedError: a process ended by itself. Like in every case, everything was taken down.

    """
    policy = load_policy(options.stack.policy).policy
    stack = LocalStack(options.stack, clock=clock, pause=pause)
    steps = Steps(options.stack.step_names(), clock=clock, display=view)
    interrupts = Interrupts()
    adopt_orphans()
    with interrupts.counted():
        up = False
        try:
            with interrupts.raised():
                with view.starting(steps):
                    stack.start(steps)
                up = True
                with view.running(policy, stack.links()):
                    _watch(stack, options, view=view, clock=clock, pause=pause)
        except StopRequested:
            pass
        finally:
            view.note("Stopping everything ...")
            remains = stack.stop(lambda: interrupts.hurried)
            reap_orphans()
            for what in remains:
                view.note(f"warning: could not be removed: {what}")
    return take_account(stack, report=options.report) if up else None


def latest_record(controller_url: str) -> TickRecord | None:
    """Return the controller's newest record; None while there is none, or when it does not answer."""
    try:
        return load_record(request(f"{controller_url}/api/v1/state", timeout_s=2))
    except (RequestFailedError, ValidationError):
        return None


def _watch(
    stack: LocalStack, options: SessionOptions, *, view: View, clock: Clock, pause: Callable[[float], None]
) -> None:
    traffic = stack.start_traffic(options.traffic.arguments(stack.files.requests))
    numbers = TickReader(traffic.process.stdout) if traffic.process.stdout else None
    began = clock.monotonic()
    while options.duration_s is None or clock.monotonic() - began < options.duration_s:
        stack.require_healthy()
        view.update(latest_record(stack.controller_url), numbers.latest if numbers else None)
        pause(PERIOD_S)
