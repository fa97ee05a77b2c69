"""GKE's node-pool API over HTTP: pools, setAutoscaling, setSize, and operations that take time.

Requests and answers are those of the client library's own types; error texts are those seen in the field. What it
assumes of GKE is listed in docs/simulated-cloud.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Self

from aiohttp import web
from google.cloud import container_v1 as gke

from controller.policy.cluster import GkePolicy
from controller.ports import Clock
from controller.simulated_cloud.pools import Pool

CLUSTER = GkePolicy(project="simulated", location="us-central1", cluster="serving")
WAIT = "Operation {0} is currently updating cluster serving. Please wait and try again once it is done."
QUOTA = 'Too many operations: cluster "serving" hits the concurrent operations quota 5, please try again later.'

_SET_SIZE, _UPDATE = 14, 6
_RUNNING, _DONE = 2, 3
_POOL_RECONCILING, _POOL_RUNNING = 4, 2


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens instead of the answer. ``applied``: a write takes effect although its answer is lost."""

    status: int = 503
    message: str = "The service is currently unavailable."
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False
    body: bytes | None = None
    applied: bool = False


@dataclass
class _Planned:
    fault: Fault
    containing: str
    left: int | None


@dataclass
class Operation:
    """One operation. ``failure`` is what it will end with."""

    name: str
    kind: int
    pool: str
    cluster: GkePolicy
    started_at: float
    ends_at: float
    done: bool = False
    failure: str = ""
    failure_code: int = 0

    def answer(self) -> gke.Operation:
        """As GKE's API shows it."""
        target = f"https://container.googleapis.com/v1/{self.cluster.path}/nodePools/{self.pool}"
        answer = gke.Operation(
            name=self.name,
            operation_type=self.kind,
            status=_DONE if self.done else _RUNNING,
            target_link=target,
            location=self.cluster.location,
            start_time=_rfc3339(self.started_at),
            end_time=_rfc3339(self.ends_at) if self.done else "",
        )
        if self.done and self.failure:
            answer.nodepool_conditions = [gke.StatusCondition(code=self.failure_code, message=self.failure)]
            answer.error = {"code": 8, "message": self.failure}
        return answer


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class GkeApi:
    """Serves the pools. Use as ``async with GkeApi(clock, pools) as api: ... api.base_url``.

    An operation takes ``operation_s`` by ``clock``. ``writes`` are (path, body) of every POST, refused ones included.
    ``started`` are the operations, oldest first. ``overlapping`` is how often a write met an operation in flight.
    """

    clock: Clock
    pools: dict[str, Pool]
    operation_s: float = 60.0
    cluster: GkePolicy = CLUSTER
    base_url: str = ""
    writes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    reads: int = 0
    started: list[Operation] = field(default_factory=list)
    overlapping: int = 0
    _faults: list[_Planned] = field(default_factory=list)
    _fail_next: list[tuple[int, str]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _runner: web.AppRunner | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._misbehave])
        pools = f"/v1/{self.cluster.path}/nodePools"
        operations = f"/v1/{self.cluster.location_path}/operations"
        app.router.add_get(pools, self._list_pools)
        app.router.add_get(pools + "/{pool}", self._get_pool)
        app.router.add_post(pools + "/{pool}:setAutoscaling", self._set_autoscaling)
        app.router.add_post(pools + "/{pool}:setSize", self._set_size)
        app.router.add_get(operations, self._list_operations)
        app.router.add_get(operations + "/{operation}", self._get_operation)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    # What the world does

    def fail(self, fault: Fault, *, containing: str = "", times: int | None = None) -> None:
        """Meet the next ``times`` requests whose "METHOD path" contains the text with ``fault``; None: all."""
        self._faults.append(_Planned(fault, containing, times))

    def recover(self) -> None:
        """Take back every fault."""
        self._faults.clear()

    def fail_next_operation(self, code: int, message: str) -> None:
        """Let the next operation end with a condition of this ``StatusCondition.Code``."""
        self._fail_next.append((code, message))

    def start(self, pool: str, kind: int = _UPDATE, seconds: float | None = None) -> Operation:
        """Start an operation, as a write or somebody else does."""
        now = self.clock.now()
        taking = self.operation_s if seconds is None else seconds
        operation = Operation(f"operation-{len(self.started) + 1}", kind, pool, self.cluster, now, now + taking)
        if self._fail_next:
            operation.failure_code, operation.failure = self._fail_next.pop(0)
        self.started.append(operation)
        self.pools[pool].status = _POOL_RECONCILING
        task = asyncio.get_running_loop().create_task(self._run(operation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return operation

    @property
    def in_flight(self) -> Operation | None:
        """The operation that is under way."""
        return next((one for one in self.started if not one.done), None)

    async def idle(self) -> None:
        """Wait until nothing is in flight."""
        await asyncio.gather(*self._tasks)

    async def _run(self, operation: Operation) -> None:
        await self.clock.sleep(operation.ends_at - operation.started_at)
        operation.done = True
        self.pools[operation.pool].status = _POOL_RUNNING

    # How it answers

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST":
            self.writes.append((request.path, await request.json()))
        else:
            self.reads += 1
        planned = next((one for one in self._faults if one.containing in f"{request.method} {request.path}"), None)
        if planned is None:
            return await handler(request)
        if planned.left is not None:
            planned.left -= 1
            if planned.left == 0:
                self._faults.remove(planned)
        fault = planned.fault
        if fault.applied:
            await handler(request)
        if fault.hang:
            await self._stopping.wait()
        if (fault.drop or fault.hang) and request.transport is not None:
            request.transport.close()
        if fault.body is not None:
            return web.Response(body=fault.body)
        return _error(fault.status, fault.message, reason=fault.reason, headers=fault.headers)

    async def _list_pools(self, _: web.Request) -> web.Response:
        return _json(gke.ListNodePoolsResponse(node_pools=[pool.answer() for pool in self.pools.values()]))

    async def _get_pool(self, request: web.Request) -> web.Response:
        pool = self.pools.get(request.match_info["pool"])
        return _not_found(request) if pool is None else _json(pool.answer())

    async def _list_operations(self, _: web.Request) -> web.Response:
        return _json(gke.ListOperationsResponse(operations=[one.answer() for one in self.started]))

    async def _get_operation(self, request: web.Request) -> web.Response:
        named = [one for one in self.started if one.name == request.match_info["operation"]]
        return _json(named[0].answer()) if named else _not_found(request)

    async def _set_autoscaling(self, request: web.Request) -> web.Response:
        pool = self.pools.get(request.match_info["pool"])
        if pool is None:
            return _not_found(request)
        wanted = gke.SetNodePoolAutoscalingRequest.from_json(json.dumps(await request.json())).autoscaling
        by_zone = wanted.min_node_count or wanted.max_node_count
        in_total = wanted.total_min_node_count or wanted.total_max_node_count
        if by_zone and in_total:
            return _error(400, "Cannot set both per-zone and total node count limits.")
        if (refusal := self._refusal()) is not None:
            return refusal
        pool.location_policy = int(wanted.location_policy)
        pool.total = (wanted.total_min_node_count, wanted.total_max_node_count) if in_total else None
        pool.per_zone = None if in_total else (wanted.min_node_count, wanted.max_node_count)
        return _json(self.start(pool.name).answer())

    async def _set_size(self, request: web.Request) -> web.Response:
        pool = self.pools.get(request.match_info["pool"])
        if pool is None:
            return _not_found(request)
        wanted = gke.SetNodePoolSizeRequest.from_json(json.dumps(await request.json()))
        if (refusal := self._refusal()) is not None:
            return refusal
        pool.sizes = dict.fromkeys(pool.zones, wanted.node_count)
        return _json(self.start(pool.name, _SET_SIZE).answer())

    def _refusal(self) -> web.Response | None:
        if (flying := self.in_flight) is None:
            return None
        self.overlapping += 1
        return _error(400, WAIT.format(flying.name))


def _json(message: Any) -> web.Response:
    """Numbers for enums, as the client asks for."""
    text = type(message).to_json(message, use_integers_for_enums=True)
    return web.Response(text=text, content_type="application/json")


def _not_found(request: web.Request) -> web.Response:
    return _error(404, f"Not found: {request.path.removeprefix('/v1/')}.")


def _error(status: int, message: str, *, reason: str = "", headers: dict[str, str] | None = None) -> web.Response:
    names = {400: "FAILED_PRECONDITION", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    error: dict[str, Any] = {"code": status, "message": message, "status": names.get(status, HTTPStatus(status).name)}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "container.googleapis.com"}]
    return web.json_response({"error": error}, status=status, headers=headers)


def _rfc3339(at: float) -> str:
    """With nanoseconds, as GKE writes it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
