"""foreserve explain: why a deployment has the replicas it has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from controller.clock import SystemClock
from controller.codec import dump_record
from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.errors import BadInputError
from controller.explain.moments import parse_moment
from controller.explain.page import page
from controller.ports import StoreError
from controller.settings import Settings
from controller.store.reader import StoreReader

_FOLLOWED = 400
"""Later records that are looked at for what came of a decision: more than an hour of ticks."""


def explain(
    deployment: Annotated[
        str,
        typer.Argument(
            metavar="DEPLOYMENT", help="APPLICATION/DEPLOYMENT, or a part of it that only one has.", show_default=False
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Explain the record in force then: ISO 8601 (UTC), Unix seconds, or -5m, -2h, -1d."
        ),
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Explain the last N records (up to --at).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the records as a JSON list.")] = False,
    store: Annotated[
        Path, typer.Option(metavar="FILE", envvar="FORESERVE_STORE", help="Store of the controller.")
    ] = Settings.model_fields["store"].default,
) -> None:
    """Say what was seen, expected, decided and done for a deployment, and what came of it.

    Without --at and --last: the last record in which something was to be done, and the latest one. Works
    beside a running controller and after one that was killed. Exit status 2 when there is nothing to explain.

    \b
    Examples:
      foreserve explain chat/LLMServer:tiny
      foreserve explain tiny --at -5m
      foreserve explain tiny --at 2026-11-21T10:15:00Z
      foreserve explain tiny --last 20 --json | jq '.[].deployments[0].decision.desired'
    """  # noqa: D301 - click reads the backspace
    now = SystemClock().now()
    moment = None if at is None else parse_moment(at, now=now)
    try:
        with StoreReader(store) as reader:
            wanted = _find(deployment, reader.deployments(), store)
            records = _records(reader, wanted, moment, last)
            if not records:
                msg = f"{store}: nothing was recorded for {wanted} up to {at}; the store begins later"
                raise BadInputError(msg)
            if json:
                typer.echo("[" + ",\n".join(dump_record(record).decode() for record in records) + "]")
                return
            _show(list(_pages(reader, wanted, records, now)))
    except StoreError as exc:
        raise BadInputError(str(exc)) from exc


def _find(text: str, known: Sequence[DeploymentId], store: Path) -> DeploymentId:
    """Find the one deployment that is meant. Raises BadInputError."""
    if not known:
        msg = f"{store}: nothing is recorded yet; start a controller and wait for its first tick"
        raise BadInputError(msg)
    exact = [one for one in known if text in (str(one), one.deployment)]
    found = exact if len(exact) == 1 else [one for one in known if text.lower() in str(one).lower()]
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{text!r} may be any of {', '.join(str(one) for one in found)}; write more of the name"
        raise BadInputError(msg)
    hint = f"did you mean {meant}? " if (meant := _closest(text, known)) else ""
    msg = f"{text!r} is not in {store}; {hint}recorded: {', '.join(str(one) for one in known)}"
    raise BadInputError(msg)


def _closest(text: str, known: Sequence[DeploymentId]) -> DeploymentId | None:
    """Find the deployment with the name, or the part of a name, that is most like what was typed."""
    parts = {part.lower(): one for one in known for part in (str(one), *re.split(r"[/:._-]", str(one)))}
    close = difflib.get_close_matches(text.lower(), parts, n=1)
    return parts[close[0]] if close else None


def _records(reader: StoreReader, deployment: DeploymentId, at: float | None, last: int | None) -> list[TickRecord]:
    if at is not None or last is not None:
        return reader.records(deployment=deployment, at=at, last=last)
    latest = reader.records(deployment=deployment, last=1)
    acted = reader.last_action(deployment)
    return [acted, *latest] if acted and acted.tick != latest[0].tick else latest


def _pages(reader: StoreReader, deployment: DeploymentId, records: Sequence[TickRecord], now: float) -> Iterator[Text]:
    for record in records:
        later = reader.after(record.tick, deployment=deployment, limit=_FOLLOWED)
        yield page(record, record.deployments[0], later, now=now)


def _show(pages: Sequence[Text]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for index, text in enumerate(pages):
        if index:
            console.print()
        console.print(text)
