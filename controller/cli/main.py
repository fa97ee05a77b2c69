"""Assembles the foreserve command from its subcommands."""

from __future__ import annotations

import sys

import typer

from controller.cli.exit_codes import ExitCode
from controller.cli.lazy import lazy_group
from controller.errors import BadInputError, ForeserveError, UnavailableError

_COMMANDS = {
    "up": "controller.cli.up:up",
    "run": "controller.cli.run:run",
    "plan": "controller.cli.plan:plan",
    "canary": "controller.cli.canary:canary",
    "explain": "controller.cli.explain:explain",
    "approvals": "controller.cli.approvals:approvals",
    "approve": "controller.cli.approvals:approve",
    "reject": "controller.cli.approvals:reject",
    "load": "controller.cli.load:load",
    "profile": "controller.cli.profile:profile",
    "replay": "controller.cli.replay:replay_command",
    "tune": "controller.cli.tune:tune_command",
    "decide": "controller.cli.decide:decide_command",
    "version": "controller.cli.version:version",
    "preflight": "controller.cli.preflight:preflight_app",
    "policy": "controller.cli.policy:policy_app",
    "alerts": "controller.cli.alerts:alerts_app",
    "dashboards": "controller.cli.dashboards:dashboards_app",
    "override": "controller.cli.override:override_app",
    "webhooks": "controller.cli.webhooks:webhooks_app",
}

app = typer.Typer(
    name="foreserve",
    cls=lazy_group(_COMMANDS),
    help="Keeps a Ray Serve LLM service fast and cheap: scales it one lead time ahead of its load.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _foreserve() -> None:
    pass


def main() -> None:
    """Run the foreserve command.

    An error that a person can act on is one message on stderr and an exit code, never a traceback.
    """
    try:
        app()
    except ForeserveError as error:
        sys.stderr.write(f"foreserve: {error}\n")
        sys.exit(_exit_code(error))


def _exit_code(error: ForeserveError) -> ExitCode:
    if isinstance(error, BadInputError):
        return ExitCode.BAD_INPUT
    return ExitCode.UNAVAILABLE if isinstance(error, UnavailableError) else ExitCode.FAILED
