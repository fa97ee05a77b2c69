"""A loopback stand-in of Ray Serve's REST API, for tests.

Its state is a recorded ``GET /api/serve/applications/`` document that scaling, redeploys and second writers
change as the real one was seen to change; its error answers are the recorded ones, word for word. Requests
and replicas are not simulated: replicas start and stop when a test says ``settle()``.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from controller.domain.identity import DeploymentId
from controller.simulated_cloud.serve_rest import CHAT, Document, Handler, ServeRest

CAPTURES = Path(__file__).parent / "data" / "captures"
HEAD = "5a5b3493a8185cd9297d699bb5c5a74569c82475f6b1bd2464d5e816"
"""Node of the recorded answers."""

_AUTOSCALING = {"min_replicas": 1, "initial_replicas": None, "max_replicas": 1, "target_ongoing_requests": 1e9}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens instead of the real answer. ``applied``: a write takes effect although its answer is lost."""

    status: int | None = None
    text: str = ""
    delay_s: float = 0.0
    hang: bool = False
    drop: bool = False
    body: bytes | None = None
    applied: bool = False


@dataclass(frozen=True)
class Call:
    """One request as it came. ``at`` is the event loop's time in seconds."""

    method: str
    path: str
    at: float
    headers: dict[str, str]
    body: bytes


@dataclass
class _Planned:
    fault: Fault
    method: str
    left: int | None


def capture(name: str) -> Document:
    """Return a recorded answer, by its file name without ``.json``."""
    return json.loads((CAPTURES / f"{name}.json").read_text())


def chat_document() -> Document:
    """Return the recorded direct-streaming application under the local stack's names, one replica running."""
    document = capture("applications_llmd_scaleup")
    chat = document["applications"]["chat"] = document["applications"].pop("llmd")
    chat["name"] = chat["deployed_app_config"]["name"] = "chat"
    chat["route_prefix"] = chat["deployed_app_config"]["route_prefix"] = "/"
    server = chat["deployments"]["LLMServer:tiny"]
    server["target_num_replicas"] = 1
    server["replicas"] = server["replicas"][:1]
    return document


@dataclass
class ServeRestStandIn(ServeRest):
    """Serves one document. Use as ``async with ServeRestStandIn() as serve: ... serve.base_url``.

    ``revert_after_s``: Serve's own autoscaler is at work and sets every target back to 1 that long after it was
    set from outside. ``calls`` holds every request, refused ones included; ``called`` is set by each.
    """

    document: Document = field(default_factory=chat_document)
    token: str | None = None
    revert_after_s: float | None = None
    calls: list[Call] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    _faults: list[_Planned] = field(default_factory=list)
    _pending: set[asyncio.TimerHandle] = field(default_factory=set)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aexit__(self, *error: object) -> None:
        self._stopping.set()
        for timer in self._pending:
            timer.cancel()
        await super().__aexit__(*error)

    # What happened

    @property
    def scale_calls(self) -> list[Call]:
        """Every POST to the scale API, refused and failed ones included."""
        return [call for call in self.calls if call.method == "POST"]

    # What the world does

    def fail(self, fault: Fault, *, method: str = "*", times: int | None = None) -> None:
        """Meet the next ``times`` requests of ``method`` with ``fault``; all of them when ``times`` is None."""
        self._faults.append(_Planned(fault, method, times))

    def recover(self) -> None:
        """Take back every fault."""
        self._faults.clear()

    def add_deployment(self, deployment: DeploymentId, *, like: DeploymentId = CHAT) -> None:
        """Deploy a copy of ``like``, in a new application where its application is new."""
        application = copy.deepcopy(self.application(like.application))
        application["name"] = deployment.application
        copied = copy.deepcopy(self.deployment(like))
        copied["name"] = copied["deployment_config"]["name"] = deployment.deployment
        application["deployments"] = {}
        applications = self.document["applications"]
        applications.setdefault(deployment.application, application)["deployments"][deployment.deployment] = copied
        for replica in copied["replicas"]:
            replica["replica_id"] = self._replica_id()

    def settle(self, deployment: DeploymentId = CHAT) -> None:
        """Let starting replicas be running, stopping ones be gone, and an update be complete."""
        live = self.deployment(deployment)
        live["replicas"] = [replica for replica in live["replicas"] if replica["state"] != "STOPPING"]
        for replica in live["replicas"]:
            replica["state"] = "RUNNING"
        live["status"], live["status_trigger"] = "HEALTHY", "CONFIG_UPDATE_COMPLETED"
        self.application(deployment.application)["status"] = "RUNNING"

    def redeploy(self, deployment: DeploymentId = CHAT, **settings: Any) -> None:
        """PUT the config again with ``settings`` of one deployment; any difference resets its target."""
        self.application(deployment.application)["last_deployed_time_s"] += 1.0
        config = self.deployment(deployment)["deployment_config"]
        if {**config, **settings} != config:
            config.update(settings)
            self._reset(deployment)

    def put_code(self, application: str = CHAT.application, **app_config: Any) -> None:
        """PUT other code, arguments or environment: reported at once, and built before it has any effect."""
        app = self.application(application)
        app["last_deployed_time_s"] += 1.0
        app["status"] = "DEPLOYING"
        app["deployed_app_config"].update(app_config)

    def roll_out(self, application: str = CHAT.application) -> None:
        """Deploy code that was built, or run an application from code again: every target of it is reset."""
        for name in self.application(application)["deployments"]:
            self._reset(DeploymentId(application, name))

    def enable_autoscaling(self, deployment: DeploymentId = CHAT, **settings: Any) -> None:
        """Give a deployment the autoscaling config that an LLMConfig without num_replicas gets."""
        config = self.deployment(deployment)["deployment_config"]
        config.pop("num_replicas", None)
        config["autoscaling_config"] = _AUTOSCALING | settings

    def delete(self, deployment: DeploymentId) -> None:
        """Begin to delete one deployment; it is still listed and no longer scaled."""
        self._deleting.add(deployment)

    # How it answers

    def _middlewares(self) -> Sequence[Middleware]:
        return self._record, self._authenticate, self._misbehave

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        self.calls.append(Call(request.method, request.raw_path, now, dict(request.headers), await request.read()))
        self.called.set()
        return await handler(request)

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        if self.token is not None and given is None:
            return web.Response(status=401, text="Unauthorized: Missing authentication token")
        if self.token is not None and given != f"Bearer {self.token}":
            return web.Response(status=403, text="Forbidden: Invalid authentication token")
        return await handler(request)

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self._next_fault(request.method)
        if fault is None:
            return await handler(request)
        if fault.applied:
            await handler(request)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.hang:
            await self._stopping.wait()
        if fault.drop and request.transport is not None:
            request.transport.abort()
        if fault.status is not None:
            return web.Response(status=fault.status, text=fault.text)
        return web.Response(body=fault.body) if fault.body is not None else await handler(request)

    def _next_fault(self, method: str) -> Fault | None:
        for planned in self._faults:
            if planned.method in {"*", method} and planned.left != 0:
                planned.left = None if planned.left is None else planned.left - 1
                return planned.fault
        return None

    def _asked(self, replicas: int, deployment: DeploymentId) -> None:
        super()._asked(replicas, deployment)
        if self.revert_after_s is not None:
            timer = asyncio.get_running_loop().call_later(self.revert_after_s, self.set_target, 1, deployment)
            self._pending.add(timer)

    def _new_replica(self, deployment: DeploymentId) -> Document:
        return {"node_id": HEAD} | super()._new_replica(deployment)

    def _reset(self, deployment: DeploymentId) -> None:
        live = self.deployment(deployment)
        self.set_target(live["deployment_config"].get("num_replicas") or 1, deployment)
        live["status"], live["status_trigger"] = "UPDATING", "CONFIG_UPDATE_STARTED"
