"""foreserve decide: lines in, lines out, and the same brain as the loop's."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest

from controller.cli.main import main
from controller.decisions.checkpoint import restore, save
from controller.decisions.lines import answer, read_lines
from controller.decisions.message import PlanLine, dump_line, json_schema
from controller.decisions.session import Session
from controller.domain.plan import Action, CapacitySource
from controller.domain.reading import Known
from controller.domain.signals import MEASURED
from controller.loop.perception import Perception
from controller.planner.ownership import REDEPLOY, SECOND_WRITER, read_at
from controller.policy.load import load_policy
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.outcome import Objectives
from tests.simulated import cluster_of, steady

POLICY = """\
version: 1
deployments:
  - application: chat
    deployment: LLMServer:llama
    limits: {max_replicas: 12}
    capacity: {target_ongoing_requests: 20}
    stabilisation: {downscale_delay_s: 120}
"""
NAME = "chat/LLMServer:llama"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def line(at: float, ongoing: float | None = 10.0, *, target: int = 1, **more: object) -> dict[str, object]:
    told = {"unknown": "no scrape"} if ongoing is None else {"value": ongoing, "age_s": 1}
    deployment = {
        "deployment": NAME,
        "target": target,
        "replicas": {"running": target},
        "demand": {"ongoing_requests": told},
    }
    return {"schema": 1, "at": at, "deployments": [deployment | more]}


def ask(policy: Path, lines: list[object], *, max_bytes: int = 4000) -> list[dict]:
    stream = io.BytesIO(text_of(lines).encode())
    session = Session(load_policy(policy))
    read = enumerate(read_lines(stream, max_bytes=max_bytes), start=1)
    return [json.loads(dump_line(answer(session, one, number))) for number, one in read]


def text_of(lines: list[object]) -> str:
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The whole command, without the seconds that a process of its own takes to start."""

    def of(arguments: list[str], lines: list[object]) -> tuple[int, list[dict], str]:
        monkeypatch.setattr("sys.argv", ["foreserve", "decide", *arguments])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text_of(lines).encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), [json.loads(answered) for answered in said.out.splitlines()], said.err

    return of


def command(arguments: list[str]) -> list[str]:
    start = "import sys; from controller.cli.main import main; sys.argv[0] = 'foreserve'; main()"
    return [sys.executable, "-c", start, "decide", *arguments]


def test_demand_that_rises_is_answered_with_more_replicas(run, policy):
    lines = [line(10.0 * tick, 10 if tick < 5 else 70) for tick in range(8)]
    code, answers, errors = run(["--policy", str(policy)], lines)

    assert (code, errors) == (0, "")
    assert [one["line"] for one in answers] == list(range(1, 9))
    assert answers[0]["plan"][0]["desired"] == 1
    assert answers[-1]["plan"][0]["desired"] == 4
    assert answers[-1]["plan"][0]["action"] == "scale_up"


@pytest.mark.parametrize(
    ("bad", "key", "said"),
    [
        ("{", "", "is not JSON"),
        ("", "", "is empty"),
        ("x" * 5000, "", "longer than 4000 bytes"),
        ("[1]", "", "SnapshotLine"),
        (line(5) | {"schema": 2}, "schema", "Input should be 1; found '2'"),
        (line(5, more=1), "deployments.0.more", "Extra inputs are not permitted"),
        (line(5, -1.0), "deployments.0.demand.ongoing_requests.value", "greater than or equal to 0"),
        (line(5, target="two"), "deployments.0.target", "valid integer"),
        (line(5, demand={"ongoing_requests": {}}), "deployments.0.demand.ongoing_requests", 'either {"value"'),
        (line(5, demand={"work": {"value": 1}}), "deployments.0.demand.work.[key]", "'ongoing_requests'"),
        (line(5, deployment="chat/other"), "deployments.0.deployment", f"is not in the policy, which has {NAME}"),
        (line(0), "at", "0 is not later than 0, the last line's"),
        ('{"schema": 1, "at": NaN, "deployments": []}', "at", "finite number"),
    ],
)
def test_a_bad_line_is_told_by_number_and_key_and_changes_nothing(policy, bad, key, said):
    answers = ask(policy, [line(0), bad, line(10)])

    assert [one["line"] for one in answers] == [1, 2, 3]
    assert answers[1]["error"]["key"] == key
    assert said in answers[1]["error"]["message"]
    assert answers[2]["plan"] == ask(policy, [line(0), line(10)])[1]["plan"]


def test_bad_lines_are_told_on_both_sides_and_at_the_end(run, policy):
    arguments = ["--policy", str(policy), "--max-line-bytes", "1000"]
    code, answers, errors = run(arguments, [line(0), "x" * 5000, line(10)])

    assert code == 2
    assert ["error" in one for one in answers] == [False, True, False]
    assert "foreserve: line 2: longer than 1000 bytes; raise --max-line-bytes" in errors


def test_a_bad_line_ends_it_when_asked_to(run, policy):
    code, answers, _ = run(["--policy", str(policy), "--on-error", "stop"], [line(0), "{", line(10)])

    assert (code, len(answers)) == (2, 2)


def test_what_is_unknown_lowers_nothing(policy):
    steps = [line(10.0 * tick, 70, target=4) for tick in range(5)]
    steps += [line(10.0 * tick, None, target=4) for tick in range(5, 60)]
    steps += [{"schema": 1, "at": 10.0 * tick, "deployments": []} for tick in range(60, 70)]
    answers = ask(policy, steps)

    assert {one["plan"][0]["action"] for one in answers} == {"none"}


def test_a_reading_that_is_too_old_is_unknown(policy):
    old = line(0, demand={"ongoing_requests": {"value": 500, "age_s": 31}})
    answers = ask(policy, [old])

    assert answers[0]["plan"][0]["reason"] == "no_data"


def test_memory_is_kept_in_the_file_and_gone_on_from(policy, tmp_path):
    state = tmp_path / "state"
    before, after = Session(load_policy(policy)), Session(load_policy(policy))
    first = [line(0.0), line(10.0, 70), line(20.0, 70, target=4, started_s=[40.0, 41.0, 42.0])]
    for number, one in enumerate(first):
        answer(before, json.dumps(one).encode(), number)
    save(before, state)
    restore(after, state)
    answers = [json.loads(dump_line(answer(after, json.dumps(line(30.0, 70, target=4)).encode(), 1)))]

    assert answers[0]["plan"][0]["lead"]["source"] == "measured"
    assert answers[0]["plan"][0]["lead"]["samples"] == 3
    assert answers[0]["ledger"][0]["to_replicas"] == 4
    assert list(tmp_path.glob("state.*")) == []


def test_a_file_that_is_no_memory_is_left_alone(run, policy, tmp_path):
    state = tmp_path / "state"
    state.write_text("notes")
    code, _, errors = run(["--policy", str(policy), "--state", str(state)], [])

    assert code == 2
    assert "name a file that foreserve decide wrote" in errors
    assert state.read_text() == "notes"


@pytest.mark.parametrize("told", ["refused", "failed", "advised"])
def test_what_was_not_applied_is_not_ordered(policy, told):
    applied = line(20.0, 70, target=1, applied={"status": told, "detail": "quota"})
    answers = ask(policy, [line(0.0), line(10.0, 70), applied])

    assert answers[1]["plan"][0]["action"] == "scale_up"
    assert answers[2]["ledger"] == []


def test_nothing_is_lowered_while_a_deployment_is_updated(policy):
    lines = [line(10.0 * tick, 10, target=4, updating=tick >= 10) for tick in range(30)]
    answers = ask(policy, lines)
    settled = ask(policy, [line(10.0 * tick, 10, target=4) for tick in range(30)])

    assert {one["plan"][0]["action"] for one in answers} == {"none"}
    assert answers[-1]["plan"][0]["reason"] == "unsettled"
    assert "scale_down" in {one["plan"][0]["action"] for one in settled}


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({}, SECOND_WRITER),
        ({"config_replicas": 2}, SECOND_WRITER),
        ({"config_replicas": 1}, REDEPLOY),
        ({"target_age_s": 10.0}, None),
    ],
)
def test_a_target_that_is_not_ours_is_told_by_the_configuration_and_by_when_it_was_read(policy, more, cause):
    applied = {"applied": {"status": "applied"}}
    answers = ask(policy, [line(0.0), line(10.0, 70), line(20.0, 70, target=1, **applied, **more)])

    assert answers[1]["plan"][0]["desired"] == 4
    assert [one["cause"] for one in answers[2]["conflicts"]] == ([] if cause is None else [cause])


def test_sigterm_keeps_the_memory(run, policy, tmp_path):
    state = tmp_path / "state"
    process = subprocess.Popen(
        command(["--policy", str(policy), "--state", str(state)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdin.write(json.dumps(line(100.0)).encode() + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["line"] == 1
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    process.stdin.close()
    process.stdout.close()
    _, answers, _ = run(["--policy", str(policy), "--state", str(state)], [line(100.0)])

    assert answers[0]["error"]["key"] == "at"


def test_lines_are_read_bounded():
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as writer:
        writer.write(b"abc\r\n" + b"y" * 20 + b"\nlast")
    with os.fdopen(read_end, "rb") as reader:
        kinds = [one if isinstance(one, bytes) else one.limit for one in read_lines(reader, max_bytes=10)]
    assert kinds == [b"abc", 10, b"last"]


def test_the_schema_names_every_key_that_the_lines_have(policy):
    schema = json_schema()
    answered = answer(Session(load_policy(policy)), json.dumps(line(0)).encode(), 1)
    assert isinstance(answered, PlanLine)
    properties = schema["output"]["$defs"]["PlanLine"]["properties"]
    assert set(json.loads(answered.model_dump_json(by_alias=True))) == set(properties)
    assert {"schema", "at", "deployments", "cluster"} == set(schema["input"]["properties"])


class Records:
    def __init__(self) -> None:
        self.taken = []

    def export(self, record) -> None:
        self.taken.append(record)


def as_line(snapshot, work) -> bytes:
    """Everything that the planner uses."""

    def told(reading):
        known = isinstance(reading, Known)
        return {"value": reading.value, "age_s": reading.age_s} if known else {"unknown": reading.reason}

    counts = snapshot.replicas
    deployment = {
        "deployment": str(snapshot.id),
        "target": snapshot.target_replicas,
        "replicas": {"running": counts.ready, "starting": counts.starting, "stopping": counts.stopping},
        "demand": {signal.value: told(snapshot.reading(signal)) for signal in MEASURED},
        "target_age_s": snapshot.at - read_at(snapshot),
        "config_replicas": snapshot.config_replicas,
        "updating": snapshot.status == "UPDATING",
        "queued_requests": told(snapshot.queued_requests),
        "shed_per_s": told(snapshot.shed_per_s),
        "latency": {one.name: told(getattr(snapshot.latency, one.name)) for one in fields(snapshot.latency)},
        "lead_time_s": told(snapshot.startup_p90_s),
        "idle": snapshot.idle,
        "at_the_door": told(snapshot.at_the_door),
        "stop_streams": snapshot.stop_streams,
        "blind_spots": snapshot.blind_spots,
        "config_digest": snapshot.config_digest,
        "started_s": [start.seconds for start in snapshot.startups],
        "engines": [asdict(interval) for interval in work.intervals],
        "service": None if work.outcomes is None else asdict(work.outcomes),
    }
    return json.dumps({"schema": 1, "at": snapshot.at, "deployments": [deployment]}).encode()


@pytest.fixture
def engine_work(monkeypatch):
    """What the loop's engines did, by the time of the tick."""
    seen, perceive = {}, Perception.engine_work

    def noted(perception, deployment, now):
        seen[now] = perceive(perception, deployment, now)
        return seen[now]

    monkeypatch.setattr(Perception, "engine_work", noted)
    return seen


def test_told_what_the_loop_saw_it_decides_what_the_loop_decided(policy, engine_work):
    """The filter and the loop are one brain: capacity, forecasts and targets are equal, tick by tick."""
    parts = [steady(1, 300), steady(14, 600, seed=1), steady(1, 600, seed=2)]
    demand = Demand(
        arrival_s=np.concatenate([part.arrival_s + at for part, at in zip(parts, (0, 300, 900), strict=True)]),
        prompt_tokens=np.concatenate([part.prompt_tokens for part in parts]),
        output_tokens=np.concatenate([part.output_tokens for part in parts]),
        length_s=1500.0,
    )
    loaded, records = load_policy(policy), Records()
    run_control_loop(
        loaded,
        demand,
        cluster_of(replica__startup_s=[30, 60]),
        name="loop",
        seed=1,
        initial=1,
        objectives=Objectives(),
        exporters=(records,),
    )
    session = Session(loaded)
    seen = [record.deployments[0] for record in records.taken]
    lines = [as_line(one.snapshot, engine_work[one.snapshot.at]) for one in seen]
    answers = [answer(session, one, place).plan[0] for place, one in enumerate(lines, start=1)]

    decided = [one.decision for one in seen]
    assert [one.desired for one in answers] == [one.desired for one in decided]
    assert [one.forecasts for one in answers] == [one.forecasts for one in decided]
    assert [one.capacity for one in answers] == [one.capacity for one in decided]
    assert [one.steps for one in answers] == [one.steps for one in decided]
    assert decided[-1].capacity.source is CapacitySource.LEARNED
    assert {one.action for one in decided} >= {Action.SCALE_UP, Action.SCALE_DOWN}
