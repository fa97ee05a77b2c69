"""Overrides and approvals over real HTTP, kept in a real store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from controller.api.interventions import add_interventions
from controller.api.routes import api
from controller.api.server import ApiServer, listen
from controller.api.tokens import parse_tokens
from controller.export.latest import LatestTick
from controller.export.metrics import MetricsExporter
from controller.interventions.approvals import ApprovalBoard
from controller.interventions.overrides import OverrideBoard
from controller.policy.load import LoadedPolicy
from controller.policy.model import Policy
from controller.store.sqlite import SqliteStore
from tests.clocks import VirtualClock
from tests.planning import policy
from tests.records import decision

ACT, READ = "act-secret-0123456789", "read-secret-0123456789"
POLICY = Policy.model_validate({"version": 1, "mode": "approve", "deployments": [policy()]})
HOLD = {"action": "hold_scale_down", "deployment": "chat/LLMServer:tiny", "for_s": 600, "reason": "launch"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[SimpleNamespace]:
    clock, store = VirtualClock(1000.0), SqliteStore(tmp_path / "s.db")
    overrides = OverrideBoard(shelf=store, clock=clock, policy=lambda: POLICY)
    approvals = ApprovalBoard(shelf=store, clock=clock, policy=lambda: POLICY)
    app = api(
        latest=LatestTick(clock),
        policy=lambda: LoadedPolicy(POLICY, "0123456789ab", Path("policy.yaml")),
        records=lambda **_: [],
        registry=MetricsExporter().registry,
        tokens=lambda: parse_tokens(f"alice act {ACT}\ngrafana read {READ}", "tokens"),
    )
    scene = SimpleNamespace(clock=clock, overrides=overrides, approvals=approvals, store=store, elsewhere=None)
    scene.left = []

    async def left() -> None:
        scene.left.append((len(overrides.bodies()), [one.status for one in approvals.proposals()]))

    add_interventions(
        app, overrides=overrides, approvals=approvals, clock=clock, standby=lambda: scene.elsewhere, left=left
    )
    server = ApiServer(app, listen("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve())
    async with aiohttp.ClientSession(server.address) as scene.session:
        yield scene
    server.stop()
    await serving
    store.close()


async def call(
    served: SimpleNamespace, method: str, path: str, body: Any = None, token: str | None = ACT
) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with served.session.request(method, f"/api/v1/{path}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def test_one_is_begun_seen_and_ended(served: SimpleNamespace) -> None:
    status, begun = await call(served, "POST", "overrides", HOLD)
    _, listed = await call(served, "GET", "overrides", token=None)
    ended, _ = await call(served, "DELETE", f"overrides/{begun['id']}")

    assert status == 201
    assert begun == {
        "id": begun["id"],
        "action": "hold_scale_down",
        "deployment": "chat/LLMServer:tiny",
        "began_at": 1000.0,
        "until": 1600.0,
        "owner": "alice",
        "reason": "launch",
        "replicas": 0,
        "key": "",
    }
    assert listed == [begun]
    assert ended == 200
    assert await call(served, "GET", "overrides", token=READ) == (200, [])


async def test_every_word_is_left_for_the_next_leader_before_it_is_answered(served: SimpleNamespace) -> None:
    yes, no = served.approvals.ask(decision(desired=5)), served.approvals.ask(decision(desired=6))
    _, begun = await call(served, "POST", "overrides", HOLD)
    assert served.left == [(1, ["open", "stale"])]
    await call(served, "DELETE", f"overrides/{begun['id']}")
    assert served.left[1:] == [(0, ["open", "stale"])]
    await call(served, "POST", f"approvals/{no.id}/reject")
    assert served.left[2:] == [(0, ["rejected", "stale"])]

    await call(served, "POST", f"approvals/{yes.id}/approve")  # it does not wait any more
    await call(served, "POST", "overrides", {**HOLD, "for_s": 1e9})
    await call(served, "GET", "overrides")

    assert len(served.left) == 3


async def test_one_for_every_deployment(served: SimpleNamespace) -> None:
    _, begun = await call(served, "POST", "overrides", {**HOLD, "deployment": None})

    assert begun["deployment"] is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({**HOLD, "deployment": "chat"}, "'chat' does not name a deployment; expected APPLICATION/DEPLOYMENT"),
        ({**HOLD, "deployment": "a/b"}, "deployment a/b is not in the policy; there are chat/LLMServer:tiny"),
        ({**HOLD, "for_s": 1e9}, "for_s is 1e+09; expected 1 to 86400 (overrides.max_duration_s in the policy)"),
        ({**HOLD, "action": "explode"}, "action: Input should be 'hold_scale_down',"),
        ({**HOLD, "owner": "root"}, "owner: Extra inputs are not permitted"),
        ({"action": "freeze"}, "deployment: Field required; for_s: Field required; reason: Field required"),
        ([], "body: "),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(served: SimpleNamespace, body: Any, sentence: str) -> None:
    status, answer = await call(served, "POST", "overrides", body)

    assert status == 422
    assert sentence in answer["detail"]
    assert served.overrides.in_force(1000.0) == ()


async def test_ending_what_is_not_there(served: SimpleNamespace) -> None:
    assert await call(served, "DELETE", "overrides/ov-1") == (404, {"detail": "no override ov-1 is in force"})


@pytest.mark.parametrize(("token", "status"), [(None, 401), (READ, 403)])
async def test_only_a_token_that_may_act_changes_anything(
    served: SimpleNamespace, token: str | None, status: int
) -> None:
    begun = (await call(served, "POST", "overrides", HOLD))[1]
    waits = served.approvals.ask(decision())

    for method, path in (
        ("POST", "overrides"),
        ("DELETE", f"overrides/{begun['id']}"),
        ("POST", f"approvals/{waits.id}/approve"),
        ("POST", f"approvals/{waits.id}/reject"),
    ):
        assert (await call(served, method, path, HOLD, token))[0] == status

    assert [one.id for one in served.overrides.in_force(1000.0)] == [begun["id"]]
    assert served.approvals.proposal(waits.id).status == "open"


async def test_a_proposal_is_seen_and_approved_by_whose_token_it_is(served: SimpleNamespace) -> None:
    waits = served.approvals.ask(decision())

    _, listed = await call(served, "GET", "approvals", token=None)
    status, approved = await call(served, "POST", f"approvals/{waits.id}/approve", {"note": "go"})

    assert [(one["id"], one["status"], one["from_replicas"], one["to_replicas"]) for one in listed] == [
        (waits.id, "open", 2, 3)
    ]
    assert (status, approved["status"], approved["decided_by"], approved["note"]) == (200, "approved", "alice", "go")
    assert await call(served, "GET", f"approvals/{waits.id}", token=READ) == (200, approved)


async def test_a_word_without_a_body_will_do(served: SimpleNamespace) -> None:
    waits = served.approvals.ask(decision())

    assert (await call(served, "POST", f"approvals/{waits.id}/reject"))[1]["status"] == "rejected"


async def test_a_stale_word_is_a_conflict_that_says_why(served: SimpleNamespace) -> None:
    waits = served.approvals.ask(decision())
    served.approvals.ask(decision(desired=4))

    status, answer = await call(served, "POST", f"approvals/{waits.id}/approve")

    assert status == 409
    assert answer["detail"].endswith("is stale: the plan is 2 → 4 now; nothing was done")
    assert (await call(served, "POST", "approvals/p-nothing/approve"))[0] == 404


async def test_a_store_that_cannot_be_written_refuses_and_nothing_begins(served: SimpleNamespace) -> None:
    served.store.close()

    status, answer = await call(served, "POST", "overrides", HOLD)

    assert status == 503
    assert "s.db" in answer["detail"]
    assert served.overrides.in_force(1000.0) == ()


async def test_where_another_controller_acts_that_one_is_to_be_asked(served: SimpleNamespace) -> None:
    served.elsewhere = "another controller acts, so ask that one: pod-b leads"

    assert await call(served, "POST", "overrides", HOLD) == (503, {"detail": served.elsewhere})
    assert await call(served, "GET", "overrides") == (200, [])
