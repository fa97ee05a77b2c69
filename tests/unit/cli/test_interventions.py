"""approve, reject, approvals, override and webhooks, as a user calls them, against a real API and a real sink."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import Result
from typer.testing import CliRunner

from controller.api.interventions import add_interventions
from controller.api.routes import api
from controller.api.server import ApiServer, listen
from controller.api.tokens import parse_tokens
from controller.cli.main import app
from controller.clock import SystemClock
from controller.domain.approval import ProposalStatus
from controller.domain.plan import Outcome, OutcomeStatus
from controller.errors import BadInputError, UnavailableError
from controller.export.latest import LatestTick
from controller.export.metrics import MetricsExporter
from controller.interventions.approvals import ApprovalBoard
from controller.interventions.copied import CopiedShelf
from controller.interventions.overrides import OverrideBoard
from controller.policy.load import LoadedPolicy
from controller.policy.model import Policy
from controller.webhooks.news import Told
from controller.webhooks.outbox import Outbox, outbox_path
from tests.planning import policy
from tests.records import decision
from tests.webhooks import SinkServer, event

TOKEN = "act-secret-0123456789"
POLICY = Policy.model_validate({"version": 1, "mode": "approve", "deployments": [policy()]})


class Running:
    """A controller's API in a thread of its own."""

    def __init__(self) -> None:
        clock, shelf = SystemClock(), CopiedShelf()
        self.overrides = OverrideBoard(shelf=shelf, clock=clock, policy=lambda: POLICY, new_id=lambda: "ov-1")
        self.approvals = ApprovalBoard(shelf=shelf, clock=clock, policy=lambda: POLICY)
        routes = api(
            latest=LatestTick(clock),
            policy=lambda: LoadedPolicy(POLICY, "0", Path("p")),
            records=lambda **_: [],
            registry=MetricsExporter().registry,
            tokens=lambda: parse_tokens(f"alice act {TOKEN}", "tokens"),
        )
        add_interventions(routes, overrides=self.overrides, approvals=self.approvals, clock=clock)
        self.server = ApiServer(routes, listen("127.0.0.1", 0))

    def run(self, *arguments: str, token: str | None = TOKEN) -> Result:
        given = {} if token is None else {"FORESERVE_API_TOKEN": token}
        return CliRunner().invoke(app, list(arguments), env={"FORESERVE_API_URL": self.server.address, **given})


@pytest.fixture
def running() -> Iterator[Running]:
    here = Running()
    thread = threading.Thread(target=lambda: asyncio.run(here.server.serve()))
    thread.start()
    yield here
    here.server.stop()
    thread.join()


def test_what_waits_is_listed_and_rejected(running: Running) -> None:
    waits = running.approvals.ask(decision())

    listed = running.run("approvals", token=None)
    rejected = running.run("reject", waits.id, "--note", "too dear")

    assert f"{waits.id}  chat/LLMServer:tiny: 2 → 3 replicas (forecast); expires in 15 min: 12.0 / 3.0" in listed.output
    assert (rejected.exit_code, "rejected by alice: too dear" in rejected.output) == (0, True)
    assert running.run("approvals").output == "nothing waits for a word\n"
    assert "rejected by alice" in running.run("approvals", "--all").output


def test_approving_waits_for_what_comes_of_it(running: Running) -> None:
    waits = running.approvals.ask(decision())
    outcome = Outcome(id=waits.deployment, status=OutcomeStatus.APPLIED, detail="target 2 → 3")

    def tick() -> None:
        until = time.monotonic() + 30
        while (word := running.approvals.proposal(waits.id)).status is not ProposalStatus.APPROVED:
            if time.monotonic() > until:
                return
            time.sleep(0.01)
        running.approvals.done(word, outcome)

    ticking = threading.Thread(target=tick)
    ticking.start()
    approved = running.run("approve", waits.id)
    ticking.join()

    assert approved.exit_code == 0
    assert approved.output.endswith("applied by alice: target 2 → 3\n")


def test_a_stale_word_does_nothing_says_so_and_ends_with_4(running: Running) -> None:
    waits = running.approvals.ask(decision())
    running.approvals.ask(decision(desired=4))

    approved = running.run("approve", waits.id)

    assert approved.exit_code == 4
    assert "is stale: the plan is 2 → 4 now; nothing was done" in approved.output


@pytest.mark.parametrize("token", [None, "guess-0123456789abc"])
def test_without_a_token_nothing_is_done_and_what_is_missing_is_said(running: Running, token: str | None) -> None:
    waits = running.approvals.ask(decision())

    result = running.run("approve", waits.id, token=token)

    assert isinstance(result.exception, UnavailableError)
    assert "--token-file" in str(result.exception)
    assert "guess" not in str(result.exception)
    assert running.approvals.proposal(waits.id).status == "open"


def test_an_override_is_begun_listed_and_ended(running: Running, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    about = ["raise_floor", "chat/LLMServer:tiny", "--replicas", "2", "--for", "30m", "--reason", "launch"]

    begun = running.run("override", "begin", *about, "--token-file", str(tmp_path / "token"), token=None)
    listed = running.run("override", "list")
    ended = running.run("override", "end", "ov-1")

    line = "ov-1  raise_floor by 2 for chat/LLMServer:tiny, another 30 min; by alice: launch\n"
    assert (begun.output, listed.output) == (line, line)
    assert ended.output == "ov-1  raise_floor has ended\n"
    assert running.run("override", "list").output == "none is in force\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["freeze", "all", "--for", "soon", "--reason", "x"], "--for 'soon' is no length of time; write 90s, 30m"),
        (["freeze", "a/b", "--for", "1h", "--reason", "x"], "deployment a/b is not in the policy"),
        (["freeze", "all", "--for", "99d", "--reason", "x"], "for_s is 8.5536e+06; expected 1 to 86400"),
    ],
)
def test_what_is_wrong_with_an_override_is_said(running: Running, arguments: list[str], said: str) -> None:
    result = running.run("override", "begin", *arguments)

    assert isinstance(result.exception, BadInputError)
    assert said in str(result.exception)


def test_no_controller_there_is_unavailable() -> None:
    result = CliRunner().invoke(app, ["approvals", "--url", "http://127.0.0.1:1"])

    assert isinstance(result.exception, UnavailableError)
    assert "127.0.0.1:1 cannot be reached (Connection refused); name it with --url" in str(result.exception)


@contextmanager
def sink_server(status: int = 204) -> Iterator[SinkServer]:
    """A sink in a thread of its own."""
    started, stop, loops = threading.Event(), threading.Event(), []
    server = SinkServer(lambda _: web.Response(status=status, text="no"))

    async def serve() -> None:
        async with server:
            loops.append(asyncio.get_running_loop())
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(10)
    yield server
    stop.set()
    thread.join()


def policy_file(tmp_path: Path, url: str) -> str:
    file = tmp_path / "policy.yaml"
    sink = f"{{name: ops, kind: slack, url: '{url}', allow_addresses: [127.0.0.0/8]}}"
    head = POLICY.deployments[0]
    file.write_text(
        f"version: 1\nwebhooks: {{out: [{sink}]}}\ndeployments:\n  - application: {head.application}\n"
        f"    deployment: {head.deployment}\n    limits: {{max_replicas: 2}}\n"
        "    capacity: {target_ongoing_requests: 8}\n"
    )
    return str(file)


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["webhooks", *map(str, arguments)])


def test_a_sink_is_tried_and_its_answer_said(tmp_path: Path) -> None:
    with sink_server() as server:
        tried = call("test", "ops", "--policy", policy_file(tmp_path, server.url))
    assert (tried.exit_code, tried.output) == (0, "ops: delivered\n")
    assert "can reach this webhook" in server.received[0].json["text"]

    with sink_server(404) as server:
        refused = call("test", "ops", "--policy", policy_file(tmp_path, server.url))
    assert (refused.exit_code, "ops: refused: 127.0.0.1 answered 404: no" in refused.output) == (4, True)

    gone = call("test", "ops", "--policy", policy_file(tmp_path, "http://127.0.0.1:1/t0ken"))
    assert isinstance(gone.exception, UnavailableError)
    assert str(gone.exception) == "ops: not delivered: 127.0.0.1 cannot be reached (Connection refused)"

    unknown = call("test", "nobody", "--policy", policy_file(tmp_path, server.url))
    assert "webhooks.out has no sink nobody; there are ops" in str(unknown.exception)


def test_dead_letters_are_listed_and_let_wait_again(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    rules = policy_file(tmp_path, "http://127.0.0.1:1/")
    assert call("list", "--policy", rules, "--store", store).output == "ops  slack: 0 waiting; 0 dead\n"
    assert "there is no outbox here" in str(call("dead", "--store", store).exception)
    outbox = Outbox(outbox_path(store))
    outbox.take([(event(), ["ops"])], Told(), now=1.0)
    delivery = outbox.next("ops")
    assert delivery is not None
    outbox.give_up(delivery, why="answered 410")
    outbox.close()

    listed = call("dead", "--store", store)
    before = call("list", "--policy", rules, "--store", store)
    again = call("retry", "--store", store, "--sink", "ops")
    after = call("list", "--policy", rules, "--store", store)

    assert listed.output.startswith(f"{event().id}  2023-11-14T22:13:21Z  ops: chat/LLMServer:tiny: 2 → 3")
    assert listed.output.endswith("(answered 410)\n")
    assert before.output == "ops  slack: 0 waiting; 1 dead\n"
    assert again.output == "1 waiting again\n"
    assert after.output.startswith("ops  slack: 1 waiting, the oldest for ")
    assert call("dead", "--store", store).output == "there are no dead letters\n"
