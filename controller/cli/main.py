"""Assembles the foreserve command from its subcommands."""

from __future__ import annotations

import sys

import typer

from controller.cli.alerts import alerts_app
from controller.cli.approvals import approvals, approve, reject
from controller.cli.canary import canary
from controller.cli.dashboards import dashboards_app
from controller.cli.decide import decide_command
from controller.cli.exit_codes import ExitCode
from controller.cli.explain import explain
from controller.cli.load import load
from controller.cli.override import override_app
from controller.cli.plan import plan
from controller.cli.policy import policy_app
from controller.cli.preflight import preflight_app
from controller.cli.profile import profile
from controller.cli.replay import replay_command
from controller.cli.run import run
from controller.cli.tune import tune_command
from controller.cli.up import up
from controller.cli.version import version
from controller.cli.webhooks import webhooks_app
from controller.errors import BadInputError, ForeserveError, UnavailableError

app = typer.Typer(
    name="foreserve",
    help="Keeps a Ray Serve LLM service fast and cheap: scales it one lead time ahead of its load.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("up")(up)
app.command("run")(run)
app.command("plan")(plan)
app.command("canary")(canary)
app.command("explain")(explain)
app.command("approvals")(approvals)
app.command("approve")(approve)
app.command("reject")(reject)
app.command("load")(load)
app.command("profile")(profile)
app.command("replay")(replay_command)
app.command("tune")(tune_command)
app.command("decide")(decide_command)
app.command("version")(version)
app.add_typer(preflight_app, name="preflight")
app.add_typer(policy_app, name="policy")
app.add_typer(alerts_app, name="alerts")
app.add_typer(dashboards_app, name="dashboards")
app.add_typer(override_app, name="override")
app.add_typer(webhooks_app, name="webhooks")


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
