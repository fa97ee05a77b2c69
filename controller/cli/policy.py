"""foreserve policy: check policy files, print their JSON Schema."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from controller.cli.exit_codes import ExitCode
from controller.clock import SystemClock
from controller.errors import BadInputError
from controller.explain.wording import duration
from controller.policy.events import Event
from controller.policy.load import load_policy, policy_json_schema
from controller.policy.schedule import next_occurrence

policy_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Check policy files, and print their JSON Schema.

\b
Examples:
  foreserve policy check manifests/policies/*.yaml
  foreserve policy schema > policy.schema.json

docs/policy.md explains how to write one.""",
)


@policy_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files (YAML).", show_default=False)],
) -> None:
    """Say whether each FILE is a policy the controller would accept, or everything that is wrong with it.

    Announced events are listed with when they happen next. Problems read
    `file:line:column: key: what is wrong; what would be right`. Exit status: 0 when all files are right, 2
    otherwise.

    \b
    Examples:
      foreserve policy check policy.yaml
      foreserve policy check manifests/policies/minimal.yaml manifests/policies/full.yaml
    """  # noqa: D301 - click reads the backspace
    accepted = [_check(file) for file in files]
    if not all(accepted):
        raise typer.Exit(ExitCode.BAD_INPUT)


@policy_app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file, for editors and other tools.

    \b
    Examples:
      foreserve policy schema > policy.schema.json
    """  # noqa: D301 - click reads the backspace
    typer.echo(json.dumps(policy_json_schema(), indent=2))


def _check(file: Path) -> bool:
    try:
        loaded = load_policy(file)
    except BadInputError as exc:
        typer.echo(str(exc))
        return False
    count = len(loaded.policy.deployments)
    typer.echo(f"{file}: ok ({count} deployment{'' if count == 1 else 's'}, version {loaded.version})")
    now = SystemClock().now()
    for deployment in loaded.policy.deployments:
        for event in deployment.events:
            typer.echo(f"  {deployment.id}: {event.name}: {_when(event, now)}")
    return True


def _when(event: Event, now: float) -> str:
    found = next_occurrence(event, now)
    if found is None:
        return "over, it will not happen again"
    begins = dt.datetime.fromtimestamp(found.start, ZoneInfo(event.timezone)).strftime("%a %Y-%m-%d %H:%M %Z")
    return f"{'on since' if found.is_on(now) else 'next'} {begins}, for {duration(event.duration_s)}"
