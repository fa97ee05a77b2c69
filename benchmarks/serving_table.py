"""The results of ``benchmarks/serving.py`` as a table, ratios first, and a chart in text."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

BEGIN = "<!-- serving: begin (generated) -->"
END = "<!-- serving: end -->"
NAMES: Mapping[str, str] = {
    "python": "(a) Python proxy, ingress",
    "haproxy": "(b) HAProxy, ingress",
    "direct": "(c) HAProxy, Ray's direct streaming",
    "straight": "(c') the same, no router asked",
    "plain": "(d) plain engine server",
}
ENGINES: Mapping[str, str] = {
    "vllm": "vLLM on the CPU, tiny model",
    "none": "Engine at no cost: orchestration alone",
    "gpu": "vLLM on a GPU",
}
_RATIOS = (
    ("straight", "python"),
    ("straight", "direct"),
    ("straight", "plain"),
    ("direct", "python"),
    ("direct", "plain"),
)
_SHOWN = ("rps", "ttft_p50_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p99_ms")
_BAR = 40
_APART = " Ways that were not up at the same time are compared by way of (c')."

_REFERENCE = "straight"
"""What is up beside every other way."""

Cells = Mapping[tuple[str, str, int, int], Sequence[Mapping[str, Any]]]
"""By engine, way, replicas and users."""
Here = Mapping[tuple[str, int, int], Sequence[Mapping[str, Any]]]
"""The same of one engine."""


def load(keep: Path) -> Cells:
    """Read every cell, by engine, way, replicas and users."""
    cells: dict[tuple[str, str, int, int], list[Mapping[str, Any]]] = defaultdict(list)
    for path in sorted(keep.glob("*.json")):
        one = json.loads(path.read_text())
        cells[one["engine"], one["way"], one["replicas"], one["users"]].append(one)
    return cells


def render(cells: Cells) -> str:
    """Return everything that is measured, engine by engine."""
    engines = [engine for engine in ENGINES if any(key[0] == engine for key in cells)]
    return "\n\n".join(_engine(cells, engine) for engine in engines)


def write_docs(document: Path, keep: Path) -> None:
    """Write it between the markers of ``document``."""
    text = document.read_text()
    head, _, rest = text.partition(BEGIN)
    if not rest:
        msg = f"{document} has no {BEGIN}"
        raise SystemExit(msg)
    tail = rest.partition(END)[2]
    document.write_text(f"{head}{BEGIN}\n{render(load(keep))}\n{END}{tail}")


def _engine(cells: Cells, engine: str) -> str:
    here = {key[1:]: runs for key, runs in cells.items() if key[0] == engine}
    loads = [one["load_before"] for runs in here.values() for one in runs]
    rounds = {len(runs) for runs in here.values()}
    counted = f"{min(rounds)} to {max(rounds)}" if len(rounds) > 1 else f"{rounds.pop()}"
    failed = sum(one["failed"] for runs in here.values() for one in runs)
    head = (
        f"### {ENGINES[engine]}\n\n"
        f"Medians of {counted} rounds; load average before a run {min(loads):.1f} to {max(loads):.1f}; "
        f"{failed} failed requests in all."
    )
    apart = "" if all("together" not in one or len(one["together"]) == len(NAMES) for one in _runs(here)) else _APART
    head = f"{head}{apart} Throughput ratio (ratio of p99 TTFT):"
    return "\n\n".join([head, _ratios(here), _table(here), _chart(here)])


def _runs(here: Here) -> Iterable[Mapping[str, Any]]:
    return (one for runs in here.values() for one in runs)


def _ratios(here: Here) -> str:
    places = sorted({key[1:] for key in here})
    rows = [["", *(f"{replicas} x, {users} users" for replicas, users in places)]]
    for one, other in _RATIOS:
        row = [f"{NAMES[one].split(')')[0]}) / {NAMES[other].split(')')[0]})"]
        row += [_ratio(here, one, other, place) for place in places]
        if set(row[1:]) != {"-"}:
            rows.append(row)
    return _markdown(rows)


def _ratio(here: Here, one: str, other: str, place: tuple[int, int]) -> str:
    rate = _compared(here, one, other, place, "rps")
    wait = _compared(here, one, other, place, "ttft_p99_ms")
    return "-" if rate is None or wait is None else f"{rate:.2f} ({wait:.2f})"


def _compared(here: Here, one: str, other: str, place: tuple[int, int], name: str) -> float | None:
    """Return the ratio of two ways from runs of the same company; by way of the reference where there are none."""
    beside = _beside(here, one, other, place, name)
    if beside is not None or _REFERENCE in {one, other}:
        return beside
    left, right = _beside(here, one, _REFERENCE, place, name), _beside(here, other, _REFERENCE, place, name)
    return None if left is None or right is None else left / right


def _beside(here: Here, one: str, other: str, place: tuple[int, int], name: str) -> float | None:
    """Return the median, over companies in which both were up, of the ratio of their medians."""
    ours, theirs = here.get((one, *place), ()), here.get((other, *place), ())
    ratios = [
        _median((run for run in ours if _company(run) == company), name)
        / _median((run for run in theirs if _company(run) == company), name)
        for company in {_company(run) for run in ours} & {_company(run) for run in theirs}
    ]
    return median(ratios) if ratios else None


def _company(run: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(run.get("together", NAMES))


def _table(here: Here) -> str:
    rows = [["", "replicas", "users", "requests/s", "TTFT p50 ms", "TTFT p99 ms", "ITL p50 ms", "ITL p99 ms", "load"]]
    for way in NAMES:
        for (found, replicas, users), runs in sorted(here.items()):
            if found == way:
                values = [f"{_median(runs, name):.1f}" for name in _SHOWN]
                rows.append([NAMES[way], str(replicas), str(users), *values, f"{_median(runs, 'load_before'):.0f}"])
    return _markdown(rows)


def _chart(here: Here) -> str:
    """Draw requests per second at one replica as bars."""
    shown = {key: _median(runs, "rps") for key, runs in here.items() if key[1] == 1}
    if not shown:
        return ""
    widest, lines = max(shown.values()), ["requests/s, one replica", ""]
    for users in sorted({key[2] for key in shown}):
        lines.append(f"{users} users")
        for way, name in NAMES.items():
            if (way, 1, users) in shown:
                value = shown[way, 1, users]
                lines.append(f"  {name:36s} {'█' * max(1, round(_BAR * value / widest))} {value:.0f}")
    return "\n".join(["```", *lines, "```"])


def _median(runs: Iterable[Mapping[str, Any]], name: str) -> float:
    return median(float(one[name]) for one in runs)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rest)]
    return "\n".join(lines)
