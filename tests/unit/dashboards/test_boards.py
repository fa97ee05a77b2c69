"""The committed dashboards are what is generated, and what current Grafana reads."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from alerts.export import groups
from controller.catalog.exported import BUILD_INFO, EXPORTED
from controller.catalog.watched import WATCHED
from controller.policy.load import load_policy
from dashboards.generate import files
from dashboards.panel import Panel, Query, Section, Unit, arranged
from tests.panels import EMPTY, GENERATED, annotation_queries, boards, panel_queries, panels, sent
from tests.promql import problems, selectors

pytestmark = pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")

BOARDS = boards()
NAMES = sorted(BOARDS)
KINDS = {"timeseries", "stat", "bargauge", "table"}
VARIABLES = {"datasource", "cluster", "application", "deployment", "model", "controller", "runbooks"}


def all_panels(name: str):
    return [*panels(BOARDS[name]), *(panel for panel in BOARDS[name]["panels"] if panel["type"] == "row")]


def test_the_committed_files_are_generated() -> None:
    committed = {path.name: path.read_text() for path in GENERATED.glob("*.json")}

    assert committed == files(), "run: python -m dashboards.generate"


@pytest.mark.parametrize("name", NAMES)
def test_a_typed_reader_and_writer_of_grafana_loses_nothing(name: str) -> None:
    again = json.loads(json.dumps(Dashboard.from_json(BOARDS[name]), cls=JSONEncoder))

    assert list(lost(BOARDS[name], again)) == []


def test_a_key_that_grafana_does_not_know_would_be_noticed() -> None:
    board = json.loads(json.dumps(BOARDS[NAMES[0]]))
    board["panels"][1]["titel"] = "typo"

    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))

    assert list(lost(board, again)) == [".panels[1].titel"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_named_for_its_uid(name: str) -> None:
    assert BOARDS[name]["uid"] == name
    assert BOARDS[name]["tags"] == ["foreserve"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_their_own_numbers_and_places(name: str) -> None:
    every = all_panels(name)

    assert len({panel["id"] for panel in every}) == len(every)
    for one, other in itertools.combinations(BOARDS[name]["panels"], 2):
        assert not overlap(one["gridPos"], other["gridPos"]), f"{one['title']} lies on {other['title']}"
    for row in BOARDS[name]["panels"]:
        for one, other in itertools.combinations(row.get("panels", []), 2):
            assert not overlap(one["gridPos"], other["gridPos"]), f"{one['title']} lies on {other['title']}"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_says_what_it_shows_in_which_unit(name: str) -> None:
    for panel in panels(BOARDS[name]):
        assert panel["type"] in KINDS, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        assert [target["refId"] for target in panel["targets"]] == sorted({t["refId"] for t in panel["targets"]})


@pytest.mark.parametrize("name", NAMES)
def test_titles_are_unique(name: str) -> None:
    titles = [panel["title"] for panel in all_panels(name)]

    assert sorted(titles) == sorted(set(titles))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_null_but_the_value_of_a_first_threshold(name: str) -> None:
    assert set(nulls(BOARDS[name])) <= {"steps[0].value"}


@pytest.mark.parametrize("name", NAMES)
def test_variables_links_and_annotations_are_there(name: str) -> None:
    board = BOARDS[name]

    assert {variable["name"] for variable in board["templating"]["list"]} >= VARIABLES
    assert {link["type"] for link in board["links"]} == {"dashboards", "link"}
    assert {one["name"] for one in board["annotations"]["list"]} >= {"Decisions", "Deploys", "Policies", "Pages"}


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_is_used_is_defined(name: str) -> None:
    defined = {variable["name"] for variable in BOARDS[name]["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z][a-z_]*)", json.dumps(BOARDS[name])))

    assert used <= defined | {"__data", "__rate_interval"}


@pytest.mark.parametrize("name", NAMES)
def test_every_query_names_only_what_the_catalogue_has(name: str) -> None:
    board = BOARDS[name]
    queries = [query.expr for query in panel_queries() if query.dashboard == name]
    queries += annotation_queries(board)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"(?:label_values|query_result)\((.*?)(?:, \w+)?\)", variable["query"])
            assert asked, variable["query"]
            queries.append(asked[1])

    assert {query: found for query in queries if (found := problems(sent(query)))} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_query_can_be_narrowed_to_one_cluster(name: str) -> None:
    rules_only = ("slo:", "ALERTS")

    unscoped = [
        query.expr
        for query in panel_queries()
        if query.dashboard == name and "$cluster" not in query.expr and not query.expr.startswith(rules_only)
    ]

    assert unscoped == []


def test_everything_that_the_controller_exports_is_shown() -> None:
    shown = {selected.name for query in panel_queries() for selected in selectors(query.sent)}

    assert {metric.name for metric in EXPORTED if not shown & set(metric.sample_names)} == {BUILD_INFO.name}


def test_nothing_is_catalogued_for_dashboards_and_alerts_that_they_do_not_ask_for() -> None:
    policy = load_policy(Path(__file__).parents[3] / "manifests/policies/full.yaml").policy
    asked = [query.sent for query in panel_queries()] + [rule.expr for group in groups(policy) for rule in group.rules]
    used = {selected.name for query in asked for selected in selectors(query)}

    assert [metric.name for metric in WATCHED if not used & set(metric.sample_names)] == []


def test_reasons_are_about_panels_that_exist() -> None:
    titles = {(query.dashboard, query.panel) for query in panel_queries()}

    assert set(EMPTY) <= titles


def test_panels_flow_from_left_to_right_and_then_down() -> None:
    query = (Query("up"),)
    wide, narrow = (
        Panel(title="w", description="d.", unit=Unit.NONE, queries=query, width=width, height=height)
        for width, height in ((16, 9), (8, 5))
    )

    placed = arranged(
        [Section("one", (wide, narrow, narrow)), Section("two", (narrow,), collapsed=True), Section("three", ())]
    )

    assert [(p.gridPos.x, p.gridPos.y) for p in placed] == [(0, 0), (0, 1), (16, 1), (0, 10), (0, 15), (0, 16)]
    assert [(p.gridPos.x, p.gridPos.y) for p in placed[-2].panels] == [(0, 16)]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


def lost(before, after, path: str = ""):
    """Paths of what is in ``before`` and not the same in ``after``."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield path


def nulls(value, path: str = ""):
    """The last two parts of the path of every null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from nulls(inner, f"{path.rsplit('.', 1)[-1]}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from nulls(inner, f"{path.rsplit('.', 1)[-1]}[{index}]")
    elif value is None:
        yield path
