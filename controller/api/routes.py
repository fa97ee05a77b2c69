"""The controller's HTTP API: metrics, health, and what was decided and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.actuators.serve_guided import Published
from controller.api.access import AccessControl
from controller.api.bodies import BodyLimits
from controller.api.deployments import deployment_of
from controller.api.health import not_alive, not_ready
from controller.api.tokens import Caller, Tokens
from controller.codec import dump_record
from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.export.latest import LatestTick
from controller.policy.load import LoadedPolicy
from controller.ports import StoreError

MOST_RECORDS = 1000

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RecordReader(Protocol):
    """Reads the records that the store kept."""

    def __call__(self, *, deployment: DeploymentId | None, last: int) -> list[TickRecord]:
        """Return the newest ``last`` records, oldest first. Raises StoreError."""
        ...


def api(
    *,
    latest: LatestTick,
    policy: Callable[[], LoadedPolicy],
    records: RecordReader,
    registry: CollectorRegistry,
    tokens: Callable[[], Tokens] = Tokens,
    refused: Callable[[str], None] = lambda _: None,
    floors: Callable[[], Sequence[Published]] = tuple,
) -> FastAPI:
    """Build the API. Nothing in it shows a secret.

    ``tokens`` returns those that hold now; ``refused`` is called with the reason of every refused request.
    ``floors`` returns those of guided mode.
    """
    app = FastAPI(title="Foreserve", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    app.add_middleware(BodyLimits, refused=refused)
    app.add_middleware(AccessControl, tokens=tokens, refused=refused)
    app.add_middleware(SafeHeaders)
    app.exception_handler(StoreError)(_store_unreadable)
    app.exception_handler(RequestValidationError)(_wrong_request)
    app.exception_handler(404)(_nothing_there)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Everything in docs/metrics.md, in the format the client asks for."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    @app.get("/healthz")
    async def healthz() -> Response:
        """200 while ticks come; 503 with the reason when the last one is too long ago."""
        return _verdict(not_alive(latest.age_s, interval_s=policy().policy.control.interval_s))

    @app.get("/readyz")
    async def readyz() -> Response:
        """200 once a tick was done with Ray Serve reachable; 503 with reasons otherwise."""
        return _verdict(*not_ready(latest.record))

    @app.get("/api/v1/whoami")
    async def whoami(request: Request) -> dict[str, str]:
        """Return whose token was sent and what it allows."""
        caller: Caller = request.state.caller
        return {"name": caller.name, "scope": caller.scope.value}

    newest = _Written()

    @app.get("/api/v1/state")
    async def state() -> Response:
        """Return the latest tick's record; 503 before the first."""
        if latest.record is None:
            raise HTTPException(503, "no tick has been completed yet")
        return Response(newest.of(latest.record), media_type="application/json")

    @app.get("/api/v1/decisions")
    def decisions(
        deployment: Annotated[str | None, Query(description="APPLICATION/DEPLOYMENT; all when absent.")] = None,
        last: Annotated[int, Query(ge=1, le=MOST_RECORDS, description="How many, newest last.")] = 100,
    ) -> Response:
        """Return recorded ticks, oldest first, from the store."""
        found = records(deployment=deployment_of(deployment), last=last)
        return Response(b"[" + b",".join(map(dump_record, found)) + b"]", media_type="application/json")

    @app.get("/api/v1/floors")
    async def floors_in_force() -> dict[str, Any]:
        """Return the floors of guided mode: fewest replicas, and how many seconds ago that was last meant."""
        return {
            "floors": [
                {
                    "application": one.id.application,
                    "deployment": one.id.deployment,
                    "replicas": one.replicas,
                    "age_s": round(one.age_s, 3),
                }
                for one in floors()
            ]
        }

    @app.get("/api/v1/policy")
    async def policy_in_force() -> dict[str, Any]:
        """Return the policy in force, with every default filled in, and its version."""
        loaded = policy()
        return {"version": loaded.version, "policy": loaded.policy.model_dump(mode="json")}

    return app


class _Written:
    """One record as JSON, written once for all who ask while it is the newest."""

    def __init__(self) -> None:
        self._record: TickRecord | None = None
        self._text = b""

    def of(self, record: TickRecord) -> bytes:
        """Return the record's JSON."""
        if record is not self._record:
            self._record, self._text = record, dump_record(record)
        return self._text


def _verdict(*problems: str | None) -> Response:
    reasons = [problem for problem in problems if problem]
    body = json.dumps({"status": "failed" if reasons else "ok", "reasons": reasons})
    return Response(body, status_code=503 if reasons else 200, media_type="application/json")


async def _store_unreadable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=503)


async def _nothing_there(request: Request, error: Exception) -> Response:
    said = str(getattr(error, "detail", ""))
    sentence = f"there is nothing at {request.url.path}" if said in {"", "Not Found"} else said
    return JSONResponse({"detail": sentence}, status_code=404)


async def _wrong_request(_: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    return JSONResponse({"detail": "; ".join(map(_sentence, faults))}, status_code=422)


def _sentence(fault: Mapping[str, Any]) -> str:
    place, *path = fault["loc"]
    name = ".".join(str(part) for part in path)
    said = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name}: {said}" if name else f"{place}: {said}"


class SafeHeaders:
    """Gives every answer the headers that it does not bring itself: not cached, not framed, not guessed at."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and complete what is answered."""

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, complete)
