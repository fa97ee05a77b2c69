"""foreserve tune: the search by itself, and the command from files to files."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from controller.cli.main import app
from controller.errors import BadInputError, UnavailableError
from controller.policy.load import load_policy
from controller.tuning.run import Journal, Search, run_search
from controller.tuning.search import Trial, cheapest, generation_size, pareto_front, propose
from controller.tuning.space import BUILTIN, Range, Space, load_space
from tests.simulated import steady

ROOT = Path(__file__).parents[3]
BASE = """\
# Kept as it is.
version: 1
deployments:
  - application: chat
    deployment: tiny
    limits: {max_replicas: 4}      # and so is this
    capacity: {target_ongoing_requests: 8}
    forecast: {costs: {miss: 9, spare: 1}}
"""
SPACE = Space(
    {"forecast.quantile": Range(low=0.5, high=0.99), "capacity.target_ongoing_requests": Range(low=1, high=64)}
)


class Bowl:
    """Costs that fall, and attainment that falls, with the target; best quantile 0.7. Counts what it was asked."""

    def __init__(self, *, dies_after: int = 10_000) -> None:
        self.asked: list[int] = []
        self._left = dies_after

    def run(self, trials):
        for trial in trials:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
            self.asked.append(trial.number)
            target = trial.values.get("capacity.target_ongoing_requests", 8.0)
            quantile = trial.values.get("forecast.quantile", 0.9)
            hours = 100.0 / target + 20.0 * abs(quantile - 0.7)
            yield replace(trial, gpu_hours=hours, attainment=1.0 - target / 2000.0)


def search(trials: int = 60) -> Search:
    return Search(space=SPACE, trials=trials, objective=0.99, seed=3, fingerprint="f")


def searched(tmp_path: Path, workers, *, trials: int = 60) -> list[Trial]:
    return run_search(search(trials), workers, Journal(tmp_path / "trials.jsonl", "f"), lambda _: None)


def test_the_search_comes_near_the_best_that_keeps_the_objective(tmp_path):
    done = searched(tmp_path, Bowl())
    best = cheapest(done, 0.99)
    assert best is not None
    assert len(done) == 61
    assert best.gpu_hours < 1.25 * (100 / 20)
    spread_only = cheapest([trial for trial in done if trial.number <= 30], 0.99)
    assert best.gpu_hours < spread_only.gpu_hours


def test_the_first_trial_is_the_base_policy(tmp_path):
    done = searched(tmp_path, Bowl(), trials=1)
    assert (done[0].number, done[0].values) == (0, {})


def test_a_search_that_was_stopped_goes_on_to_the_same_end(tmp_path):
    whole = searched(tmp_path / "whole", Bowl())
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "cut", Bowl(dies_after=37))
    with (tmp_path / "cut" / "trials.jsonl").open("a") as file:
        file.write('{"number": 37, "poi')
    later = Bowl()
    assert searched(tmp_path / "cut", later) == whole
    assert min(later.asked) == 37


def test_the_order_in_which_trials_end_changes_nothing(tmp_path):
    class Backwards(Bowl):
        def run(self, trials):
            yield from reversed(list(super().run(trials)))

    assert searched(tmp_path / "a", Backwards()) == searched(tmp_path / "b", Bowl())


def test_a_journal_of_another_search_is_refused(tmp_path):
    Journal(tmp_path / "trials.jsonl", "f")
    with pytest.raises(BadInputError, match="is of another search"):
        Journal(tmp_path / "trials.jsonl", "g")
    (tmp_path / "notes").write_text("hello\nthere\n")
    with pytest.raises(BadInputError, match="is not a search's journal"):
        Journal(tmp_path / "notes", "f")


scores = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=40)


@given(scores)
def test_nothing_beats_a_member_of_the_front_and_something_beats_every_other(pairs):
    done = [
        Trial(number=number, point=None, values={}, gpu_hours=hours, attainment=kept)
        for number, (hours, kept) in enumerate(pairs)
    ]
    front = pareto_front(done)
    for trial in done:
        beaten = any(
            one.gpu_hours <= trial.gpu_hours
            and one.attainment >= trial.attainment
            and (one.gpu_hours, one.attainment) != (trial.gpu_hours, trial.attainment)
            for one in done
        )
        same = [(one.gpu_hours, one.attainment) for one in front]
        assert beaten != ((trial.gpu_hours, trial.attainment) in same)


@given(scores, st.integers(0, 1000))
def test_every_proposal_lies_in_the_cube_and_is_the_same_again(pairs, seed):
    done = [
        Trial(number=number, point=(0.5, 0.1), values={}, gpu_hours=hours, attainment=kept)
        for number, (hours, kept) in enumerate(pairs)
    ]

    def points():
        first = len(done)
        return propose(done, first=first, count=7, trials=40, size=2, objective=0.99, seed=seed)

    assert points() == points()
    assert all(len(point) == 2 and all(0.0 <= place <= 1.0 for place in point) for point in points())


def test_generations_depend_on_the_number_of_trials_alone():
    assert [generation_size(trials) for trials in (1, 40, 41, 1000)] == [4, 4, 5, 100]


@pytest.mark.parametrize(
    ("one", "values"),
    [
        (Range(low=0, high=10), (0.0, 5.0, 10.0)),
        (Range(low=1, high=100, scale="log"), (1.0, 10.0, 100.0)),
        (Range(low=1, high=9, whole=True), (1, 5, 9)),
        (Range(choices=(True, "a", 3)), (True, "a", 3)),
    ],
)
def test_a_place_is_a_value_in_the_range(one, values):
    assert tuple(one.at(place) for place in (0.0, 0.5, 1.0)) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameters: {}", "parameters: Dictionary should have at least 1 item"),
        ("parameters: {a: {low: 2, high: 1}}", "parameters.a: Value error, give low and high, low < high"),
        ("parameters: {a: {low: 0, high: 1, scale: log}}", r"low \(0\) must be above 0 on a logarithmic scale"),
        ("parameters: {a: {low: 0, choices: [1]}}", "give either choices, or low and high"),
        ("parameters: {a: {from: 1}}", "parameters.a.from: Extra inputs"),
        ("parameters: [", "is not YAML"),
    ],
)
def test_a_wrong_search_file_is_told(tmp_path, text, said):
    path = tmp_path / "search.yaml"
    path.write_text(text)
    with pytest.raises(BadInputError, match=said):
        load_space(str(path))


def test_the_builtin_search_fits_the_policy_model():
    assert "forecast.quantile" in load_space(BUILTIN).ranges


@pytest.fixture
def files(tmp_path):
    demand = steady(8, 420)
    rows = zip(demand.arrival_s, demand.prompt_tokens, demand.output_tokens, strict=True)
    lines = [f"{at:.3f},{prompt},{output}" for at, prompt, output in rows]
    (tmp_path / "trace.csv").write_text("\n".join(["t_s,prompt_tokens,output_tokens", *lines]) + "\n")
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "search.yaml").write_text(
        "parameters:\n"
        "  forecast.quantile: {low: 0.6, high: 1.2}\n"
        "  capacity.target_ongoing_requests: {low: 4, high: 60, scale: log}\n"
    )
    return tmp_path


def arguments(files: Path, *more: object) -> list[str]:
    given = ["tune", "--trace", files / "trace.csv", "--policy", files / "base.yaml", "--search", files / "search.yaml"]
    given += ["--cluster", ROOT / "manifests/clusters/llama-3.1-8b-rtx4090.yaml", "--out", files / "out"]
    return [str(one) for one in (*given, *more)]


def test_policies_that_come_out_are_ready_to_use(files):
    result = CliRunner().invoke(app, arguments(files, "--trials", 4, "--jobs", 1))
    assert result.exit_code == 0, result.output

    found = json.loads((files / "out" / "tune.json").read_text())
    replayed = [trial for trial in found["trials"] if trial["gpu_hours"] is not None]
    refused = [trial for trial in found["trials"] if trial["problem"]]
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3, 4]
    assert replayed[0]["values"] == {}
    assert refused, "a quantile above 0.99 is refused by the policy model"
    assert "forecast.quantile" in refused[0]["problem"]
    written = sorted(path.name for path in (files / "out").glob("*.yaml"))
    assert "cheapest.yaml" in written
    for name in written:
        load_policy(files / "out" / name)
    varied = next(trial for trial in replayed if trial["file"] and trial["values"])
    policy = load_policy(files / "out" / varied["file"]).policy.deployments[0]
    assert policy.forecast.target_quantile == varied["values"]["forecast.quantile"]
    text = (files / "out" / varied["file"]).read_text()
    assert "# Kept as it is." in text
    assert "costs" not in text
    page = (files / "out" / "tune.html").read_text()
    assert "http://" not in page
    assert "base" in result.stdout
    again = CliRunner().invoke(app, arguments(files, "--trials", 4, "--jobs", 1))
    assert "going on after 5 trials" in again.output
    other = CliRunner().invoke(app, arguments(files, "--trials", 5, "--jobs", 1))
    assert "is of another search" in str(other.exception)


def test_ray_that_is_missing_is_told(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(app, arguments(files, "--trials", 1, "--jobs", 2))
    assert isinstance(result.exception, BadInputError)
    assert "pip install 'foreserve[local]'" in str(result.exception)


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_ray_tasks_find_what_one_process_finds(files):
    alone = CliRunner().invoke(app, arguments(files, "--trials", 4, "--jobs", 1, "--out", files / "alone"))
    tasks = CliRunner().invoke(app, arguments(files, "--trials", 4, "--jobs", 2, "--out", files / "tasks"))
    assert (alone.exit_code, tasks.exit_code) == (0, 0), tasks.output
    found = [json.loads((files / name / "tune.json").read_text())["trials"] for name in ("alone", "tasks")]
    assert found[0] == found[1]


def test_a_cluster_that_is_not_there_is_told(files):
    result = CliRunner().invoke(app, arguments(files, "--trials", 1, "--address", "127.0.0.1:1"))
    assert isinstance(result.exception, UnavailableError)
    assert "check --address" in str(result.exception)
