"""The shipped overlays, as kustomize builds them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

MANIFESTS = Path(__file__).parents[1] / "manifests"
OVERLAYS = ("gke-standard", "gke-autopilot", "local")
NO_KUBECTL = "kubectl, which builds the overlays, is not on PATH"

Json = dict[str, Any]


def kubectl() -> str | None:
    return shutil.which("kubectl")


@cache
def built(overlay: str) -> tuple[Json, ...]:
    """Build an overlay; every object of it."""
    command = [kubectl() or "kubectl", "kustomize", str(MANIFESTS / "overlays" / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return tuple(document for document in YAML(typ="safe").load_all(text) if document)


def of_kind(overlay: str, kind: str) -> list[Json]:
    return [document for document in built(overlay) if document["kind"] == kind]
