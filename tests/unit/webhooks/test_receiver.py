"""Webhooks from outside, over real HTTP into a real store: what counts, and what is refused, counted and harmless."""

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import structlog
from structlog.testing import CapturingLogger

from controller.api.routes import api
from controller.api.server import ApiServer, listen
from controller.api.webhooks import add_webhooks
from controller.catalog import exported
from controller.domain.override import OverrideAction
from controller.export.latest import LatestTick
from controller.export.metrics import MetricsExporter
from controller.interventions.approvals import ApprovalBoard
from controller.interventions.overrides import OverrideBoard
from controller.policy.load import LoadedPolicy
from controller.policy.model import Policy
from controller.store.sqlite import SqliteStore
from controller.webhooks.receiver import Receivers
from controller.webhooks.signing import headers as signature
from tests.clocks import VirtualClock
from tests.planning import policy
from tests.records import CHAT, decision

TOKEN, KEY = "alertmanager-t0ken", "a-k3y-that-signs"
NOW = 1_700_000_000.0
ACTIONS = [
    {"match": {"alertname": "CapacityLate", "severity": "page"}, "action": "raise_floor", "replicas": 2, "for_s": 600},
    {"match": {"alertname": "CapacityLate"}, "action": "hold_scale_down", "for_s": 600},
    {"match": {"alertname": "Incident"}, "action": "freeze", "for_s": 300, "target": "all"},
]


def rules(tmp_path: Path) -> Policy:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "key").write_text(KEY)
    token, key = {"token_file": str(tmp_path / "token")}, {"secret_file": str(tmp_path / "key")}
    receivers = [
        {"name": "am", "kind": "alertmanager", "rate_per_minute": 20, "actions": ACTIONS, **token},
        {"name": "signed", "kind": "alertmanager", "actions": ACTIONS, **key},
        {"name": "chatops", "kind": "approval", **token, **key},
    ]
    return Policy.model_validate({"version": 1, "deployments": [policy()], "webhooks": {"in": receivers}})


class NoCourier:
    """Nothing is sent here."""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[SimpleNamespace]:
    clock, store, counted, logger = VirtualClock(NOW), SqliteStore(tmp_path / "s.db"), Counter(), CapturingLogger()
    loaded = LoadedPolicy(rules(tmp_path), "0123456789ab", tmp_path / "policy.yaml")
    overrides = OverrideBoard(shelf=store, clock=clock, policy=lambda: loaded.policy)
    approvals = ApprovalBoard(shelf=store, clock=clock, policy=lambda: loaded.policy)

    def count(metric: Any, *labels: str, by: int = 1) -> None:
        if by:
            counted[labels] += metric is exported.WEBHOOKS_RECEIVED

    def receivers() -> Receivers:
        return Receivers(
            policy=lambda: loaded.policy.webhooks,
            overrides=overrides,
            approvals=approvals,
            shelf=store,
            clock=clock,
            count=count,
            log=structlog.wrap_logger(logger),
            standby=lambda: scene.elsewhere,
        )

    app = api(
        latest=LatestTick(clock),
        policy=lambda: loaded,
        records=lambda **_: [],
        registry=MetricsExporter().registry,
        refused=lambda reason: counted.update([(reason,)]),
    )
    scene = SimpleNamespace(
        clock=clock, store=store, counted=counted, overrides=overrides, approvals=approvals, logger=logger
    )
    scene.elsewhere = None
    scene.receivers = receivers()

    def take(*given: Any) -> Any:
        return scene.receivers.take(*given)

    add_webhooks(app, take=take, courier=NoCourier())  # type: ignore[arg-type]
    scene.restart = lambda: setattr(scene, "receivers", receivers())
    server = ApiServer(app, listen("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve())
    async with aiohttp.ClientSession(server.address) as scene.session:
        yield scene
    server.stop()
    await serving
    store.close()


def alert(
    name: str = "CapacityLate", *, status: str = "firing", began: float = NOW - 60, **changes: Any
) -> dict[str, Any]:
    labels = {"alertname": name, "severity": "page", "application": CHAT.application, "deployment": CHAT.deployment}
    starts = dt.datetime.fromtimestamp(began, dt.UTC).isoformat().replace("+00:00", "Z")
    return {
        "status": status,
        "labels": {**labels, **changes.pop("labels", {})},
        "annotations": {"summary": "chat: 2 orders are late."},
        "startsAt": starts,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "c0ffee0123456789",
        **changes,
    }


def message(*alerts: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="CapacityLate"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "foreserve",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager",
            "alerts": list(alerts),
            **changes,
        }
    ).encode()


BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def post(
    served: SimpleNamespace, body: bytes, headers: dict[str, str] | None = None, to: str = "am"
) -> tuple[int, Any]:
    given = BEARER if headers is None else headers
    async with served.session.post(f"/hooks/{to}", data=body, headers=given) as response:
        return response.status, await response.json()


def in_force(served: SimpleNamespace) -> list[tuple[OverrideAction, int]]:
    return [(one.action, one.replicas) for one in served.overrides.in_force(served.clock.now())]


async def test_an_alert_asks_for_what_the_policy_says_until_it_is_over(served: SimpleNamespace) -> None:
    status, answer = await post(served, message(alert()))

    floor, hold = served.overrides.in_force(NOW)
    assert status == 200
    assert len(answer["done"]) == 2
    assert (floor.action, floor.replicas, floor.until) == (OverrideAction.RAISE_FLOOR, 2, NOW + 600)
    assert (floor.deployment, floor.owner, floor.reason) == (CHAT, "am/CapacityLate", "chat: 2 orders are late.")
    assert hold.action is OverrideAction.HOLD_SCALE_DOWN

    status, answer = await post(served, message(alert(status="resolved")))

    assert status == 200
    assert [sentence.partition(": ")[0] for sentence in answer["done"]] == ["CapacityLate is over"] * 2
    assert in_force(served) == []
    assert served.counted == {("am", "accepted"): 2}


async def test_what_began_ends_with_its_alert_though_the_policy_has_changed(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(served, message(alert()))
    monkeypatch.setattr("controller.webhooks.alertmanager.matching", lambda *_: [])

    await post(served, message(alert(status="resolved")))

    assert in_force(served) == []


async def test_an_alert_that_is_never_resolved_ends_by_itself(served: SimpleNamespace) -> None:
    await post(served, message(alert()))
    served.clock.advance(600)

    assert in_force(served) == []


async def test_an_alert_that_goes_on_is_renewed_and_not_added(served: SimpleNamespace) -> None:
    for _ in range(3):
        await post(served, message(alert()))
        served.clock.advance(300)

    assert [action for action, _ in in_force(served)] == [OverrideAction.RAISE_FLOOR, OverrideAction.HOLD_SCALE_DOWN]


async def test_labels_choose_the_action_and_other_alerts_ask_for_nothing(served: SimpleNamespace) -> None:
    await post(served, message(alert(labels={"severity": "ticket"}), alert("Other", fingerprint="ab")))

    assert in_force(served) == [(OverrideAction.HOLD_SCALE_DOWN, 0)]


async def test_one_may_be_about_every_deployment(served: SimpleNamespace) -> None:
    await post(served, message(alert("Incident", labels={"application": "", "deployment": ""})))

    assert [one.deployment for one in served.overrides.in_force(NOW)] == [None]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (alert(labels={"application": ""}), "has no labels application and deployment"),
        (alert(labels={"deployment": "Unknown"}), "deployment chat/Unknown is not in the policy"),
    ],
)
async def test_what_cannot_be_done_is_said_and_nothing_begins(
    served: SimpleNamespace, sent: dict[str, Any], said: str
) -> None:
    status, answer = await post(served, message(sent))

    assert status == 200
    assert all(said in sentence for sentence in answer["done"])
    assert in_force(served) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer guess"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": "Bearer gü€ss"},
    ],
)
async def test_without_the_token_nothing_happens(served: SimpleNamespace, headers: dict[str, str]) -> None:
    status, answer = await post(served, message(alert()), headers)

    assert status == 401
    assert TOKEN not in str(answer)
    assert in_force(served) == []
    assert served.counted == {("am", "unauthenticated"): 1}
    assert TOKEN not in str(served.logger.calls)


def signed(body: bytes, *, key: str = KEY, at: float = NOW, name: str = "msg-1") -> dict[str, str]:
    return signature(key, name=name, at=at, body=body)


async def test_a_signed_webhook_counts_once(served: SimpleNamespace) -> None:
    body = message(alert())

    first, _ = await post(served, body, signed(body), "signed")
    await post(served, *[message(alert(status="resolved"))], to="am")
    served.overrides.end_all("signed:")
    again, answer = await post(served, body, signed(body), "signed")

    assert (first, again) == (200, 409)
    assert answer == {"detail": "the webhook msg-1 was taken before"}
    assert in_force(served) == []
    assert served.counted["signed", "replayed"] == 1


async def test_a_replay_is_known_after_a_restart_too(served: SimpleNamespace) -> None:
    body = message(alert())
    await post(served, body, signed(body), "signed")

    served.restart()

    assert (await post(served, body, signed(body), "signed"))[0] == 409


async def test_a_signature_is_of_one_body_one_key_and_one_time(served: SimpleNamespace) -> None:
    body = message(alert())

    forged = [
        await post(served, message(alert("Incident")), signed(body), "signed"),
        await post(served, body, signed(body, key="guess"), "signed"),
        await post(served, body, signed(body, at=NOW - 400), "signed"),
        await post(served, body, {**signed(body), "webhook-id": "msg-2"}, "signed"),
        await post(served, body, BEARER, "signed"),
    ]

    assert [status for status, _ in forged] == [401] * 5
    assert in_force(served) == []
    assert served.counted == {("signed", "unauthenticated"): 5}


async def test_an_old_alert_that_is_sent_again_after_it_was_resolved_does_nothing(served: SimpleNamespace) -> None:
    """Who copied a webhook and its token cannot bring back what is over."""
    old = message(alert())
    await post(served, old)
    await post(served, message(alert(status="resolved")))
    served.restart()

    status, answer = await post(served, old)

    assert status == 200
    assert answer["done"] == ["CapacityLate that began then was resolved before: nothing was done"]
    assert in_force(served) == []
    assert served.counted["am", "replayed"] == 1
    assert (await post(served, message(alert(began=NOW))))[0] == 200
    assert len(in_force(served)) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        message(version="3"),
        message(status="burning"),
        message(alert(fingerprint="../../etc")),
        message(alert(startsAt="yesterday")),
        message(alert(startsAt="2026-01-01T00:00:00")),
        message(alert(labels={"severity": 7})),
        message(alert(labels={"severity": "x" * 5000})),
        message(*[alert()] * 1001),
        message(*[alert(fingerprint=f"{number:x}") for number in range(101)]),
    ],
)
async def test_what_is_malformed_is_refused_in_a_sentence(served: SimpleNamespace, body: bytes) -> None:
    status, answer = await post(served, body)

    assert status == 400
    assert len(answer["detail"]) < 2000
    assert in_force(served) == []
    assert served.counted == {("am", "malformed"): 1}


async def test_what_is_oversized_is_not_even_read(served: SimpleNamespace) -> None:
    status, answer = await post(served, b"x" * ((1 << 20) + 1))

    assert (status, answer["detail"]) == (413, "the body is larger than 1024 KiB, which is the most taken here")
    assert served.counted == {("oversized",): 1}


async def test_a_flood_is_refused_and_forged_ones_do_not_use_up_the_share_of_real_ones(served: SimpleNamespace) -> None:
    forged = [await post(served, message(alert()), {}) for _ in range(40)]
    real = [await post(served, message(alert())) for _ in range(30)]

    assert {status for status, _ in forged} == {401}
    assert [status for status, _ in real] == [200] * 20 + [429] * 10
    assert len(in_force(served)) == 2
    assert served.counted == {("am", "unauthenticated"): 40, ("am", "accepted"): 20, ("am", "flooded"): 10}
    served.clock.advance(60)
    assert (await post(served, message(alert())))[0] == 200


async def test_a_receiver_that_is_not_in_the_policy_is_not_there(served: SimpleNamespace) -> None:
    assert await post(served, message(alert()), to="other") == (
        404,
        {"detail": "there is no receiver other; the policy lists them under webhooks.in"},
    )


async def test_a_secret_that_cannot_be_read_lets_nobody_in(served: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "token").unlink()

    status, answer = await post(served, message(alert()))

    assert status == 503
    assert str(tmp_path) not in answer["detail"]
    assert in_force(served) == []


async def test_a_store_that_cannot_be_written_has_the_sender_try_again(served: SimpleNamespace) -> None:
    served.store.close()

    status, _ = await post(served, message(alert()))

    assert status == 503
    assert in_force(served) == []


async def test_where_another_controller_acts_the_sender_is_told_to_ask_that_one(served: SimpleNamespace) -> None:
    served.elsewhere = "another controller acts, so ask that one: pod-b leads"

    assert await post(served, message(alert())) == (503, {"detail": served.elsewhere})
    assert (await post(served, message(alert()), {}))[0] == 401
    assert in_force(served) == []


async def test_a_word_on_a_plan_by_webhook(served: SimpleNamespace) -> None:
    waits = served.approvals.ask(decision())
    word = {"proposal": waits.id, "verdict": "approve", "by": "alice", "note": "from chat"}

    status, answer = await post(served, json.dumps(word).encode(), to="chatops")

    said = served.approvals.proposal(waits.id)
    assert (status, answer) == (200, {"done": [f"{waits.id} is approved"]})
    assert (said.status, said.decided_by, said.note) == ("approved", "chatops/alice", "from chat")


async def test_a_signed_word_and_a_stale_one(served: SimpleNamespace) -> None:
    waits = served.approvals.ask(decision())
    served.approvals.ask(decision(desired=4))
    word = json.dumps({"proposal": waits.id, "verdict": "reject", "by": "bob"}).encode()

    status, answer = await post(served, word, signed(word), "chatops")

    assert status == 409
    assert "is stale: the plan is 2 → 4 now; nothing was done" in answer["detail"]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ({"proposal": "p-1", "verdict": "maybe", "by": "alice"}, 400),
        ({"proposal": "p-1", "verdict": "approve"}, 400),
        ({"proposal": "p-1", "verdict": "approve", "by": "a\nb"}, 400),
        ({"proposal": "p-1", "verdict": "approve", "by": "alice", "force": True}, 400),
        ({"proposal": "p-nothing", "verdict": "approve", "by": "alice"}, 404),
    ],
)
async def test_a_word_that_is_none_is_refused(served: SimpleNamespace, word: dict[str, Any], status: int) -> None:
    assert (await post(served, json.dumps(word).encode(), to="chatops"))[0] == status
