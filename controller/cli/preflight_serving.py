"""foreserve preflight serving: whether the fast serving path is in effect on a running cluster."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Annotated, Literal
from urllib.parse import urlsplit

import aiohttp
import typer

from controller.actuators.preflight import Check, CheckStatus, check_no_access
from controller.actuators.serving_preflight import (
    NodeFound,
    Streamed,
    answers_by_server,
    check_executor,
    check_haproxy,
    check_settings,
    check_traffic,
)
from controller.cli.checks import print_checks
from controller.cli.exit_codes import ExitCode
from controller.cli.settings_options import HAProxyUrls, ServeTokenFile, ServeUrl
from controller.clients.ray_jobs import RayJobs
from controller.clock import SystemClock
from controller.errors import UnavailableError
from controller.load.sse import ChatStream
from controller.load.target import Target
from controller.settings import Settings, load_settings
from serving.effective import MARK
from serving.environment import PROFILES

_LOOK_WITHIN_S = 60.0
_REQUESTS = 4
_TOKENS = 16


def preflight_serving(
    *,
    openai_url: Annotated[str, typer.Option("--url", help="The service itself, as clients reach it.")] = (
        "http://127.0.0.1:8000"
    ),
    model: Annotated[str, typer.Option(help="Model that a few tokens are asked of.")] = "tiny",
    api_key: Annotated[
        str | None,
        typer.Option(envvar="OPENAI_API_KEY", help="Key of the service, if it wants one.", show_default=False),
    ] = None,
    profile: Annotated[
        Literal["gpu", "local"] | None,
        typer.Option(help="Which settings are right: for GPU nodes, or one machine.", show_default="by the cluster"),
    ] = None,
    serve_url: ServeUrl = None,
    serve_token_file: ServeTokenFile = None,
    haproxy_url: HAProxyUrls = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that HAProxy serves, tokens stream directly, and vLLM runs on the v2 executor: by effect, not by request.

    Runs a short job on the Ray cluster that looks at every node, and asks the service for a few tokens.

    Exit status: 0 when nothing is in the way, 2 for a bad setting, 3 when the cluster cannot be reached,
    4 when a check failed.

    \b
    Examples:
      foreserve preflight serving --url http://127.0.0.1:8000 --model tiny
      foreserve preflight serving --url https://llm.example --model llama --serve-url http://ray-head:8265
    """  # noqa: D301 - click reads the backspace
    settings = load_settings(
        # The policy is not read here; the settings want one.
        policy="-",
        serve_url=serve_url,
        serve_token_file=serve_token_file,
        haproxy_urls=haproxy_url or None,
    )
    target = Target(url=openai_url, model=model, token=api_key, timeout_s=60.0)
    reachable, checks = asyncio.run(_look(settings, target, profile))
    failed = any(check.status is CheckStatus.FAIL for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print_checks(checks)
    if not reachable:
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if failed:
        raise typer.Exit(ExitCode.CHECK_FAILED)


async def _look(settings: Settings, target: Target, profile: str | None) -> tuple[bool, tuple[Check, ...]]:
    clock = SystemClock()
    async with aiohttp.ClientSession() as session:
        jobs = RayJobs(address=settings.serve_url, session=session, token=settings.serve_secret(), clock=clock)
        try:
            nodes = _nodes(await jobs.run("python -m serving.effective", within_s=_LOOK_WITHIN_S))
        except UnavailableError as error:
            return False, check_no_access(error)
        on_cpu = any(node.environment.get("VLLM_TARGET_DEVICE") == "cpu" for node in nodes)
        wanted = PROFILES[profile or ("local" if on_cpu else "gpu")]
        port = urlsplit(target.url).port or (443 if target.url.startswith("https") else 80)
        holds = any(port in one.listens for node in nodes for one in node.haproxy)
        # Behind a load balancer the address has another port than HAProxy.
        inner = port if holds else _http_port(nodes)
        pages = settings.haproxy_urls or (f"http://{urlsplit(settings.serve_url).hostname}:9101",)
        before = await _answers(session, pages)
        streamed = await _stream(session, target, clock)
        after = await _answers(session, pages)
    checks = (
        *check_settings(nodes, wanted),
        *check_haproxy(nodes, port=inner),
        *check_traffic(before, after, streamed),
        check_executor(nodes),
    )
    return True, checks


def _nodes(logs: str) -> list[NodeFound]:
    line = next((line for line in logs.splitlines() if line.startswith(MARK)), None)
    if line is None:
        msg = f"the cluster's job told nothing ({' '.join(logs.split())[-300:]}); is foreserve installed in its image?"
        raise UnavailableError(msg)
    return [NodeFound.model_validate(node) for node in json.loads(line.removeprefix(MARK))]


def _http_port(nodes: list[NodeFound]) -> int:
    frontends = [int(bind.rpartition(":")[2]) for node in nodes for one in node.haproxy for bind in one.binds]
    known = {9101, 8404}
    return next((port for port in frontends if port not in known), 8000)


async def _answers(session: aiohttp.ClientSession, pages: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for page in pages:
        url = page if page.endswith("/metrics") else f"{page.rstrip('/')}/metrics"
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as answer:
                counted = answers_by_server(await answer.text())
        except (aiohttp.ClientError, TimeoutError, OSError):
            continue
        found = {server: found.get(server, 0.0) + counted.get(server, 0.0) for server in {*found, *counted}}
    return found


async def _stream(session: aiohttp.ClientSession, target: Target, clock: SystemClock) -> Streamed:
    arrived: list[float] = []
    for _ in range(_REQUESTS):
        arrived = []
        body = target.chat_body("Count to ten.", max_tokens=_TOKENS)
        try:
            async with (
                asyncio.timeout(target.timeout_s),
                session.post(target.chat_url, data=body, headers=target.headers) as answer,
            ):
                if answer.status != 200:  # noqa: PLR2004
                    text = (await answer.text())[:200]
                    return Streamed(sent=0, problem=f"{target.chat_url} answered HTTP {answer.status}: {text}")
                stream = ChatStream()
                async for chunk in answer.content.iter_any():
                    if stream.feed(chunk):
                        arrived.append(clock.monotonic())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Streamed(sent=0, problem=f"{target.chat_url}: {type(error).__name__} {error}")
    return Streamed(sent=_REQUESTS, arrived_s=tuple(arrived))
