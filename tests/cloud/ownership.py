"""Who wrote which field of an object last, as the API server notes it."""

from __future__ import annotations

import re

from controller.simulated_cloud.kube import Json


def owns(thing: Json, who: str) -> set[str]:
    """Return the paths of the fields that ``who`` wrote last, as ``spec.replicas``."""
    written = [
        entry.get("fieldsV1", {}) for entry in thing["metadata"].get("managedFields", ()) if entry["manager"] == who
    ]
    return {path for fields in written for path in _paths(fields, "")}


def _paths(fields: Json, prefix: str) -> set[str]:
    found = set()
    for key, below in fields.items():
        if key == ".":
            continue
        name = re.sub(r"^[fkv]:", "", key)
        path = f"{prefix}.{name}" if prefix else name
        found |= _paths(below, path) if below else {path}
    return found
