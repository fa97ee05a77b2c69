"""foreserve approvals, approve, reject: words on plans that wait (mode approve)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from controller.cli.asking import DEFAULT_URL, ApiUrl, TokenFile, asked
from controller.cli.exit_codes import ExitCode
from controller.clients.controller_api import ControllerApi, RefusedError
from controller.clock import SystemClock
from controller.domain.approval import ProposalStatus
from controller.domain.layer import Layer
from controller.explain.wording import duration

_LOOK_S = 0.5

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the proposal, as in p-1a2b3c4d.", show_default=False)]
Note = Annotated[str, typer.Option(help="Why; it is kept with the proposal.")]


def approvals(
    *,
    url: ApiUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    every: Annotated[bool, typer.Option("--all", help="Also what came of earlier ones.")] = False,
) -> None:
    """List the plans that wait for a word.

    \b
    Examples:
      foreserve approvals
      foreserve approvals --all
    """  # noqa: D301 - click reads the backspace
    found = asked(url, token_file, ControllerApi.proposals)
    shown = [one for one in found if every or ProposalStatus(one["status"]).waits]
    now = SystemClock().now()
    for one in shown:
        typer.echo(_line(one, now))
    if not shown:
        typer.echo("nothing waits for a word")


def approve(
    name: Id,
    *,
    note: Note = "",
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for what comes of it.")] = 60.0,
    url: ApiUrl = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Say yes to a plan. The next tick acts on it if it still plans the same; else nothing is done, and this says so.

    Exit status 4 when nothing was done: the plan had changed, expired, or failed.

    \b
    Examples:
      foreserve approve p-1a2b3c4d --token-file token
      foreserve approve p-1a2b3c4d --note "for the launch" --wait 0
    """  # noqa: D301 - click reads the backspace
    came = _checked(lambda: asked(url, token_file, lambda api: _approve(api, name, note, wait_s)))
    typer.echo(_line(came, SystemClock().now()))
    if ProposalStatus(came["status"]) not in {ProposalStatus.APPLIED, ProposalStatus.APPROVED}:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def reject(name: Id, *, note: Note = "", url: ApiUrl = DEFAULT_URL, token_file: TokenFile = None) -> None:
    """Say no to a plan. The same change is not proposed again for approval.expires_after_s.

    Exit status 4 when it no longer waits.

    \b
    Examples:
      foreserve reject p-1a2b3c4d --note "too dear" --token-file token
    """  # noqa: D301 - click reads the backspace
    came = _checked(lambda: asked(url, token_file, lambda api: api.answer(name, "reject", note)))
    typer.echo(_line(came, SystemClock().now()))


async def _approve(api: ControllerApi, name: str, note: str, wait_s: float) -> dict[str, Any]:
    said = await api.answer(name, "approve", note)
    clock = SystemClock()
    until = clock.monotonic() + wait_s
    while said["status"] == ProposalStatus.APPROVED and clock.monotonic() < until:
        await clock.sleep(_LOOK_S)
        said = await api.proposal(name)
    return said


def _checked(question: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return question()
    except RefusedError as error:
        typer.echo(f"foreserve: {error}", err=True)
        raise typer.Exit(ExitCode.CHECK_FAILED) from None


def _line(one: dict[str, Any], now: float) -> str:
    before = "unknown" if one["from_replicas"] is None else one["from_replicas"]
    replicas = one.get("layer", Layer.REPLICA) == Layer.REPLICA
    subject = one["deployment"] if replicas else f"{one['layer']} {one['name']}"
    most = "" if one.get("most") is None else f", {one['most']} at most"
    unit = f"replicas ({one['reason']})" if replicas else f"{one['layer']}s{most}"
    what = f"{one['id']}  {subject}: {before} → {one['to_replicas']} {unit}"
    status = ProposalStatus(one["status"])
    if status is ProposalStatus.OPEN:
        return f"{what}; expires in {duration(max(0.0, one['expires_at'] - now))}: {one['detail']}"
    by = f" by {one['decided_by']}" if one["decided_by"] else ""
    note = f": {one['note']}" if one["note"] else ""
    return f"{what}; {status.value.replace('_', ' ')}{by}{note}"
