"""foreserve decide: the controller's brain as a filter."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, BinaryIO

import typer

from controller.cli.exit_codes import ExitCode
from controller.decisions.checkpoint import restore, save
from controller.decisions.lines import TooLong, answer, read_lines
from controller.decisions.message import ErrorLine, dump_line, json_schema
from controller.decisions.session import Session, check_policy
from controller.errors import BadInputError
from controller.policy.load import load_policy

_SAVED_EVERY = 60

_Line = bytes | TooLong


class OnError(StrEnum):
    """What a bad line does."""

    CONTINUE = "continue"
    STOP = "stop"


class _Stopped(Exception):  # noqa: N818 - nothing went wrong
    """SIGTERM or Ctrl-C came."""


def decide_command(
    *,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Policy file (YAML).", show_default=False)] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Go on from this file, and keep what is remembered in it.", show_default=False
        ),
    ] = None,
    on_error: Annotated[OnError, typer.Option(help="Whether a bad line ends it.")] = OnError.CONTINUE,
    max_line_bytes: Annotated[int, typer.Option(min=1000, max=1_000_000_000, help="Longer lines are bad.")] = 4_000_000,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schemas of the lines, and stop.")] = False,
) -> None:
    """Decide for any simulator or actuator: a snapshot per line on standard input, a plan per line on standard output.

    Every line goes through what a tick of the controller goes through: history, forecast, capacity, plan, ledger.
    A bad line is answered by a line with an error and changes nothing; exit status 2 at the end tells of it.
    docs/decide.md describes the lines.

    \b
    Examples:
      foreserve decide --policy policy.yaml < snapshots.jsonl > plans.jsonl
      my-simulator | foreserve decide --policy policy.yaml --state brain.state | my-actuator
      foreserve decide --schema | jq .input
    """  # noqa: D301 - click reads the backspace
    if schema:
        typer.echo(json.dumps(json_schema(), indent=1))
        return
    if policy is None:
        msg = "--policy is needed: which deployments are there, and what do they need? docs/policy.md"
        raise BadInputError(msg)
    session = Session(check_policy(load_policy(policy)))
    if state is not None:
        restore(session, state)
        save(session, state)
    bad = _filter(
        session, sys.stdin.buffer, state=state, stop_on_error=on_error is OnError.STOP, max_line_bytes=max_line_bytes
    )
    if bad:
        raise typer.Exit(ExitCode.BAD_INPUT)


def _filter(session: Session, stream: BinaryIO, *, state: Path | None, stop_on_error: bool, max_line_bytes: int) -> int:
    """Answer every line; return how many were bad."""
    bad = 0
    try:
        with _stopped_by_signals() as waiting:
            for number, line in enumerate(waiting(read_lines(stream, max_bytes=max_line_bytes)), start=1):
                answered = answer(session, line, number)
                sys.stdout.write(dump_line(answered) + "\n")
                sys.stdout.flush()
                if isinstance(answered, ErrorLine):
                    bad += 1
                    where = f"{answered.error.key}: " if answered.error.key else ""
                    sys.stderr.write(f"foreserve: line {number}: {where}{answered.error.message}\n")
                    if stop_on_error:
                        break
                if state is not None and number % _SAVED_EVERY == 0:
                    save(session, state)
    except _Stopped:
        pass
    except BrokenPipeError:
        sys.stderr.write("foreserve: nobody reads the plans any more\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else its flush at exit fails again
    if state is not None:
        save(session, state)
    return bad


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[Iterator[_Line]], Iterator[_Line]]]:
    """Stop at a signal while waiting for a line; a line that is being answered is answered first."""
    stopped, idle = False, False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if idle:
            raise _Stopped

    def waiting(lines: Iterator[_Line]) -> Iterator[_Line]:
        nonlocal idle
        while True:
            idle = True
            if stopped:
                return
            line = next(lines, None)
            idle = False
            if line is None:
                return
            yield line

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield waiting
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
