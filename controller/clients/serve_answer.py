"""What ``GET /api/serve/applications/`` answers, read into domain values. Pure: text in, values out.

Fields that are not needed are ignored and optional ones may be missing, so that another Ray version is
read as far as it goes; a needed field of the wrong type is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.clients.config_digest import config_digest
from controller.domain.identity import DeploymentId
from controller.domain.serve import (
    ApplicationState,
    AutoscalingFound,
    DeploymentState,
    Replica,
    ReplicaState,
    ServeState,
)

_Count = Annotated[int, Field(ge=0)]


def read_applications(body: bytes) -> ServeState:
    """Read one answer.

    Raises:
        ValueError: it is not Serve's list of applications; the message is short and names the field.

    """
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise ValueError(reason) from None
    return ServeState(
        applications=tuple(
            _application(name, app, answer.target_capacity) for name, app in answer.applications.items()
        ),
        head_node_id=answer.controller_info.node_id,
        proxies=tuple(sorted({one.node_ip for one in answer.proxies.values() if one.node_ip and one.serves})),
    )


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class _Replica(_Wire):
    replica_id: str
    state: str = ""
    start_time_s: float | None = None
    node_id: str | None = None
    node_ip: str | None = None


class _Deployment(_Wire):
    status: str = ""
    message: str = ""
    target_num_replicas: _Count | None = None
    deployment_config: dict[str, Any] = {}
    replicas: list[_Replica] = []


class _Config(_Wire):
    num_replicas: _Count | None = None
    max_ongoing_requests: _Count | None = None
    autoscaling_config: dict[str, Any] | None = None
    ray_actor_options: Any = None


class _Application(_Wire):
    status: str = ""
    route_prefix: str | None = None
    external_scaler_enabled: bool = False
    last_deployed_time_s: float | None = None
    deployed_app_config: dict[str, Any] | None = None
    deployments: dict[str, _Deployment] = {}


class _Controller(_Wire):
    node_id: str | None = None


class _Proxy(_Wire):
    node_ip: str | None = None
    status: str = ""

    @property
    def serves(self) -> bool:
        """Whether clients may be sent to it; one that is unhealthy must be seen to be."""
        return self.status not in {"STARTING", "DRAINED"}


class _Answer(_Wire):
    proxies: dict[str, _Proxy] = {}
    applications: dict[str, _Application]
    controller_info: _Controller = _Controller()
    target_capacity: float | None = None


def _application(name: str, app: _Application, target_capacity: float | None) -> ApplicationState:
    return ApplicationState(
        name=name,
        status=app.status,
        route_prefix=app.route_prefix,
        external_scaler_enabled=app.external_scaler_enabled,
        last_deployed_at=app.last_deployed_time_s,
        deployments=tuple(
            _deployment(
                DeploymentId(name, deployment_name),
                deployment,
                digest=config_digest(
                    deployment.deployment_config,
                    application=app.deployed_app_config,
                    target_capacity=target_capacity,
                    updating=deployment.status == "UPDATING",
                ),
            )
            for deployment_name, deployment in app.deployments.items()
        ),
    )


def _deployment(deployment_id: DeploymentId, deployment: _Deployment, *, digest: str) -> DeploymentState:
    config = _config(deployment_id, deployment.deployment_config)
    return DeploymentState(
        id=deployment_id,
        status=deployment.status,
        message=deployment.message,
        target_replicas=deployment.target_num_replicas,
        config_replicas=config.num_replicas,
        autoscaling_configured=config.autoscaling_config is not None,
        max_ongoing_requests=config.max_ongoing_requests,
        replicas=tuple(
            Replica(
                replica_id=replica.replica_id,
                state=_replica_state(replica.state),
                started_at=replica.start_time_s,
                node_id=replica.node_id,
                node_ip=replica.node_ip,
            )
            for replica in deployment.replicas
        ),
        config_digest=digest,
        actor_gpus=_gpus(config),
        autoscaling=None if config.autoscaling_config is None else _autoscaling(config.autoscaling_config),
    )


def _autoscaling(config: Mapping[str, Any]) -> AutoscalingFound:
    """Read what is told of Serve's own autoscaling; what is missing or odd stays unknown."""
    policy = config.get("policy")
    function = policy.get("policy_function") if isinstance(policy, Mapping) else None
    bounds = {name: config.get(name) for name in ("min_replicas", "max_replicas")}
    delay = config.get("upscale_delay_s")
    return AutoscalingFound(
        policy=function if isinstance(function, str) else "",
        **{name: bound if isinstance(bound, int) else None for name, bound in bounds.items()},
        upscale_delay_s=float(delay) if isinstance(delay, int | float) else None,
    )


def _config(deployment_id: DeploymentId, config: Mapping[str, Any]) -> _Config:
    try:
        return _Config.model_validate(config)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{deployment_id}: deployment_config.{where}: {first['msg']}"
        raise ValueError(reason) from None


def _gpus(config: _Config) -> float:
    """GPUs that the replica's actor asks for; Serve does not tell what a placement group adds to it."""
    options = config.ray_actor_options
    gpus = options.get("num_gpus") if isinstance(options, dict) else None
    return float(gpus) if isinstance(gpus, int | float) else 0.0


def _replica_state(text: str) -> ReplicaState:
    try:
        return ReplicaState(text)
    except ValueError:
        return ReplicaState.UNRECOGNISED
