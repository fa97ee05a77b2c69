"""foreserve override: ask the planner for something for a while."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from controller.cli.asking import DEFAULT_URL, ApiUrl, TokenFile, asked
from controller.clients.controller_api import ControllerApi
from controller.clock import SystemClock
from controller.domain.override import OverrideAction
from controller.errors import BadInputError
from controller.explain.wording import duration

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_EVERYWHERE = "all"

override_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Ask the planner for something for a while, within the limits. It ends by itself.

\b
Examples:
  foreserve override begin freeze chat/LLMServer:tiny --for 30m --reason "load test" --token-file token
  foreserve override list
  foreserve override end ov-1a2b3c4d --token-file token""",
)


@override_app.command()
def begin(
    action: Annotated[OverrideAction, typer.Argument(help="What to ask for.", show_default=False)],
    deployment: Annotated[
        str, typer.Argument(metavar="DEPLOYMENT", help="APPLICATION/DEPLOYMENT, or all.", show_default=False)
    ],
    *,
    lasting: Annotated[str, typer.Option("--for", help="How long: 90s, 30m, 2h, 1d.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, in one line; it is in every record.", show_default=False)],
    replicas: Annotated[int, typer.Option(help="raise_floor: so many more than limits.min_replicas.")] = 0,
    url: ApiUrl = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Begin one. The next tick follows it; docs/planning.md says what each does.

    \b
    Examples:
      foreserve override begin raise_floor chat/LLMServer:tiny --replicas 2 --for 2h --reason launch
      foreserve override begin reactive all --for 1h --reason "the forecast is off"
    """  # noqa: D301 - click reads the backspace
    body = {
        "action": action.value,
        "deployment": None if deployment == _EVERYWHERE else deployment,
        "for_s": _seconds(lasting),
        "reason": reason,
        "replicas": replicas,
    }
    typer.echo(_line(asked(url, token_file, lambda api: api.begin_override(body)), SystemClock().now()))


@override_app.command("list")
def show(*, url: ApiUrl = DEFAULT_URL, token_file: TokenFile = None) -> None:
    """List those in force."""
    found = asked(url, token_file, ControllerApi.overrides)
    now = SystemClock().now()
    for one in found:
        typer.echo(_line(one, now))
    if not found:
        typer.echo("none is in force")


@override_app.command()
def end(
    name: Annotated[str, typer.Argument(metavar="ID", help="As in ov-1a2b3c4d.", show_default=False)],
    *,
    url: ApiUrl = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """End one now."""
    ended = asked(url, token_file, lambda api: api.end_override(name))
    typer.echo(f"{ended['id']}  {ended['action']} has ended")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        msg = f"--for {text!r} is no length of time; write 90s, 30m, 2h or 1d"
        raise BadInputError(msg)
    return float(match[1]) * _SECONDS[match[2]]


def _line(one: dict[str, Any], now: float) -> str:
    more = f" by {one['replicas']}" if one["replicas"] else ""
    left = duration(max(0.0, one["until"] - now))
    where = one["deployment"] or "every deployment"
    return f"{one['id']}  {one['action']}{more} for {where}, another {left}; by {one['owner']}: {one['reason']}"
