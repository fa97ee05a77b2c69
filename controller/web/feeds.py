"""What programs may use too: the stream of ticks, the last hour's numbers, plans with other policies."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter

from controller.decisions.what_if import WhatIf
from controller.domain.signals import Signal
from controller.errors import BadInputError
from controller.policy.load import LoadedPolicy
from controller.web.history import history
from controller.web.replanning import LONGEST_S, BusyError
from controller.web.sending import compressed
from controller.web.shown import Shown
from controller.web.stream import EventStream

_ANSWER = TypeAdapter(WhatIf)


def feeds(shown: Shown) -> APIRouter:
    """Build the routes. Nothing behind them changes anything."""
    router = APIRouter(prefix="/api/v1")

    @router.get("/stream")
    async def stream(last_event_id: Annotated[str | None, Header()] = None) -> Response:
        """Server-sent events, one a tick with what changed; goes on after ``Last-Event-ID``."""
        if shown.feed.full:
            raise HTTPException(503, "too many follow already; try again later", {"Retry-After": "10"})
        last = int(last_event_id) if last_event_id and last_event_id.isdecimal() else None
        return EventStream(shown.feed.follow(last))

    @router.get("/history")
    async def numbers(
        request: Request,
        deployment: Annotated[str, Query(description="APPLICATION/DEPLOYMENT.")],
        signal: Annotated[Signal | None, Query(description="The one that asks for most replicas when absent.")] = None,
        after: Annotated[float, Query(description="Only ticks later than this (Unix seconds).")] = -math.inf,
    ) -> Response:
        """Return the last hour of one deployment in columns."""
        name = shown.timeline.find(deployment)
        if name is None:
            raise HTTPException(404, f"{deployment} is not planned here now")
        return compressed(request, JSONResponse(history(shown.timeline.known(name), signal=signal, after=after)))

    @router.post("/what-if")
    async def what_if(request: Request) -> Response:
        """Plan once more from what the last tick saw, with the policy (YAML) in the body. Touches nothing."""
        try:
            loaded, answer = await replan(shown, await request.body())
        except BadInputError as error:
            raise HTTPException(422, str(error)) from None
        told: dict[str, Any] = {"policy_version": loaded.version} | _ANSWER.dump_python(answer, mode="json")
        return compressed(request, JSONResponse(told))

    return router


async def replan(shown: Shown, text: bytes) -> tuple[LoadedPolicy, WhatIf]:
    """Plan with another policy.

    Raises:
        BadInputError: it is no valid policy.
        HTTPException: there was no tick yet, or too much is asked at once.

    """
    considered = shown.considered()
    if considered is None:
        raise HTTPException(503, "no tick has been completed yet")
    try:
        return await shown.replanning.plan(considered, text)
    except BusyError as error:
        raise HTTPException(429, str(error), {"Retry-After": f"{LONGEST_S:.0f}"}) from None
