"""Serve's REST API as it really answers: every recorded row, and what a broken network adds to it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from controller.clients.serve import MAX_REASON_CHARS, ServeClient, ServeRefusedError, ServeUnavailableError
from controller.domain.identity import DeploymentId
from controller.domain.serve import ReplicaState
from controller.errors import BadInputError
from tests.serve_rest import CAPTURES, CHAT, Fault, ServeRestStandIn

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def serve() -> AsyncIterator[ServeRestStandIn]:
    async with ServeRestStandIn() as started:
        yield started


@pytest.fixture
def client(serve: ServeRestStandIn, session: aiohttp.ClientSession) -> ServeClient:
    return ServeClient(base_url=serve.base_url, session=session, timeout_s=1.0)


async def test_the_state_names_target_replicas_and_settings_of_every_deployment(
    serve: ServeRestStandIn, client: ServeClient
):
    serve.set_target(2)

    state = await client.applications()

    deployment = state.deployment(CHAT)
    assert deployment is not None
    assert (deployment.target_replicas, deployment.config_replicas) == (2, 1)
    assert deployment.status == "HEALTHY"
    assert deployment.max_ongoing_requests == 24
    assert not deployment.autoscaling_configured
    assert deployment.count(ReplicaState.RUNNING) == 1
    assert deployment.count(ReplicaState.STARTING) == 1
    application = state.application("chat")
    assert application is not None
    assert application.external_scaler_enabled
    assert (application.status, application.route_prefix) == ("RUNNING", "/")
    assert [found.id.deployment for found in application.deployments] == ["LLMServer:tiny", "LLMRouter"]


async def test_a_target_is_set_at_the_encoded_name(serve: ServeRestStandIn, client: ServeClient):
    await client.scale(CHAT, 2)

    assert serve.target() == 2
    assert serve.scale_calls[0].path == "/api/v1/applications/chat/deployments/LLMServer%3Atiny/scale"


@pytest.mark.parametrize("name", ["a/b", "a b", "ünï", "50%", "a?b#c"])
async def test_names_with_special_characters_reach_their_deployment(
    serve: ServeRestStandIn, client: ServeClient, name: str
):
    odd = DeploymentId(name, f"LLMServer:{name}")
    serve.add_deployment(odd)

    await client.scale(odd, 3)

    assert serve.target(odd) == 3
    assert serve.target() == 1


async def test_a_token_is_sent_as_bearer(session: aiohttp.ClientSession):
    async with ServeRestStandIn(token=TOKEN) as serve:
        client = ServeClient(base_url=serve.base_url, session=session, token=f"{TOKEN}\n")

        await client.applications()
        await client.scale(CHAT, 2)

        assert [call.headers["Authorization"] for call in serve.calls] == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong-secret", 403)])
async def test_a_missing_or_wrong_token_names_the_setting_and_never_the_token(
    session: aiohttp.ClientSession, token: str | None, status: int
):
    async with ServeRestStandIn(token=TOKEN) as serve:
        client = ServeClient(base_url=serve.base_url, session=session, token=token)

        for call in (client.applications(), client.scale(CHAT, 2)):
            with pytest.raises(ServeRefusedError, match="FORESERVE_SERVE_TOKEN") as caught:
                await call
            assert caught.value.status == status
            assert "wrong-secret" not in f"{caught.value!r} {client!r} {vars(caught.value)}"


async def test_a_token_that_the_server_echoes_is_masked(
    serve: ServeRestStandIn, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
):
    client = ServeClient(base_url=serve.base_url, session=session, token=TOKEN)
    serve.fail(Fault(status=400, text=f'{{"error": "bad header Bearer {TOKEN}"}}'))

    with pytest.raises(ServeRefusedError, match=r"bad header Bearer \*\*\*") as caught:
        await client.applications()

    assert TOKEN not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__} {caplog.text}"


REFUSALS = [
    (DeploymentId("nope", "LLMServer:tiny"), 404, "Application or Deployment not found"),
    (DeploymentId("chat", "nope"), 404, "Application or Deployment not found"),
    (DeploymentId("chat", "LLMRouter"), 412, "Deployment is deleted"),
    (DeploymentId("manual", "LLMServer:tiny"), 412, "external_scaler_enabled=false"),
]


@pytest.mark.parametrize(("deployment", "status", "text"), REFUSALS)
async def test_a_refusal_carries_serves_own_words(
    serve: ServeRestStandIn, client: ServeClient, deployment: DeploymentId, status: int, text: str
):
    serve.delete(DeploymentId("chat", "LLMRouter"))
    serve.add_deployment(DeploymentId("manual", "LLMServer:tiny"))
    serve.application("manual")["external_scaler_enabled"] = False

    with pytest.raises(ServeRefusedError, match=re.escape(text)) as caught:
        await client.scale(deployment, 2)

    assert caught.value.status == status


async def test_a_number_that_serve_rejects_is_a_refusal(serve: ServeRestStandIn, client: ServeClient):
    with pytest.raises(ServeRefusedError, match="greater than or equal to 0") as caught:
        await client.scale(CHAT, -1)

    assert caught.value.status == 400
    assert serve.target() == 1


async def test_serves_own_words_are_cut_at_a_bounded_length(serve: ServeRestStandIn, client: ServeClient):
    serve.fail(Fault(status=412, text=json.dumps({"error": "x" * 5000})))

    with pytest.raises(ServeRefusedError) as caught:
        await client.scale(CHAT, 2)

    assert 100 < len(str(caught.value)) < MAX_REASON_CHARS + 100


UNAVAILABLE = {
    "controller missing": Fault(status=503, text='{"error": "Serve controller is not available"}'),
    "server error": Fault(status=500, text="Traceback (most recent call last): ..."),
    "too many requests": Fault(status=429),
    "dropped connection": Fault(drop=True),
    "hanging": Fault(hang=True),
    "slow": Fault(delay_s=2.0),
}


@pytest.mark.parametrize("fault", UNAVAILABLE.values(), ids=UNAVAILABLE.keys())
async def test_a_failing_server_is_unavailable(serve: ServeRestStandIn, session: aiohttp.ClientSession, fault: Fault):
    client = ServeClient(base_url=serve.base_url, session=session, timeout_s=0.2)
    serve.fail(fault)

    for call in (client.applications(), client.scale(CHAT, 2)):
        with pytest.raises(ServeUnavailableError, match=re.escape(serve.base_url.removeprefix("http://"))):
            await call


async def test_a_closed_port_is_unavailable(session: aiohttp.ClientSession):
    async with ServeRestStandIn() as serve:
        client = ServeClient(base_url=serve.base_url, session=session)

    with pytest.raises(ServeUnavailableError, match="cannot be reached"):
        await client.applications()


MALFORMED = {
    "no JSON": b"<html>Sign in</html>",
    "nothing": b"",
    "another document": b'{"detail": "hello"}',
    "a list": b"[]",
    "a target of text": b'{"applications": {"a": {"deployments": {"d": {"target_num_replicas": "two"}}}}}',
    "a negative target": b'{"applications": {"a": {"deployments": {"d": {"target_num_replicas": -1}}}}}',
    "a truth for a number": b'{"applications": {"a": {"deployments": {"d": {"target_num_replicas": true}}}}}',
    "a replica without id": b'{"applications": {"a": {"deployments": {"d": {"replicas": [{"state": "RUNNING"}]}}}}}',
    "a setting of another type": (
        b'{"applications": {"a": {"deployments": {"d": {"deployment_config": {"num_replicas": "auto"}}}}}}'
    ),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_an_answer_that_is_no_application_list_is_unavailable_with_a_short_reason(
    serve: ServeRestStandIn, client: ServeClient, body: bytes
):
    serve.fail(Fault(body=body))

    with pytest.raises(ServeUnavailableError, match="did not answer with Serve's list of applications") as caught:
        await client.applications()

    assert len(str(caught.value)) < 400


async def test_a_body_beyond_the_bound_is_not_read(serve: ServeRestStandIn, session: aiohttp.ClientSession):
    client = ServeClient(base_url=serve.base_url, session=session, max_bytes=1000)

    with pytest.raises(ServeUnavailableError, match="more than 1000 bytes"):
        await client.applications()


async def test_fields_of_another_version_are_ignored_and_missing_ones_unknown(
    serve: ServeRestStandIn, client: ServeClient
):
    body = {
        "applications": {
            "a": {
                "brand_new": [1],
                "deployments": {"d": {"replicas": [{"replica_id": "r", "state": "SLEEPING", "mood": "fine"}]}},
            },
            "b": {"deployments": {}},
        },
    }
    serve.fail(Fault(body=json.dumps(body).encode()))

    state = await client.applications()

    deployment = state.deployment(DeploymentId("a", "d"))
    assert deployment is not None
    assert deployment.target_replicas is None
    assert deployment.config_replicas is None
    assert deployment.max_ongoing_requests is None
    assert deployment.replicas[0].state is ReplicaState.UNRECOGNISED
    assert state.applications[0].external_scaler_enabled is False


async def test_a_cluster_without_applications_is_an_answer(serve: ServeRestStandIn, client: ServeClient):
    serve.document = {"controller_info": {}, "proxies": {}, "applications": {}, "target_capacity": None}

    assert (await client.applications()).applications == ()


async def test_a_redirect_is_not_followed_with_the_token(session: aiohttp.ClientSession):
    async with ServeRestStandIn() as serve, ServeRestStandIn() as elsewhere:
        serve.fail(Fault(status=302))
        client = ServeClient(base_url=serve.base_url, session=session, token=TOKEN)

        with pytest.raises(ServeRefusedError, match="FORESERVE_SERVE_URL"):
            await client.applications()

        assert elsewhere.calls == []


async def test_an_address_that_is_no_dashboard_is_refused_with_the_setting_to_correct(
    serve: ServeRestStandIn, session: aiohttp.ClientSession
):
    client = ServeClient(base_url=f"{serve.base_url}/somewhere", session=session)

    with pytest.raises(ServeRefusedError, match=r"404: Not Found.*FORESERVE_SERVE_URL"):
        await client.applications()


@pytest.mark.parametrize(
    "base_url",
    ["127.0.0.1:8265", "ftp://h", "http://", "", "http://h:notaport", "http://h/?a=b", "http://user:secret@h:8265"],
)
async def test_an_unusable_address_is_bad_input(session: aiohttp.ClientSession, base_url: str):
    with pytest.raises(BadInputError, match="FORESERVE_SERVE_URL") as caught:
        ServeClient(base_url=base_url, session=session)

    assert "secret" not in str(caught.value)


async def test_a_token_that_cannot_be_a_header_is_bad_input(session: aiohttp.ClientSession):
    with pytest.raises(BadInputError, match="FORESERVE_SERVE_TOKEN") as caught:
        ServeClient(base_url="http://127.0.0.1", session=session, token="secret\r\nX-Evil: 1")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "token", "in_clear"),
    [
        ("http://127.0.0.1:8265", TOKEN, False),
        ("http://[::1]:8265", TOKEN, False),
        ("http://localhost:8265", TOKEN, False),
        ("https://ray-head:8265", TOKEN, False),
        ("http://ray-head:8265", None, False),
        ("http://ray-head:8265", TOKEN, True),
        ("http://127.evil.example:8265", TOKEN, True),
        ("http://10.0.0.3:8265", TOKEN, True),
    ],
)
async def test_a_token_in_clear_text_is_flagged(
    session: aiohttp.ClientSession, base_url: str, token: str | None, in_clear: bool
):
    assert ServeClient(base_url=base_url, session=session, token=token).token_in_clear is in_clear


async def test_cancelling_a_call_cancels_it(serve: ServeRestStandIn, client: ServeClient):
    serve.fail(Fault(hang=True))
    call = asyncio.ensure_future(client.applications())
    await serve.called.wait()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call


RECORDED_BODIES = {
    "ok": b'{"target_num_replicas": 2}',
    "negative": b'{"target_num_replicas": -1}',
    "string": b'{"target_num_replicas": "abc"}',
    "float": b'{"target_num_replicas": 1.5}',
    "missing field": b"{}",
    "extra field": b'{"target_num_replicas": 1, "x": 1}',
    "not json": b"nope",
}


def recorded_answers() -> dict[str, tuple[int, str]]:
    """Status and text of every named row of the recording."""
    lines = (CAPTURES / "scale_light.txt").read_text().splitlines()
    rows = (re.match(r"^([\w /.>()-]+?):? HTTP (\d{3}) '(.*)' \(", line.replace("scale 1->2", "ok")) for line in lines)
    return {row[1]: (int(row[2]), row[3].replace("\\\\", "\\").replace("\\'", "'")) for row in rows if row}


@pytest.mark.parametrize(("case", "body"), RECORDED_BODIES.items())
async def test_the_stand_in_answers_a_body_as_ray_did(serve: ServeRestStandIn, case: str, body: bytes):
    url = f"{serve.base_url}/api/v1/applications/chat/deployments/LLMServer%3Atiny/scale"

    async with aiohttp.ClientSession() as raw, raw.post(url, data=body) as response:
        answered = (response.status, await response.text())

    assert answered == recorded_answers()[case]


@pytest.mark.parametrize(
    ("case", "method", "path", "token"),
    [
        ("unknown app", "POST", "/api/v1/applications/nope/deployments/Echo/scale", TOKEN),
        ("unknown deployment", "POST", "/api/v1/applications/chat/deployments/Nope/scale", TOKEN),
        ("no token", "POST", "/api/v1/applications/chat/deployments/LLMRouter/scale", None),
        ("bad token", "POST", "/api/v1/applications/chat/deployments/LLMRouter/scale", "bad"),
        ("GET on scale", "GET", "/api/v1/applications/chat/deployments/LLMRouter/scale", TOKEN),
        ("old path /api/serve/...", "POST", "/api/serve/applications/chat/deployments/Echo/scale", TOKEN),
    ],
)
async def test_the_stand_in_answers_a_wrong_request_as_ray_did(case: str, method: str, path: str, token: str | None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    async with (
        ServeRestStandIn(token=TOKEN) as serve,
        aiohttp.ClientSession() as raw,
        raw.request(method, serve.base_url + path, headers=headers, json={"target_num_replicas": 2}) as response,
    ):
        answered = (response.status, await response.text())

    assert answered == recorded_answers()[case]
