"""The few kinds of panels that the dashboards are made of, on top of grafanalib."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from grafanalib.core import GridPos, RowPanel, Stat, Table, Target, TimeSeries

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
_ROW_HEIGHT = 1
_WIDE = 8
"""From this width on a legend has room for figures."""


class Unit(StrEnum):
    """Grafana's names of the units in use."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    COUNT = "short"
    SHARE = "percentunit"
    PERCENT = "percent"
    BYTES = "bytes"
    BYTES_PER_SECOND = "Bps"
    MEGABYTES = "decmbytes"
    REQUESTS_PER_SECOND = "reqps"
    PER_SECOND = "cps"
    HOURS = "h"
    MONEY = "currencyUSD"
    YES_NO = "bool_yes_no"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query of a panel, and how its series are named."""

    expr: str
    legend: str = ""


class Shape(StrEnum):
    """How a panel shows its series."""

    LINES = "lines"
    STACK = "stack"
    BARS = "bars"
    NUMBERS = "numbers"
    BAR_GAUGE = "bar_gauge"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. ``description`` says what is good and what to do otherwise.

    ``thresholds`` are (from which value, colour); below the first everything has the ``base`` colour. ``bands`` are
    (upper series, lower series) whose space between is filled. ``dashed`` are series that promise or
    limit. Width is in Grafana's 24 columns.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    shape: Shape = Shape.LINES
    width: int = 8
    height: int = 7
    thresholds: tuple[tuple[float, str], ...] = ()
    base: str = "green"
    bands: tuple[tuple[str, str], ...] = ()
    dashed: tuple[str, ...] = ()
    minimum: float | None = 0
    maximum: float | None = None
    decimals: int | None = None
    links: tuple[tuple[str, str], ...] = ()
    hidden_columns: tuple[str, ...] = ("Time", "__name__", "instance", "job")
    names: Mapping[str, str] = field(default_factory=dict)
    """Text for a value, in tables and numbers."""


def line(
    title: str,
    description: str,
    unit: Unit,
    *queries: Query,
    dashed: tuple[str, ...] = (),
    minimum: float | None = 0,
) -> Panel:
    """Return a quarter-width panel of lines."""
    return Panel(
        title=title, description=description, unit=unit, queries=queries, width=6, dashed=dashed, minimum=minimum
    )


@dataclass(frozen=True, slots=True)
class Section:
    """A row of panels under a title."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


def arranged(sections: Sequence[Section]) -> list[Any]:
    """Lay sections out from top to bottom, panels from left to right, and number everything."""
    built: list[Any] = []
    numbers = iter(range(1, 10_000))
    y = 0
    for section in sections:
        row_id, row_at = next(numbers), GridPos(h=_ROW_HEIGHT, w=WIDTH, x=0, y=y)
        y += _ROW_HEIGHT
        placed = [
            _build(panel, next(numbers), GridPos(h=panel.height, w=panel.width, x=x, y=y + below))
            for panel, x, below in _flow(section.panels)
        ]
        # Grafana keeps no room for a closed row; opening it moves the rest down.
        y += 0 if section.collapsed else _height(section.panels)
        row = RowPanel(
            title=section.title,
            id=row_id,
            gridPos=row_at,
            collapsed=section.collapsed,
            panels=placed if section.collapsed else [],
        )
        built += [row] if section.collapsed else [row, *placed]
    return built


def _flow(panels: Sequence[Panel]) -> Iterator[tuple[Panel, int, int]]:
    x = below = tallest = 0
    for panel in panels:
        if x + panel.width > WIDTH:
            x, below, tallest = 0, below + tallest, 0
        yield panel, x, below
        x += panel.width
        tallest = max(tallest, panel.height)


def _height(panels: Sequence[Panel]) -> int:
    return max((below + panel.height for panel, _, below in _flow(panels)), default=0)


def _build(panel: Panel, number: int, place: GridPos) -> Any:
    built = _KINDS[panel.shape](panel)
    built.id, built.gridPos = number, place
    return built


def _shared(panel: Panel, *, instant: bool) -> dict[str, Any]:
    return {
        "title": panel.title,
        "description": panel.description,
        "dataSource": DATASOURCE,
        "maxDataPoints": None,
        "targets": [
            Target(
                expr=query.expr,
                legendFormat=query.legend or "__auto",
                refId=letter,
                datasource=DATASOURCE,
                instant=instant,
                format="table" if panel.shape is Shape.TABLE else "time_series",
            )
            for query, letter in zip(panel.queries, string.ascii_uppercase, strict=False)
        ],
        "thresholds": _steps(panel),
    }


def _steps(panel: Panel) -> list[dict[str, Any]]:
    return [{"color": panel.base, "value": None}, *({"color": colour, "value": at} for at, colour in panel.thresholds)]


def _defaults(panel: Panel) -> dict[str, Any]:
    mappings = [
        {
            "type": "value",
            "options": {
                value: {"text": text, "index": index} for index, (value, text) in enumerate(panel.names.items())
            },
        }
    ]
    given = {
        "unit": panel.unit.value,
        "min": panel.minimum,
        "max": panel.maximum,
        "decimals": panel.decimals,
        "mappings": mappings if panel.names else [],
        "links": [{"title": title, "url": url, "targetBlank": True} for title, url in panel.links],
    }
    return {key: value for key, value in given.items() if value is not None}


def _time_series(panel: Panel) -> Any:
    stacked, bars = panel.shape is Shape.STACK, panel.shape is Shape.BARS
    return TimeSeries(
        **_shared(panel, instant=False),
        drawStyle="bars" if bars else "line",
        fillOpacity=70 if bars else 25 if stacked else 0,
        stacking={"mode": "normal", "group": "A"} if stacked or bars else {"mode": "none", "group": "A"},
        showPoints="never",
        legendDisplayMode="table" if panel.width >= _WIDE else "list",
        legendPlacement="bottom",
        legendCalcs=["mean", "max", "lastNotNull"] if panel.width >= _WIDE else [],
        tooltipMode="multi",
        tooltipSort="desc",
        thresholdsStyleMode="line" if panel.thresholds else "off",
        unit=panel.unit.value,
        overrides=[*map(_band, panel.bands), *map(_dash, panel.dashed)],
        extraJson={"fieldConfig": {"defaults": _defaults(panel)}},
    )


def _band(band: tuple[str, str]) -> dict[str, Any]:
    upper, lower = band
    return {
        "matcher": {"id": "byName", "options": upper},
        "properties": [{"id": "custom.fillBelowTo", "value": lower}, {"id": "custom.fillOpacity", "value": 15}],
    }


def _dash(name: str) -> dict[str, Any]:
    return {
        "matcher": {"id": "byRegexp", "options": name},
        "properties": [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}}],
    }


def _numbers(panel: Panel) -> Any:
    return Stat(
        **_shared(panel, instant=False),
        format=panel.unit.value,
        reduceCalc="lastNotNull",
        noValue="no data",
        textMode="auto",
        graphMode="area",
        color={"mode": "thresholds"},
        extraJson={"fieldConfig": {"defaults": _defaults(panel)}},
    )


def _bar_gauge(panel: Panel) -> Any:
    """Take Stat, which has the current options; grafanalib's BarGauge has those of Grafana 6."""
    built = _numbers(replace(panel, shape=Shape.NUMBERS))
    built.extraJson |= {
        "type": "bargauge",
        "options": {"displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color"},
    }
    return built


def _table(panel: Panel) -> Any:
    return Table(
        **_shared(panel, instant=True),
        unit=panel.unit.value,
        filterable=True,
        transformations=[
            {"id": "organize", "options": {"excludeByName": dict.fromkeys(panel.hidden_columns, True)}},
        ],
        extraJson={"fieldConfig": {"defaults": {**_defaults(panel), "color": {"mode": "thresholds"}}}},
    )


_KINDS = {
    Shape.LINES: _time_series,
    Shape.STACK: _time_series,
    Shape.BARS: _time_series,
    Shape.NUMBERS: _numbers,
    Shape.BAR_GAUGE: _bar_gauge,
    Shape.TABLE: _table,
}
