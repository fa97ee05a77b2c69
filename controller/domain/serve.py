"""Ray Serve's own account of its applications, as its REST API tells it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.identity import DeploymentId


class ReplicaState(StrEnum):
    """Ray Serve's replica states; ``UNRECOGNISED`` stands for any that this version does not know."""

    STARTING = "STARTING"
    UPDATING = "UPDATING"
    RECOVERING = "RECOVERING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    PENDING_MIGRATION = "PENDING_MIGRATION"
    UNRECOGNISED = "UNRECOGNISED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One replica. ``started_at`` is when its actor was created (Unix seconds), where known.

    ``node_ip`` is the address of the worker that it runs on, once it is placed.
    """

    replica_id: str
    state: ReplicaState
    started_at: float | None = None
    node_id: str | None = None
    node_ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingFound:
    """How Serve scales a deployment by itself. ``policy`` is the import path of its policy."""

    policy: str
    min_replicas: int | None = None
    max_replicas: int | None = None
    upscale_delay_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentState:
    """One deployment. ``target_replicas`` is the live target, ``config_replicas`` the deployed one.

    They differ after external scaling: Serve keeps the configured number in its config. ``config_digest``
    changes when the deployment was redeployed with another configuration. ``actor_gpus`` are
    those that a replica's actor asks Ray for; what its placement group adds is not told.
    """

    id: DeploymentId
    status: str
    message: str
    target_replicas: int | None
    config_replicas: int | None
    autoscaling_configured: bool
    max_ongoing_requests: int | None
    replicas: tuple[Replica, ...]
    config_digest: str = ""
    actor_gpus: float = 0.0
    autoscaling: AutoscalingFound | None = None
    """How Serve scales it, where ``autoscaling_configured``."""

    def count(self, *states: ReplicaState) -> int:
        """How many replicas are in one of ``states``."""
        return sum(replica.state in states for replica in self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationState:
    """One application with its deployments."""

    name: str
    status: str
    route_prefix: str | None
    external_scaler_enabled: bool
    last_deployed_at: float | None
    deployments: tuple[DeploymentState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeState:
    """All applications at one moment."""

    applications: tuple[ApplicationState, ...]
    head_node_id: str | None = None
    """Where Serve's controller runs; replicas there are stopped last."""
    proxies: tuple[str, ...] = ()
    """Addresses of the nodes that have a proxy, sorted; not those where one only starts or has been drained."""

    def deployment(self, wanted: DeploymentId) -> DeploymentState | None:
        """Find one deployment, or None when it is not deployed."""
        for application in self.applications:
            for deployment in application.deployments:
                if deployment.id == wanted:
                    return deployment
        return None

    def application(self, name: str) -> ApplicationState | None:
        """Find one application, or None when it is not deployed."""
        return next((app for app in self.applications if app.name == name), None)
