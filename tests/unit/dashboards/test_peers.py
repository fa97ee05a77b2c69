"""docs/dashboards.md tells where everything that the peers' dashboards show is here, and it is there."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from tests.panels import boards, panel_queries, panels
from tests.promql import selectors

PAGE = (Path(__file__).parents[3] / "docs/dashboards.md").read_text()
TITLES = {
    board["title"].removeprefix("Foreserve / "): {panel["title"] for panel in panels(board)}
    for board in boards().values()
}
GONE = {"ray_vllm_num_requests_swapped": "vLLM 0.29 swaps nothing"}


@cache
def ray_sources() -> str:
    """The code of Ray's dashboards of this stack, read without importing Ray."""
    found = importlib.util.find_spec("ray")
    if found is None or not found.submodule_search_locations:
        pytest.skip("Ray is not installed")
    folder = Path(found.submodule_search_locations[0]) / "dashboard/modules/metrics/dashboards"
    names = ("serve_dashboard_panels.py", "serve_deployment_dashboard_panels.py", "serve_llm_dashboard_panels.py")
    return "\n".join((folder / name).read_text() for name in names)


def rows() -> list[tuple[str, str]]:
    """Theirs and ours of every row of the tables."""
    cells = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [(theirs, ours) for theirs, ours in cells if ours.startswith((*TITLES, "nowhere"))]


def test_every_panel_of_ray_has_a_row() -> None:
    literal = set(re.findall(r'title="([^"]+)"', ray_sources())) - {
        "NIXL",
        "Cache",
        "Latency",
        "Throughput",
        "Scheduler",
    }
    labels = re.findall(r'_histogram_panels\(\s*"ray_\w+",\s*"([^"]+)"', ray_sources())
    titles = {title for title in literal if "{" not in title} | {
        f"{label} -- {kind}" for label in labels for kind in ("Mean", "P50", "P90")
    }
    rows_of_ray = {"Request Length", "KV Cache Offload / Reload", "Token Distribution"}
    listed = {title for theirs, _ in rows() for title in theirs.split("; ")}

    assert len(titles) > 70
    assert titles - rows_of_ray - listed == set()


@pytest.mark.parametrize(("peer", "least"), [("vllm", 55), ("haproxy-2-full", 110)])
def test_every_panel_of_a_peer_has_one_row(peer: str, least: int) -> None:
    """Titles as they stand in the peer's files at the commits that the list names."""
    lines = (Path(__file__).parents[2] / f"data/peers/{peer}.txt").read_text().splitlines()
    titles = [line for line in lines if line and not line.startswith("#")]
    listed = [title for theirs, _ in rows() for title in theirs.split("; ")]

    assert len(titles) >= least
    assert [title for title in titles if title not in listed] == []


def test_every_panel_that_a_row_names_is_there() -> None:
    missing = []
    for _, ours in rows():
        board, _, named = ours.partition(": ")
        if board == "nowhere":
            continue
        rest = named
        for title in sorted(set().union(*TITLES.values()), key=len, reverse=True):
            rest = rest.replace(title, "")
        missing += (
            [f"{board}: {named} ({rest})"] if re.sub(rf"[,:\s]|and by replica in|{'|'.join(TITLES)}", "", rest) else []
        )

    assert missing == []


def test_every_metric_that_ray_asks_for_is_asked_for_here() -> None:
    names = set(re.findall(r"\b((?:ray_(?:serve|vllm|node|object_store)|autoscaler)_[a-z0-9_]+)\b", ray_sources()))
    theirs = {name for name in names if not name.endswith("_")}
    ours = {selected.name for query in panel_queries() for selected in selectors(query.sent)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours} | ours

    missing = {name for name in theirs if re.sub(r"_(bucket|sum|count)$", "", name) not in families}

    assert missing == set(GONE)
