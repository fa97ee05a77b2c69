"""What is read out of any Kubernetes object. Missing and malformed fields are None, never a guess. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Json = Mapping[str, Any]

GPU = "nvidia.com/gpu"


def part(thing: Json, *path: str) -> Json:
    """Return an object inside an object, empty where there is none."""
    for key in path:
        inner = thing.get(key)
        if not isinstance(inner, Mapping):
            return {}
        thing = inner
    return thing


def parts(thing: Json, key: str) -> tuple[Json, ...]:
    """Return the objects of a list, none where there is no list."""
    found = thing.get(key)
    return tuple(one for one in found if isinstance(one, Mapping)) if isinstance(found, list) else ()


def name_of(thing: Json) -> str:
    """Return its ``metadata.name``."""
    return str(part(thing, "metadata").get("name") or "")


def labels_of(thing: Json) -> Json:
    """Return its labels."""
    return part(thing, "metadata", "labels")


def moment(text: object) -> float | None:
    """Read a time as the API server writes it (RFC 3339, with or without fractions), in Unix seconds."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()


def created_at(thing: Json) -> float | None:
    """When it was created."""
    return moment(part(thing, "metadata").get("creationTimestamp"))


def leaving(thing: Json) -> bool:
    """Whether it is being deleted."""
    return part(thing, "metadata").get("deletionTimestamp") is not None


def condition(thing: Json, kind: str) -> Json:
    """Return the condition of this type, empty where there is none."""
    return next((one for one in parts(part(thing, "status"), "conditions") if one.get("type") == kind), {})


def holds(thing: Json, kind: str) -> bool:
    """Whether the condition of this type is true."""
    return condition(thing, kind).get("status") == "True"


def whole(value: object) -> int | None:
    """Read a count; GPUs come as text, and never in parts."""
    try:
        return int(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
    except ValueError:
        return None


def gpus_of_pod(pod: Json) -> int:
    """GPUs that a pod holds: of all its containers, or of the init container that takes the most."""
    spec = part(pod, "spec")
    return max(
        sum(_gpus(container) for container in parts(spec, "containers")),
        max((_gpus(container) for container in parts(spec, "initContainers")), default=0),
    )


def over(pod: Json) -> bool:
    """Whether a pod has ended, and holds nothing any more."""
    return part(pod, "status").get("phase") in {"Succeeded", "Failed"}


def first_start(statuses: Iterable[Json]) -> float | None:
    """When the first of these containers started."""
    starts = [
        moment(part(status, "state", phase).get("startedAt"))
        for status in statuses
        for phase in ("running", "terminated")
    ] + [moment(part(status, "lastState", "terminated").get("startedAt")) for status in statuses]
    return min((start for start in starts if start is not None), default=None)


def _gpus(container: Json) -> int:
    resources = part(container, "resources")
    return whole(part(resources, "limits").get(GPU)) or whole(part(resources, "requests").get(GPU)) or 0
