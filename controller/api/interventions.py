"""Endpoints by which people intervene: overrides for a while, and the word on a plan that waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from controller.api.deployments import deployment_of
from controller.api.tokens import Caller
from controller.codec import plain
from controller.domain.override import OverrideAction
from controller.errors import BadInputError
from controller.interventions.approvals import ApprovalBoard, StaleProposalError, UnknownProposalError
from controller.interventions.overrides import OverrideBoard
from controller.interventions.overrides import Request as OverrideRequest
from controller.interventions.words import Left, nobody_comes_after
from controller.ports import Clock

Failure = Callable[[Request, Exception], Awaitable[Response]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class OverrideBody(_Body):
    """What is asked for."""

    action: OverrideAction
    deployment: Annotated[str | None, Field(description="APPLICATION/DEPLOYMENT; null for every one.")]
    for_s: Annotated[float, Field(description="Seconds that it lasts.")]
    reason: str
    replicas: Annotated[int, Field(description="raise_floor only: so many more than the policy's least.")] = 0


class AnswerBody(_Body):
    """What is said to a proposal beside yes or no."""

    note: Annotated[str, Field(max_length=500)] = ""


def add_interventions(
    app: FastAPI,
    *,
    overrides: OverrideBoard,
    approvals: ApprovalBoard,
    clock: Clock,
    standby: Callable[[], str | None] = lambda: None,
    left: Left = nobody_comes_after,
) -> None:
    """Add the endpoints. Those that change something are behind ``controller.api.access``, as all are.

    ``standby`` says why another controller acts, None while this one does: only that one is to be asked. What was said
    is ``left`` for the next leader before it is answered.
    """

    def acts(request: Request) -> None:
        if request.method not in {"GET", "HEAD"} and (why := standby()) is not None:
            raise HTTPException(503, why)

    for routes in (_overrides(overrides, clock, left), _approvals(approvals, left)):
        app.include_router(routes, dependencies=[Depends(acts)])
    app.exception_handler(BadInputError)(_answering(422))
    app.exception_handler(UnknownProposalError)(_answering(404))
    app.exception_handler(StaleProposalError)(_answering(409))


def _overrides(board: OverrideBoard, clock: Clock, left: Left) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/overrides")

    @routes.get("")
    async def overrides() -> list[Any]:
        """Return those in force, oldest first."""
        return [plain(one) for one in board.in_force(clock.now())]

    @routes.post("", status_code=201)
    async def begin(body: OverrideBody, request: Request) -> Any:
        """Begin one; it ends by itself after ``for_s`` seconds."""
        asked = OverrideRequest(
            action=body.action,
            deployment=deployment_of(body.deployment),
            for_s=body.for_s,
            owner=_caller(request),
            reason=body.reason,
            replicas=body.replicas,
        )
        begun = board.begin(asked)
        await left()
        return plain(begun)

    @routes.delete("/{name}")
    async def end(name: str) -> Any:
        """End one now."""
        ended = board.end(name)
        if ended is None:
            raise HTTPException(404, f"no override {name} is in force")
        await left()
        return plain(ended)

    return routes


def _approvals(board: ApprovalBoard, left: Left) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/approvals")

    @routes.get("")
    async def proposals() -> list[Any]:
        """Return what waits for a word and what came of earlier proposals, newest first."""
        return [plain(one) for one in board.proposals()]

    @routes.get("/{name}")
    async def proposal(name: str) -> Any:
        """Return one proposal."""
        return plain(board.proposal(name))

    @routes.post("/{name}/approve")
    async def approve(name: str, request: Request, body: AnswerBody | None = None) -> Any:
        """Say yes: the next tick acts on it if it still plans the same. 409 when it no longer waits."""
        approved = board.approve(name, by=_caller(request), note=body.note if body else "")
        await left()
        return plain(approved)

    @routes.post("/{name}/reject")
    async def reject(name: str, request: Request, body: AnswerBody | None = None) -> Any:
        """Say no. 409 when it no longer waits."""
        rejected = board.reject(name, by=_caller(request), note=body.note if body else "")
        await left()
        return plain(rejected)

    return routes


def _caller(request: Request) -> str:
    caller: Caller = request.state.caller
    return caller.name


def _answering(status: int) -> Failure:
    async def answer(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error)}, status_code=status)

    return answer
