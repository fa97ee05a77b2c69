"""The committed dashboards, as they are handed out: with addresses filled in, as ConfigMaps, compared with others.

Needs nothing but the committed files.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

GENERATED = Path(__file__).parent / "generated"
FOLDER = "Foreserve"

Board = dict[str, Any]


def load(*, controller_url: str | None = None, runbooks: str | None = None) -> tuple[Board, ...]:
    """Return the dashboards, linking to the controller and the runbooks at the addresses that are given."""
    addresses = {"controller": controller_url, "runbooks": runbooks}
    boards = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(GENERATED.glob("*.json")))
    return tuple(_addressed(board, addresses) for board in boards)


def text(board: Board) -> str:
    """Return a dashboard as the text of its file."""
    return json.dumps(board, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def config_map(board: Board, *, namespace: str | None, folder: str = FOLDER) -> dict[str, Any]:
    """Return a ConfigMap that Grafana's sidecar (of the Helm chart) picks up."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": board["uid"],
            **({"namespace": namespace} if namespace else {}),
            "labels": {"grafana_dashboard": "1", "app.kubernetes.io/name": "foreserve"},
            "annotations": {"grafana_folder": folder},
        },
        "data": {f"{board['uid']}.json": json.dumps(board, ensure_ascii=False, sort_keys=True, separators=(",", ":"))},
    }


def difference(wanted: Board, found: Mapping[str, Any]) -> list[str]:
    """Return a unified diff from what a Grafana has to what is wanted; empty when all that is wanted is there.

    Keys that Grafana added by itself are no difference, and neither is a newer schema version.
    """
    seen = _projected(found, wanted)
    if isinstance(found.get("schemaVersion"), int) and found["schemaVersion"] > wanted["schemaVersion"]:
        seen["schemaVersion"] = wanted["schemaVersion"]
    if seen == wanted:
        return []
    lines = difflib.unified_diff(
        text(seen).splitlines(), text(wanted).splitlines(), "in Grafana", "wanted", lineterm="", n=2
    )
    return list(lines)


def _addressed(board: Board, addresses: Mapping[str, str | None]) -> Board:
    board = copy.deepcopy(board)
    for variable, address in _named(board, addresses):
        variable["query"] = address
        variable["current"] = {"text": address, "value": address}
        variable["options"] = [{"selected": True, "text": address, "value": address}]
    return board


def _named(board: Board, addresses: Mapping[str, str | None]) -> Iterator[tuple[dict[str, Any], str]]:
    for variable in board["templating"]["list"]:
        address = addresses.get(variable["name"])
        if address is not None:
            yield variable, address.rstrip("/")


def _projected(found: Any, wanted: Any) -> Any:
    """Return what was found, without the keys of mappings that nobody asked for."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return {key: _projected(value, wanted[key]) for key, value in found.items() if key in wanted}
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [_projected(one, other) for one, other in zip(found, wanted, strict=True)]
    return found
