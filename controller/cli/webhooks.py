"""foreserve webhooks: try a sink, and see what is left for the sinks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from controller.cli.exit_codes import ExitCode
from controller.clock import SystemClock
from controller.domain.event import Event, Gravity, Phase, Topic
from controller.errors import BadInputError, UnavailableError
from controller.explain.wording import duration, moment
from controller.policy.load import load_policy
from controller.policy.webhooks import SinkPolicy
from controller.settings import Settings
from controller.webhooks.outbox import Backlog, Outbox, outbox_path
from controller.webhooks.sender import Delivered, Result, Sender, TryAgain

webhooks_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Try a webhook sink, and see what is left for the sinks.

\b
Examples:
  foreserve webhooks test ops-slack --policy policy.yaml
  foreserve webhooks list --policy policy.yaml
  foreserve webhooks dead
  foreserve webhooks retry

docs/webhooks.md says what is sent and taken.""",
)

Policy = Annotated[
    Path, typer.Option(envvar="FORESERVE_POLICY", help="Policy that lists the sinks.", show_default=False)
]
Store = Annotated[Path, typer.Option(metavar="FILE", envvar="FORESERVE_STORE", help="Store of the controller.")]
DEFAULT_STORE = Settings.model_fields["store"].default


@webhooks_app.command("test")
def try_sink(
    name: Annotated[str, typer.Argument(metavar="SINK", help="Name of the sink.", show_default=False)],
    *,
    policy: Policy,
) -> None:
    """Send one event to one sink now, past any queue, and say what it answered.

    Exit status 3 when the sink does not answer, 4 when it refuses.
    """
    webhooks = load_policy(policy).policy.webhooks
    sink = next((one for one in webhooks.out if one.name == name), None)
    if sink is None:
        names = ", ".join(one.name for one in webhooks.out) or "none"
        msg = f"{policy}: webhooks.out has no sink {name}; there are {names}"
        raise BadInputError(msg)
    result = asyncio.run(_send(sink, webhooks.source))
    if isinstance(result, Delivered):
        typer.echo(f"{name}: delivered")
        return
    if isinstance(result, TryAgain):
        msg = f"{name}: not delivered: {result.why}"
        raise UnavailableError(msg)
    typer.echo(f"{name}: refused: {result.why}", err=True)
    raise typer.Exit(ExitCode.CHECK_FAILED)


@webhooks_app.command("list")
def show(*, policy: Policy, store: Store = DEFAULT_STORE) -> None:
    """List the sinks, what waits for each, and its dead letters."""
    sinks = load_policy(policy).policy.webhooks.out
    path = outbox_path(store)
    left: dict[str, Backlog] = {}
    if path.exists():
        with closing(Outbox(path)) as outbox:
            left = outbox.backlogs()
    now = SystemClock().now()
    for sink in sinks:
        one = left.get(sink.name) or Backlog(sink.name, 0, 0, None)
        oldest = "" if one.oldest_at is None else f", the oldest for {duration(now - one.oldest_at)}"
        typer.echo(f"{sink.name}  {sink.kind.value}: {one.pending} waiting{oldest}; {one.dead} dead")
    if not sinks:
        typer.echo("the policy has no sinks (webhooks.out)")


@webhooks_app.command()
def dead(
    *,
    store: Store = DEFAULT_STORE,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
) -> None:
    """List dead letters: events that a sink will not get, and why."""
    with _outbox(store) as outbox:
        found = outbox.dead(most=last)
    for one in found:
        typer.echo(f"{one.event.id}  {moment(one.event.at)}  {one.sink}: {one.event.summary} ({one.why})")
    if not found:
        typer.echo("there are no dead letters")


@webhooks_app.command()
def retry(
    *,
    store: Store = DEFAULT_STORE,
    sink: Annotated[str | None, typer.Option(help="Only those of this sink.", show_default=False)] = None,
    event: Annotated[str | None, typer.Option(help="Only those of this event's id.", show_default=False)] = None,
) -> None:
    """Let dead letters wait again; a running controller sends them within seconds."""
    with _outbox(store) as outbox:
        count = outbox.retry(sink=sink, event=event, now=SystemClock().now())
    typer.echo(f"{count} waiting again")


@contextmanager
def _outbox(store: Path) -> Iterator[Outbox]:
    path = outbox_path(store)
    if not path.exists():
        msg = f"{path}: there is no outbox here; a controller whose policy has webhooks.out makes one"
        raise BadInputError(msg)
    with closing(Outbox(path)) as outbox:
        yield outbox


async def _send(sink: SinkPolicy, source: str) -> Result:
    now, sender = SystemClock().now(), Sender(sink, source=source)
    event = Event(
        id=secrets.token_hex(16),
        topic=Topic.TEST,
        phase=Phase.HAPPENED,
        at=now,
        key=Topic.TEST.value,
        gravity=Gravity.INFO,
        summary="Foreserve can reach this webhook.",
    )
    try:
        return await sender.send(event, now=now)
    finally:
        await sender.close()
