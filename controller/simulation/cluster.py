"""The cluster file: how fast a replica is, how long it takes to come, and how long clients wait."""

from __future__ import annotations

import io
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from controller.errors import BadInputError

_MAX_BYTES = 1_000_000
_NotNegative = Annotated[float, Field(ge=0, le=604_800)]
_Tokens = Annotated[int, Field(ge=1, le=100_000_000)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ReplicaSpec(_Section):
    """One replica: an engine with continuous batching and chunked prefill."""

    iteration_base_s: float = Field(gt=0, le=60, description="Seconds of every iteration.")
    per_sequence_s: float = Field(ge=0, le=1, description="More for each decoding sequence.")
    per_context_token_s: float = Field(
        ge=0, le=1, description="More for each token in the decoding sequences' context."
    )
    per_prefill_token_s: float = Field(ge=0, le=1, description="More for each prefilled token.")
    max_num_batched_tokens: _Tokens = 2048
    max_num_seqs: int = Field(default=256, ge=1, le=65_536)
    kv_cache_tokens: _Tokens
    gpus: int = Field(default=1, ge=1, le=1024)
    startup_s: tuple[_NotNegative, _NotNegative] = (60.0, 180.0)
    overhead_s: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Seconds of each request outside the engine, before its first token: proxies, network, tokenizer.",
    )

    @model_validator(mode="after")
    def _start_in_order(self) -> Self:
        if self.startup_s[0] > self.startup_s[1]:
            msg = f"startup_s must be [shortest, longest], not {list(self.startup_s)}"
            raise ValueError(msg)
        if self.max_num_batched_tokens <= self.max_num_seqs:
            msg = f"max_num_batched_tokens must exceed max_num_seqs ({self.max_num_seqs}), or prompts never get a turn"
            raise ValueError(msg)
        return self

    @property
    def mean_startup_s(self) -> float:
        """Expected seconds from start to ready."""
        return sum(self.startup_s) / 2


class Routing(StrEnum):
    """Which ready replica gets the next request."""

    LEAST_CONNECTIONS = "least_connections"
    ROUND_ROBIN = "round_robin"


class NodeSpec(_Section):
    """Where replicas run. With ``provision_s`` and ``idle_timeout_s`` at 0 nodes are there at once and cost nothing."""

    provision_s: _NotNegative = 0.0
    idle_timeout_s: _NotNegative = 0.0
    gpus: int | None = Field(default=None, ge=1, le=1024, description="GPUs of one node; default: one replica's.")
    stockouts_s: tuple[tuple[_NotNegative, _NotNegative], ...] = Field(
        default=(), description="[from, to] in which no node can be had; orders wait for the end."
    )


class ReplicaLimits(_Section):
    """Bounds that hold for every policy."""

    min_replicas: int = Field(default=1, ge=0, le=10_000)
    max_replicas: int = Field(ge=1, le=10_000)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            msg = f"min_replicas ({self.min_replicas}) must be <= max_replicas ({self.max_replicas})"
            raise ValueError(msg)
        return self


class ClientSpec(_Section):
    """The users."""

    abandon_s: float = Field(default=60.0, gt=0, le=86_400, description="Patience until the first token.")


class ClusterSpec(_Section):
    """A whole cluster file."""

    replica: ReplicaSpec
    nodes: NodeSpec = NodeSpec()
    limits: ReplicaLimits
    clients: ClientSpec = ClientSpec()
    routing: Routing = Routing.LEAST_CONNECTIONS

    @model_validator(mode="after")
    def _replica_fits_a_node(self) -> Self:
        if self.nodes.gpus is not None and self.nodes.gpus < self.replica.gpus:
            msg = f"nodes.gpus ({self.nodes.gpus}) must be >= replica.gpus ({self.replica.gpus})"
            raise ValueError(msg)
        return self


def load_cluster(path: Path) -> ClusterSpec:
    """Read a cluster file.

    Raises:
        BadInputError: it cannot be read, or a key is missing, unknown or out of range; each is named.

    """
    document = _parse(path)
    try:
        return ClusterSpec.model_validate(document)
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        raise BadInputError("\n".join(problems)) from None


def _parse(path: Path) -> Any:
    try:
        text = path.read_bytes()[: _MAX_BYTES + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}; give a cluster file such as manifests/clusters/*.yaml"
        raise BadInputError(msg) from None
    if len(text) > _MAX_BYTES:
        msg = f"{path}: longer than {_MAX_BYTES} bytes; is this a cluster file?"
        raise BadInputError(msg)
    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        msg = f"{path}: is not YAML: {error}"
        raise BadInputError(msg) from None
