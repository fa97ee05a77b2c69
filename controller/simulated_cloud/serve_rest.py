"""Ray Serve's REST API over HTTP: the state of applications, and the scale API, with Serve's own answers.

Replicas are entries of the document; what becomes of them is up to who holds it (``serve.ServeOnWorkers``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Self

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import BaseModel, Field

from controller.domain.identity import DeploymentId

CHAT = DeploymentId("chat", "LLMServer:tiny")
"""The deployment of the examples."""

Document = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ACCEPTED = "Scaling request received. Deployment will get scaled asynchronously."
_NOT_FOUND = "Application or Deployment not found"
_DISABLED = (
    "Cannot update replicas for deployment '{0.deployment}' in application '{0.application}'. The external scaling API "
    "can only be used when 'external_scaler_enabled' is set to true in the application configuration. Current value: "
    "external_scaler_enabled=false. To use this API, redeploy your application with 'external_scaler_enabled: true' in "
    "the config."
)


class ScaleDeploymentRequest(BaseModel):
    """What the scale API takes, and refuses in pydantic's words."""

    target_num_replicas: Annotated[int, Field(ge=0)]


def document_of(deployments: Iterable[DeploymentId], *, at: float) -> Document:
    """Return applications deployed at ``at`` that run without replicas, in the shape that Ray 2.60 answers in."""
    applications: Document = {}
    for name in deployments:
        config = {"name": name.application, "route_prefix": f"/{name.application}", "external_scaler_enabled": True}
        application = applications.setdefault(
            name.application,
            {
                "name": name.application,
                "route_prefix": config["route_prefix"],
                "docs_path": None,
                "status": "RUNNING",
                "message": "",
                "last_deployed_time_s": at,
                "deployed_app_config": config,
                "source": "declarative",
                "deployments": {},
                "external_scaler_enabled": True,
            },
        )
        application["deployments"][name.deployment] = {
            "name": name.deployment,
            "status": "HEALTHY",
            "status_trigger": "CONFIG_UPDATE_COMPLETED",
            "message": "",
            "deployment_config": {"name": name.deployment, "num_replicas": 1, "max_ongoing_requests": 1000},
            "target_num_replicas": 0,
            "replicas": [],
        }
    head = {"node_id": "head", "node_ip": "192.0.2.2"}
    proxies = {"head": {**head, "status": "HEALTHY"}}
    return {"controller_info": head, "proxies": proxies, "applications": applications, "target_capacity": None}


@dataclass
class ServeRest:
    """Serves one document. Use as ``async with ServeRest(document) as serve: ... serve.base_url``."""

    document: Document
    base_url: str = ""
    _deleting: set[DeploymentId] = field(default_factory=set)
    _started: int = 0
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=self._middlewares())
        app.router.add_get("/api/serve/applications/", self._applications)
        app.router.add_post("/api/v1/applications/{application}/deployments/{deployment}/scale", self._scale)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def target(self, deployment: DeploymentId = CHAT) -> int:
        """Replicas that a deployment is to have."""
        return int(self.deployment(deployment)["target_num_replicas"])

    def application(self, name: str = CHAT.application) -> Document:
        """Return one application's part of the document, to be changed at will."""
        found: Document = self.document["applications"][name]
        return found

    def deployment(self, deployment: DeploymentId = CHAT) -> Document:
        """Return one deployment's part of the document, to be changed at will."""
        found: Document = self.application(deployment.application)["deployments"][deployment.deployment]
        return found

    def set_target(self, replicas: int, deployment: DeploymentId = CHAT) -> None:
        """Set a target as another writer would; replicas begin to start or to stop."""
        live = self.deployment(deployment)
        live["target_num_replicas"] = replicas
        kept = [replica for replica in live["replicas"] if replica["state"] != "STOPPING"]
        for replica in kept[replicas:]:
            replica["state"] = "STOPPING"
        live["replicas"] += [self._new_replica(deployment) for _ in range(replicas - len(kept))]

    def _middlewares(self) -> Sequence[Middleware]:
        return ()

    def _new_replica(self, deployment: DeploymentId) -> Document:
        self._started += 1
        return {
            "replica_id": self._replica_id(),
            "state": "STARTING",
            "start_time_s": self.application(deployment.application)["last_deployed_time_s"] + self._started,
        }

    def _replica_id(self) -> str:
        self._started += 1
        return f"replica{self._started}"

    async def _applications(self, _: web.Request) -> web.Response:
        return web.json_response(self.document)

    async def _scale(self, request: web.Request) -> web.Response:
        deployment = DeploymentId(request.match_info["application"], request.match_info["deployment"])
        try:
            wanted = ScaleDeploymentRequest(**await request.json()).target_num_replicas
        except ValueError as error:
            return _answer(HTTPStatus.BAD_REQUEST, error=f"Invalid request body: {error}")
        application = self.document["applications"].get(deployment.application)
        if application is None:
            return _answer(HTTPStatus.NOT_FOUND, error=_NOT_FOUND)
        if not application["external_scaler_enabled"] or application["status"] == "DELETING":
            return _answer(HTTPStatus.PRECONDITION_FAILED, error=_DISABLED.format(deployment))
        if deployment.deployment not in application["deployments"]:
            return _answer(HTTPStatus.NOT_FOUND, error=_NOT_FOUND)
        if deployment in self._deleting:
            return _answer(HTTPStatus.PRECONDITION_FAILED, error="Deployment is deleted")
        self._asked(wanted, deployment)
        return _answer(HTTPStatus.OK, message=_ACCEPTED)

    def _asked(self, replicas: int, deployment: DeploymentId) -> None:
        """Do what the scale API was asked for."""
        self.set_target(replicas, deployment)


def _answer(status: HTTPStatus, **content: str) -> web.Response:
    return web.json_response(content, status=status)
