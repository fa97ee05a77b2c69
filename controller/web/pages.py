"""Addresses of the page: HTML that says everything without scripts too."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response

from controller.api.access import Refusal, reader
from controller.domain.identity import DeploymentId
from controller.errors import BadInputError
from controller.web import assets
from controller.web.decision import decision
from controller.web.deployment import deployment as deployment_view
from controller.web.feeds import replan
from controller.web.overview import overview
from controller.web.printer import Printer
from controller.web.report import report
from controller.web.sending import HEADERS, takes_gzip
from controller.web.shown import Shown
from controller.web.timeline import Timeline
from controller.web.what_if import policy_of, what_if_view

FOLLOWED = 120
"""Later records that are looked at for what came of a decision."""

_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class View(StrEnum):
    """What is shown at ``/``."""

    NOW = "now"
    COST = "cost"
    WHAT_IF = "what-if"


def pages(shown: Shown) -> APIRouter:
    """Build the routes. Nothing behind them changes anything.

    ``/`` and the files are open to all: to somebody who may not read, ``/`` is a form for a token and nothing else.
    """
    printer = Printer(shown)
    router = APIRouter(include_in_schema=False)
    for part in (_views(shown, printer), _what_if(shown, printer), _files()):
        router.include_router(part)
    return router


def _views(shown: Shown, printer: Printer) -> APIRouter:
    router = APIRouter()
    timeline = shown.timeline

    @router.get("/")
    async def page(
        request: Request,
        view: View = View.NOW,
        deployment: str | None = None,
        tick: Annotated[int | None, Query(ge=0)] = None,
    ) -> Response:
        """All deployments, one of them, one of its decisions, or another view."""
        verdict = reader(request.scope, shown.tokens())
        if isinstance(verdict, Refusal):
            return printer.locked(request, verdict)
        if view is View.COST:
            return printer.page(request, "report.html", "Cost", lambda: report(timeline, shown.policy().policy))
        if view is View.WHAT_IF:
            return printer.once(request, "what_if.html", "What if", what_if_view(shown.policy().text))
        return await _now(request, deployment, tick)

    async def _now(request: Request, deployment: str | None, tick: int | None) -> Response:
        """A single deployment is shown at once."""
        if deployment is None and (only := _only(timeline)) is None:
            return printer.page(request, "overview.html", "Now", lambda: overview(timeline, shown.proposals()))
        name = only if deployment is None else timeline.find(deployment)
        if name is None:
            return printer.not_found(request, "No such deployment", f"{deployment} is not planned here now.")
        known = timeline.known(name)
        if tick is None:
            return printer.page(
                request, "deployment.html", "Now", lambda: deployment_view(timeline, known, shown.proposals())
            )
        found = await asyncio.to_thread(shown.record, name, tick, following=FOLLOWED)
        if found is None:
            return printer.not_found(request, "No such record", f"Tick {tick} of {name} is not in the store any more.")
        return printer.once(request, "decision.html", "Now", decision(*found, list(known.changes)))

    return router


def _what_if(shown: Shown, printer: Printer) -> APIRouter:
    router = APIRouter()

    @router.post("/what-if")
    async def what_if(request: Request) -> Response:
        """Plan with an edited policy, which the form sends as text."""
        text = policy_of(await request.body())
        written = text.decode(errors="replace")
        try:
            _, answer = await replan(shown, text)
        except BadInputError as error:
            shows = what_if_view(written, problem=str(error))
            return printer.once(request, "what_if.html", "What if", shows, 422)
        return printer.once(request, "what_if.html", "What if", what_if_view(written, answer=answer))

    return router


def _files() -> APIRouter:
    router = APIRouter()

    @router.get("/assets/{version}/{name}")
    async def asset(request: Request, version: str, name: str) -> Response:
        """Files of the page."""
        found = assets.assets().get(name)
        if found is None or version != assets.version():
            raise HTTPException(404, "there is no such file in this version")
        headers = {"Content-Type": found.content_type, "Vary": "Accept-Encoding", **HEADERS, **_FOR_EVER}
        if takes_gzip(request):
            return Response(found.compressed, headers=headers | {"Content-Encoding": "gzip"})
        return Response(found.body, headers=headers)

    return router


def _only(timeline: Timeline) -> DeploymentId | None:
    names = timeline.deployments()
    return names[0] if len(names) == 1 else None
