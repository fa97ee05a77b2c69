"""Endpoints of webhooks: those that are taken, and what is left of those that are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from controller.api.access import HOOKS
from controller.interventions.words import Left, nobody_comes_after
from controller.webhooks.courier import Courier
from controller.webhooks.outbox import OutboxError
from controller.webhooks.receiver import Answer

Take = Callable[[str, Any, bytes], Answer | None]


def add_webhooks(app: FastAPI, *, take: Take, courier: Courier, left: Left = nobody_comes_after) -> None:
    """Add the endpoints. Each receiver checks its own senders; what it says is ``left`` for the next leader first."""
    app.exception_handler(OutboxError)(_unreadable)

    @app.post(f"{HOOKS}{{name}}")
    async def hook(name: str, request: Request) -> Response:
        """Take a webhook: Alertmanager's, or a word on a plan, as the policy says of this receiver."""
        answer = take(name, request.headers, await request.body())
        if answer is None:
            raise HTTPException(404, f"there is no receiver {name}; the policy lists them under webhooks.in")
        await left()
        if answer.status == 200:  # noqa: PLR2004
            return JSONResponse({"done": answer.sentences})
        return JSONResponse({"detail": "; ".join(answer.sentences)}, status_code=answer.status)

    @app.get("/api/v1/webhooks")
    async def sinks() -> list[dict[str, Any]]:
        """Return every sink of the policy with what waits for it and its dead letters."""
        return await courier.sinks()

    @app.get("/api/v1/webhooks/dead")
    async def dead() -> list[dict[str, Any]]:
        """Return the newest dead letters, and why each is one."""
        return await courier.dead()

    @app.post("/api/v1/webhooks/dead/retry")
    async def retry(sink: str | None = None, event: str | None = None) -> dict[str, int]:
        """Let dead letters wait again: all, those of a sink, or those of an event's id."""
        return {"waiting": await courier.retry(sink=sink, event=event)}


async def _unreadable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=503)
