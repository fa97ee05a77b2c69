"""Queries of the committed dashboards as Grafana would send them, and a way to ask a Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from controller.catalog.metric import Metric
from tests.promql import CATALOGUE, selectors
from tests.unseen import UNSEEN, UNSEEN_LOCALLY

GENERATED = Path(__file__).parents[1] / "dashboards/generated"

EMPTY = {
    ("foreserve-service", "Firing alerts"): "nothing is wrong",
    ("foreserve-fleet", "GPUs in use"): "the recorded machine has no GPU",
}
"""Panels that rightly show nothing, each with the reason; those of metrics that were never seen are in UNSEEN."""

_VALUES = {
    "${horizon}": "2",
    ":1m]": ":1s]",  # the test lasts seconds
    "$__rate_interval": "10s",
    "$__interval": "5s",
    "$__range": "1m",
    "$cluster": ".*",
    "$application": ".*",
    "$deployment": ".*",
    "$model": ".*",
    "$signal": "ongoing_requests",
    "$gpus_per_replica": "1",
    "$price": "2.50",
}


@dataclass(frozen=True)
class PanelQuery:
    """One query, and the panel (or the annotation) that it belongs to."""

    dashboard: str
    panel: str
    expr: str

    @property
    def place(self) -> tuple[str, str]:
        return self.dashboard, self.panel

    @property
    def sent(self) -> str:
        return sent(self.expr)

    def unseen(self) -> list[str]:
        """Reasons why there may be no data: metrics that this kind of service does not have."""
        metrics: set[Metric] = {CATALOGUE[one.name] for one in selectors(self.expr) if one.name in CATALOGUE}
        return [UNSEEN[metric] for metric in metrics if metric in UNSEEN]

    @property
    def reason_on_local_stack(self) -> str | None:
        """The same on the stack of ``foreserve up``."""
        metrics = [CATALOGUE[one.name] for one in selectors(self.expr) if one.name in CATALOGUE]
        return self.reason or next((UNSEEN_LOCALLY[one] for one in metrics if one in UNSEEN_LOCALLY), None)

    @property
    def reason(self) -> str | None:
        """Why it may return nothing, or None: it must return something."""
        return EMPTY.get(self.place) or next(iter(self.unseen()), None)


def sent(expr: str, values: Mapping[str, str] = MappingProxyType({})) -> str:
    """Put every variable at its value: the one given, or the first one of the recorded service."""
    for name, value in {**_VALUES, **values}.items():
        expr = expr.replace(name, value)
    return expr


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(GENERATED.glob("*.json"))}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel but rows, those inside collapsed rows too."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def panel_queries() -> list[PanelQuery]:
    return [
        PanelQuery(name, panel["title"], target["expr"])
        for name, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
    ]


def annotation_queries(board: dict[str, Any]) -> list[str]:
    return [one["expr"] for one in board["annotations"]["list"] if not one.get("builtIn")]


async def ask(session: aiohttp.ClientSession, url: str, query: str) -> list[Any]:
    """Return the samples of an instant query. Raises AssertionError with Prometheus' message when it is wrong."""
    async with session.post(f"{url}/api/v1/query", data={"query": query}) as response:
        answer = await response.json()
    assert answer["status"] == "success", f"{query}: {answer.get('error')}"
    return list(answer["data"]["result"])
