"""Where things are: addresses, tokens and files. What is wanted stands in the policy.

Read from ``FORESERVE_*`` environment variables and from the command line, which wins. Tokens come from the
environment or a file, never from the command line, and appear in no message.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from controller.errors import BadInputError
from controller.token_file import read_token

PREFIX = "FORESERVE_"
_OF_OTHER_PARTS = {
    "FORESERVE_API_URL",
    "FORESERVE_API_TOKEN",
    "FORESERVE_API_TOKEN_FILE",
    "FORESERVE_QUIET_ENGINE",
    "FORESERVE_HAPROXY_METRICS_HOST",
    "FORESERVE_GRAFANA_URL",
    "FORESERVE_GRAFANA_TOKEN",
    "FORESERVE_GRAFANA_TOKEN_FILE",
}
_RAY_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable


class Kubernetes(StrEnum):
    """Whether Kubernetes is used."""

    AUTO = "auto"
    """Where the policy has a cluster, and a kubeconfig or the pod's own account is found."""
    ON = "on"
    OFF = "off"


class Settings(BaseSettings):
    """All settings of the controller process. Build with ``load_settings``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True
    )

    policy: Path = Field(description="Policy file.")
    serve_url: str = Field(default="http://127.0.0.1:8265", description="Ray Serve's REST API (Ray's dashboard).")
    serve_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices(f"{PREFIX}SERVE_TOKEN", _RAY_TOKEN),
        description="Ray's authentication token; RAY_AUTH_TOKEN is read too.",
    )
    serve_token_file: Path | None = Field(default=None, description="File with Ray's authentication token.")
    ray_sd_file: Path | None = Field(default=None, description="Ray's Prometheus service-discovery file.")
    ray_metrics_targets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Ray's metrics agents, as a comma-separated list; found by themselves otherwise."
    )
    haproxy_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="HAProxy's Prometheus endpoints, as a comma-separated list."
    )
    haproxy_port: int | None = Field(
        default=None, ge=1, le=65_535, description="HAProxy's Prometheus port, on each node where Serve has a proxy."
    )
    prometheus_url: str | None = Field(
        default=None, description="Prometheus-compatible API to ask instead of Ray's agents and HAProxy."
    )
    prometheus_token: SecretStr | None = Field(default=None, description="Bearer token of that API.")
    prometheus_token_file: Path | None = Field(default=None, description="File with that token.")
    gke_endpoint: str | None = Field(
        default=None, description="GKE's API, when not at Google's address: a private endpoint or a stand-in."
    )
    gke_anonymous: bool = Field(default=False, description="Send no credentials there: for a stand-in of GKE only.")
    store: Path = Field(default=Path(".foreserve/foreserve.db"), description="Where records and state are kept.")
    host: str = Field(default="127.0.0.1", description="Address that the controller's own API listens on.")
    port: int = Field(default=9900, ge=0, le=65_535, description="Its port; 0 takes any free one.")
    api_tokens: SecretStr | None = Field(
        default=None, description="Tokens of the controller's API, one a line: NAME SCOPE TOKEN."
    )
    api_tokens_file: Path | None = Field(default=None, description="File with these lines; followed while it changes.")
    kubernetes: Kubernetes = Field(
        default=Kubernetes.AUTO,
        description="auto: where the policy has a cluster and a kubeconfig or a pod's account is found; on; off.",
    )
    kube_context: str | None = Field(
        default=None, description="Context of the kubeconfig; otherwise the pod's own account, or the context in use."
    )
    namespace: str | None = Field(
        default=None, description="Kubernetes namespace of the RayService; otherwise the pod's or the context's."
    )
    ray_service: str | None = Field(
        default=None, description="RayService whose cluster is scaled; otherwise the only one."
    )
    ray_cluster: str | None = Field(default=None, description="RayCluster to scale, where no RayService made it.")
    leader_election: bool = Field(
        default=False, description="Act only while this controller, of several, holds a Lease in its namespace."
    )
    lease: str = Field(
        default="foreserve",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="Name of that Lease, and of the ConfigMap that state is handed over in.",
    )
    advisory: bool = Field(default=False, description="Touch nothing, whatever the policy's mode.")

    @field_validator("ray_metrics_targets", "haproxy_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _one_way_to_find_metrics(self) -> Self:
        given = [
            name
            for name, value in (
                ("ray_sd_file", self.ray_sd_file),
                ("ray_metrics_targets", self.ray_metrics_targets),
                ("prometheus_url", self.prometheus_url),
            )
            if value
        ]
        if len(given) > 1:
            msg = f"give one of {', '.join(given)}: each is a way to find Ray's metrics"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _one_list_of_tokens(self) -> Self:
        if self.api_tokens is not None and self.api_tokens_file is not None:
            msg = "give api_tokens or api_tokens_file, not both: which of them would hold?"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _one_way_to_find_haproxy(self) -> Self:
        if self.haproxy_urls and self.haproxy_port:
            msg = "give haproxy_urls or haproxy_port, not both: each is a way to find HAProxy"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _one_ray_cluster(self) -> Self:
        if self.ray_service and self.ray_cluster:
            msg = "give ray_service or ray_cluster, not both: a RayService names its own RayCluster"
            raise ValueError(msg)
        return self

    def serve_secret(self) -> str | None:
        """Ray's token, from the file when one is given. Raises BadInputError for an unreadable or empty file."""
        return _secret(self.serve_token, self.serve_token_file, "serve_token_file")

    def prometheus_secret(self) -> str | None:
        """Prometheus' token, from the file when one is given. Raises BadInputError like ``serve_secret``."""
        return _secret(self.prometheus_token, self.prometheus_token_file, "prometheus_token_file")


def load_settings(**given: Any) -> Settings:
    """Build the settings from the environment and from what the command line gave (None: not given).

    Raises:
        BadInputError: a variable with the prefix is unknown, or a value is wrong; names it and what is right.

    """
    _refuse_unknown(os.environ)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise BadInputError("\n".join(_sentence(problem) for problem in error.errors())) from None


def prometheus_token(file: Path | None) -> str | None:
    """Token of a Prometheus-compatible API for a command without other settings: a file, else the environment.

    Raises:
        BadInputError: the file cannot be read, or is empty.

    """
    named = os.environ.get(f"{PREFIX}PROMETHEUS_TOKEN_FILE")
    direct = os.environ.get(f"{PREFIX}PROMETHEUS_TOKEN")
    return _secret(
        SecretStr(direct) if direct else None, file or (Path(named) if named else None), "prometheus_token_file"
    )


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX) and name.upper() not in known and name not in _OF_OTHER_PARTS
    )
    if unknown:
        msg = f"unknown setting {', '.join(unknown)} in the environment; known are {', '.join(sorted(known))}"
        raise BadInputError(msg)


def _sentence(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if not where:
        return f"settings: {problem['msg'].removeprefix('Value error, ')}"
    name = str(problem["loc"][0]).removeprefix(PREFIX).lower()
    variable = f"{PREFIX}{name.upper()}"
    if problem["type"] == "missing":
        return f"{name} is missing; give --{name.replace('_', '-')} or {variable}"
    field = Settings.model_fields.get(name)
    meaning = f" ({field.description})" if field else ""
    return f"{variable} or --{name.replace('_', '-')}{meaning}: {problem['msg']}"


def _secret(direct: SecretStr | None, file: Path | None, setting: str) -> str | None:
    if file is None:
        return direct.get_secret_value() if direct else None
    return read_token(file, setting=setting)
