"""foreserve preflight, as a user calls it, against stand-ins on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from aiohttp import web
from typer.testing import CliRunner, Result

from controller.cli.exit_codes import ExitCode
from controller.cli.preflight import preflight
from controller.errors import BadInputError
from tests.serve_rest import CAPTURES, CHAT, ServeRestStandIn

POLICY = """\
version: 1
deployments:
  - application: chat
    deployment: "LLMServer:tiny"
    limits: {max_replicas: 4}
    capacity: {target_ongoing_requests: 8}
"""
TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@contextmanager
def started(serve: ServeRestStandIn) -> Iterator[list[str]]:
    """Serve a stand-in and both metrics pages beside the command, which has an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = web.AppRunner(_pages())

    async def start() -> str:
        await serve.__aenter__()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop() -> None:
        await serve.__aexit__()
        await runner.cleanup()

    try:
        pages = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        targets = ["--ray-metrics-target", f"{pages}/ray", "--haproxy-url", f"{pages}/haproxy"]
        yield ["--serve-url", serve.base_url, *targets]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _pages() -> web.Application:
    names = {"/ray": "ray_8080_llmd_2replicas", "/haproxy": "haproxy_9101_llmd_2replicas"}

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=gzip.decompress((CAPTURES / f"{names[request.path]}.prom.gz").read_bytes()))

    app = web.Application()
    app.router.add_routes([web.get(path, page) for path in names])
    return app


def invoke(policy: Path, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(preflight)
    return CliRunner().invoke(app, ["--policy", str(policy), *arguments])


def test_a_ready_system_is_all_ticks(policy: Path) -> None:
    with started(ServeRestStandIn()) as arguments:
        result = invoke(policy, *arguments)

    assert result.exit_code == ExitCode.OK, result.output
    assert "✗" not in result.stdout
    assert "fix:" not in result.stdout
    assert result.stdout.splitlines()[-1] == "12 checks: 12 in place, 0 worth knowing, 0 in the way"


def test_a_failed_check_prints_its_fix_and_exits_4(policy: Path) -> None:
    serve = ServeRestStandIn()
    serve.enable_autoscaling()

    with started(serve) as arguments:
        result = invoke(policy, *arguments)

    assert result.exit_code == ExitCode.CHECK_FAILED
    lines = result.stdout.splitlines()
    failed = next(number for number, line in enumerate(lines) if line.startswith("✗"))
    assert f"{CHAT}: no autoscaling of its own" in lines[failed]
    assert "fix: give the deployment a number: set num_replicas" in lines[failed + 1]
    assert lines[-1].endswith("1 in the way")
    assert serve.scale_calls == []


def test_json_holds_every_check(policy: Path) -> None:
    serve = ServeRestStandIn()
    serve.application()["external_scaler_enabled"] = False

    with started(serve) as arguments:
        result = invoke(policy, "--json", *arguments)

    assert result.exit_code == ExitCode.CHECK_FAILED
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert len(answer["checks"]) == 12
    failed = [check for check in answer["checks"] if check["status"] == "fail"]
    assert [check["name"] for check in failed] == ["chat: external scaling"]
    assert failed[0]["fix"]


def test_an_unreachable_serve_exits_3_and_the_rest_is_still_checked(policy: Path) -> None:
    with started(ServeRestStandIn()) as arguments:
        result = invoke(policy, *arguments, "--serve-url", "http://127.0.0.1:1")

    assert result.exit_code == ExitCode.UNAVAILABLE
    assert result.stdout.startswith("✗ Serve's REST API: Serve at 127.0.0.1:1 cannot be reached")
    assert "✓ ray metric families" in result.stdout


def test_a_wrong_token_exits_3_and_names_the_setting_but_not_the_token(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESERVE_SERVE_TOKEN", "wrong-secret")

    with started(ServeRestStandIn(token=TOKEN)) as arguments:
        result = invoke(policy, *arguments)

    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "FORESERVE_SERVE_TOKEN" in result.stdout
    assert "wrong-secret" not in result.output
    assert TOKEN not in result.output


def test_the_right_token_passes(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_SERVE_TOKEN", TOKEN)

    with started(ServeRestStandIn(token=TOKEN)) as arguments:
        result = invoke(policy, *arguments)

    assert result.exit_code == ExitCode.OK, result.output
    assert "✓ token: accepted" in result.stdout


def test_a_metrics_endpoint_that_is_down_exits_4(policy: Path) -> None:
    with started(ServeRestStandIn()) as arguments:
        result = invoke(policy, "--serve-url", arguments[1], "--ray-metrics-target", "http://127.0.0.1:1")

    assert result.exit_code == ExitCode.CHECK_FAILED
    assert "✗ ray/127.0.0.1:1" in result.stdout
    assert "! haproxy metrics" in result.stdout


def test_a_bad_policy_is_bad_input_before_anything_is_asked(policy: Path) -> None:
    policy.write_text(POLICY.replace("max_replicas", "max_replcas"), encoding="utf-8")
    serve = ServeRestStandIn()

    with started(serve) as arguments:
        result = invoke(policy, *arguments)

    assert isinstance(result.exception, BadInputError)
    assert "max_replcas" in str(result.exception)
    assert serve.calls == []
