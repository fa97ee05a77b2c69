"""foreserve decide plans nodes and workers, too, where a line tells of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from controller.decisions.checkpoint import restore, save
from controller.decisions.lines import answer
from controller.decisions.message import dump_line, json_schema
from controller.decisions.session import Session
from controller.policy.load import load_policy

POLICY = """\
version: 1
control: {interval_s: 10}
deployments:
  - application: chat
    deployment: LLMServer:llama
    limits: {max_replicas: 8}
    capacity: {target_ongoing_requests: 4}
    placement: {accelerator: nvidia-l4}
    forecast: {enabled: false}
cluster:
  worker_groups:
    - {name: l4, accelerator: nvidia-l4, gpus_per_worker: 1, max_workers: 8}
  node_pools:
    - {name: first, accelerator: nvidia-l4, gpus_per_node: 1, zones: [a], bounds: {max_nodes: 8}, assumed_lead_s: 300}
    - {name: second, accelerator: nvidia-l4, gpus_per_node: 1, zones: [a], bounds: {max_nodes: 8}, assumed_lead_s: 300, order: 1}
"""  # noqa: E501
NAME = "chat/LLMServer:llama"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    begun = Session(load_policy(path))
    for at in (970, 980, 990):
        assert ask(begun, told(at))["cluster"]["steps"] == []  # no node is ordered for a single reading
    return begun


def node(number: int, *, replicas: int = 1, state: str = "ready") -> dict[str, Any]:
    replica = {"replica": f"r{number}", "deployment": NAME}
    worker = {"name": f"w{number}", "group": "l4", "gpus": 1, "since": 100, "replicas": [replica] * replicas}
    workers = [worker] if state == "ready" else []
    return {
        "name": f"n{number}",
        "pool": "first",
        "zone": "a",
        "gpus": 1,
        "state": state,
        "since": 50,
        "workers": workers,
    }


def told(at: float, *, ongoing: float = 15.0, target: int = 1, **cluster: Any) -> dict[str, Any]:
    deployment = {
        "deployment": NAME,
        "target": target,
        "replicas": {"running": 1},
        "demand": {"ongoing_requests": {"value": ongoing}},
    }
    found = {"nodes": [node(1)], "groups": [{"name": "l4", "min_workers": 1, "max_workers": 1}], "warm": {}}
    return {"schema": 1, "at": at, "deployments": [deployment], "cluster": found | cluster}


def ask(session: Session, line: dict[str, Any], number: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dump_line(answer(session, json.dumps(line).encode(), number)))
    return found


def test_demand_without_room_orders_nodes_and_asks_serve_for_no_replica_that_has_no_place(session: Session) -> None:
    found = ask(session, told(1000))

    pool = found["cluster"]["pools"][0]
    assert (pool["pool"], pool["nodes"], pool["new"]) == ("first", 4, 3)
    step = found["cluster"]["steps"][0]
    assert (step["layer"], step["name"], step["wanted"]) == ("node", "first", 4)
    assert (found["plan"][0]["desired"], found["plan"][0]["reason"]) == (1, "no_place")


def test_what_was_set_is_coming_and_is_not_ordered_again(session: Session) -> None:
    ask(session, told(1000))

    applied = [{"layer": "node", "name": "first", "status": "applied"}]
    (pool, *_) = ask(session, told(1010, applied=applied), 2)["cluster"]["pools"]

    assert (pool["nodes"], pool["coming"], pool["new"]) == (4, 3, 0)


def test_what_was_not_set_is_planned_again(session: Session) -> None:
    ask(session, told(1000))

    applied = [{"layer": "node", "name": "first", "status": "failed"}]
    (pool, *_) = ask(session, told(1010, applied=applied), 2)["cluster"]["pools"]

    assert (pool["nodes"], pool["coming"], pool["new"]) == (4, 0, 3)


def test_warm_capacity_that_stands_as_planned_tells_that_it_was_set(session: Session) -> None:
    ask(session, told(1000))

    (pool, *_) = ask(session, told(1010, warm={"first": 3}), 2)["cluster"]["pools"]

    assert (pool["coming"], pool["new"]) == (3, 0)


def test_a_stock_out_is_answered_from_the_next_pool(session: Session) -> None:
    ask(session, told(1000))

    refused = [{"pool": "first", "at": 1005, "kind": "stocked_out", "detail": "GCE_STOCKOUT"}]
    found = ask(session, told(1010, refusals=refused), 2)["cluster"]

    assert [(one["pool"], one["new"]) for one in found["pools"]] == [("first", 0), ("second", 3)]
    assert [(one["pool"], one["kind"]) for one in found["verdicts"]] == [("first", "stocked_out")]


def test_workers_come_with_ready_nodes_and_replicas_with_them(session: Session) -> None:
    nodes = [node(1), *(node(number) | {"workers": []} for number in (2, 3, 4))]

    found = ask(session, told(1000, nodes=nodes))

    (group,) = found["cluster"]["groups"]
    assert (group["min_workers"], group["busy"]) == (4, 1)
    assert found["plan"][0]["desired"] == 4


def test_unknown_nodes_hold_the_layers_below_and_the_replicas_no_longer_than_a_reading_counts(session: Session) -> None:
    unknown: dict[str, Any] = {"nodes": None, "groups": None, "unknown": "the API server does not answer"}

    found, *_, later = [ask(session, told(at, **unknown)) for at in (1000, 1010, 1020, 1030)]

    assert found["cluster"]["held"] is not None
    assert found["cluster"]["problems"] == ["the API server does not answer"]
    assert [one["plan"][0]["desired"] for one in (found, later)] == [1, 4]


def test_a_line_without_a_cluster_plans_replicas_only(session: Session) -> None:
    line = told(1000)
    del line["cluster"]

    found = ask(session, line)

    assert found["cluster"] is None
    assert found["plan"][0]["desired"] == 4


def test_what_was_ordered_is_remembered_in_the_state_file(session: Session, tmp_path: Path) -> None:
    ask(session, told(1000))
    save(session, tmp_path / "state")
    later = Session(session.loaded)
    restore(later, tmp_path / "state")

    (pool, *_) = ask(later, told(1010, warm={"first": 3}), 2)["cluster"]["pools"]

    assert (pool["coming"], pool["new"]) == (3, 0)


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"nodes": [node(1) | {"pool": "third"}]}, "cluster.nodes.0.pool", "third is not in the policy"),
        ({"nodes": [node(1), node(1)]}, "cluster", "node n1 is told twice"),
        ({"nodes": [node(1, replicas=2)]}, "cluster", "replica r1 is told twice"),
        ({"nodse": []}, "cluster.nodse", "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_answered_with_its_key(
    session: Session, change: dict[str, Any], key: str, said: str
) -> None:
    error = ask(session, told(1000, **change))["error"]

    assert error["key"] == key
    assert said in error["message"]


def test_answers_are_as_the_schema_says(session: Session) -> None:
    schema = json_schema()
    line = told(1000, refusals=[{"pool": "first", "at": 990, "kind": "quota"}])

    jsonschema.validate(line, schema["input"])
    jsonschema.validate(ask(session, line), schema["output"])
