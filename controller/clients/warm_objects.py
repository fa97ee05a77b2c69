"""The Kubernetes objects that keep nodes warm: one balloon Deployment or CapacityBuffer for each pool. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]

WARM_LABEL = "foreserve.dev/warm-capacity"
"""On everything made here; its value is the pool."""
DIGEST = "foreserve.dev/digest"
PRIORITY_CLASS = "foreserve-warm-capacity"
"""Of value -10: the lowest that still makes the cluster autoscaler add nodes, and below every worker."""
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"

_GPU = "nvidia.com/gpu"
_OWNER = {"app.kubernetes.io/managed-by": "foreserve", "app.kubernetes.io/component": "warm-capacity"}
_LONGEST_NAME = 63
_PREFIX = "foreserve-warm-"


class WarmLever(StrEnum):
    """What keeps the nodes."""

    CAPACITY_BUFFER = "capacity_buffer"
    BALLOON = "balloon"


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmShape:
    """One whole node of a pool, as a pod that asks for all of its GPUs."""

    pool: str
    pool_label: str
    gpus: int
    tolerations: tuple[Json, ...] = ()


def name_of_pool(pool: str) -> str:
    """Name of what keeps a pool warm; a long pool name is cut, and told apart by a digest."""
    if len(_PREFIX) + len(pool) <= _LONGEST_NAME:
        return _PREFIX + pool
    digest = hashlib.sha256(pool.encode()).hexdigest()[:8]
    return f"{_PREFIX}{pool[: _LONGEST_NAME - len(_PREFIX) - 9]}-{digest}"


def balloon(shape: WarmShape, *, namespace: str, nodes: int) -> Json:
    """Return a Deployment of pods that hold a node each and give way to any worker at once.

    It is replaced by deleting first (``Recreate``), so that a changed template never asks for a node more.
    """
    template = _template(shape)
    template["spec"]["priorityClassName"] = PRIORITY_CLASS
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(shape, namespace, template),
        "spec": {
            "replicas": nodes,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {WARM_LABEL: shape.pool}},
            "template": template,
        },
    }


def buffer_template(shape: WarmShape, *, namespace: str) -> Json:
    """Return the PodTemplate that a CapacityBuffer's chunks are shaped like."""
    template = _template(shape)
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": _metadata(shape, namespace, template),
        "template": template,
    }


def capacity_buffer(shape: WarmShape, *, namespace: str, nodes: int) -> Json:
    """Return a CapacityBuffer of so many whole nodes, which the cluster autoscaler keeps beyond what pods hold."""
    return {
        "apiVersion": "autoscaling.x-k8s.io/v1beta1",
        "kind": "CapacityBuffer",
        "metadata": _metadata(shape, namespace, _template(shape)),
        "spec": {
            "podTemplateRef": {"name": name_of_pool(shape.pool)},
            "replicas": nodes,
            "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
        },
    }


def is_ours(thing: Mapping[str, Any], pool: str) -> bool:
    """Whether this controller made it, for this pool."""
    labels = thing.get("metadata", {}).get("labels") or {}
    return bool(labels.get(WARM_LABEL) == pool and labels.get("app.kubernetes.io/managed-by") == "foreserve")


def owned_labels(pool: str) -> dict[str, str]:
    """Return the labels of what this controller made for a pool."""
    return {**_OWNER, WARM_LABEL: pool}


def digest_of(thing: Mapping[str, Any]) -> str | None:
    """Return the digest of the pod that it was made with."""
    annotations = thing.get("metadata", {}).get("annotations") or {}
    digest = annotations.get(DIGEST)
    return digest if isinstance(digest, str) else None


def tolerations_of(templates: Sequence[Mapping[str, Any]]) -> tuple[Json, ...]:
    """Return what any of these pod templates tolerates, and the taint of GPU nodes, each once."""
    found: dict[str, Json] = {}
    gpu = {"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}
    for toleration in [gpu, *(one for spec in templates for one in spec.get("tolerations") or ())]:
        found[json.dumps(toleration, sort_keys=True)] = dict(toleration)
    return tuple(found[key] for key in sorted(found))


def _metadata(shape: WarmShape, namespace: str, template: Json) -> Json:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "name": name_of_pool(shape.pool),
        "namespace": namespace,
        "labels": owned_labels(shape.pool),
        "annotations": {DIGEST: digest},
    }


def _template(shape: WarmShape) -> Json:
    small = {"cpu": "10m", "memory": "16Mi"}
    return {
        "metadata": {
            "labels": owned_labels(shape.pool),
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
        },
        "spec": {
            "nodeSelector": {shape.pool_label: shape.pool},
            "tolerations": [dict(toleration) for toleration in shape.tolerations],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65535,
                "runAsGroup": 65535,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "pause",
                    "image": PAUSE_IMAGE,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {
                        "requests": {**small, _GPU: str(shape.gpus)},
                        "limits": {**small, _GPU: str(shape.gpus)},
                    },
                }
            ],
        },
    }
