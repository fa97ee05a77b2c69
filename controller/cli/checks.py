"""Prints what a preflight looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import typer

from controller.actuators.preflight import Check, CheckStatus

_MARKS = {CheckStatus.OK: "✓", CheckStatus.WARN: "!", CheckStatus.FAIL: "✗"}
_COLOURS = {CheckStatus.OK: "green", CheckStatus.WARN: "yellow", CheckStatus.FAIL: "red"}


def print_checks(checks: Sequence[Check]) -> None:
    """Print one line for each check, what to do about it, and a count."""
    for check in checks:
        typer.echo(f"{typer.style(_MARKS[check.status], fg=_COLOURS[check.status])} {check.name}: {check.detail}")
        if check.fix:
            typer.echo(f"    fix: {check.fix}")
    counts = Counter(check.status for check in checks)
    typer.echo(
        f"{len(checks)} checks: {counts[CheckStatus.OK]} in place, {counts[CheckStatus.WARN]} worth knowing, "
        f"{counts[CheckStatus.FAIL]} in the way"
    )
