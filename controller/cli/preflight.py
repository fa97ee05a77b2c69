"""foreserve preflight: whether Serve and its metrics are ready to be scaled by a policy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import aiohttp
import typer

from controller.actuators.preflight import (
    Check,
    CheckStatus,
    check_access,
    check_no_access,
    check_serve,
    check_sources,
)
from controller.assembly import metrics_collectors, serve_client
from controller.cli.checks import print_checks
from controller.cli.exit_codes import ExitCode
from controller.cli.preflight_serving import preflight_serving
from controller.cli.settings_options import (
    HAProxyUrls,
    PrometheusTokenFile,
    PrometheusUrl,
    RayMetricsTargets,
    RaySdFile,
    ServeTokenFile,
    ServeUrl,
)
from controller.cli.settings_options import Policy as PolicyOption
from controller.clients.serve import ServeClient
from controller.clock import SystemClock
from controller.domain.scrape import Scrape
from controller.errors import UnavailableError
from controller.policy.load import load_policy
from controller.policy.model import Policy
from controller.ports import Collector
from controller.settings import Settings, load_settings

preflight_app = typer.Typer(rich_markup_mode=None)


@preflight_app.callback(invoke_without_command=True)
def preflight(
    context: typer.Context,
    *,
    policy: PolicyOption = None,
    serve_url: ServeUrl = None,
    serve_token_file: ServeTokenFile = None,
    ray_sd_file: RaySdFile = None,
    ray_metrics_target: RayMetricsTargets = None,
    haproxy_url: HAProxyUrls = None,
    prometheus_url: PrometheusUrl = None,
    prometheus_token_file: PrometheusTokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that Serve can be scaled by the policy and that demand can be seen. Changes nothing.

    Prints one line per check: ✓ in place, ! worth knowing, ✗ in the way, with what to do about it.

    Exit status: 0 when nothing is in the way, 2 for a bad policy or setting, 3 when Serve cannot be reached
    or refuses the token, 4 when a check failed.

    \b
    Examples:
      foreserve preflight --policy policy.yaml
      foreserve preflight --policy policy.yaml --haproxy-url http://127.0.0.1:9101
      foreserve preflight --policy policy.yaml --json | jq '.checks[] | select(.status == "fail")'
    """  # noqa: D301 - click reads the backspace
    if context.invoked_subcommand is not None:
        return
    settings = load_settings(
        policy=policy,
        serve_url=serve_url,
        serve_token_file=serve_token_file,
        ray_sd_file=ray_sd_file,
        ray_metrics_targets=ray_metrics_target or None,
        haproxy_urls=haproxy_url or None,
        prometheus_url=prometheus_url,
        prometheus_token_file=prometheus_token_file,
    )
    loaded = load_policy(settings.policy)
    reachable, checks = asyncio.run(_look(settings, loaded.policy))
    failed = any(check.status is CheckStatus.FAIL for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print_checks(checks)
    if not reachable:
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if failed:
        raise typer.Exit(ExitCode.CHECK_FAILED)


async def _look(settings: Settings, policy: Policy) -> tuple[bool, tuple[Check, ...]]:
    """Ask Serve and every metrics endpoint once, at the same time."""
    clock = SystemClock()
    async with aiohttp.ClientSession() as session:
        client = serve_client(settings, session)
        collectors = metrics_collectors(settings, session=session, clock=clock)
        (reachable, of_serve), scrapes = await asyncio.gather(
            _look_at_serve(client, policy, token_given=settings.serve_secret() is not None),
            _scrape(collectors.values(), clock.now()),
        )
    return reachable, (*of_serve, *check_sources(scrapes))


async def _look_at_serve(client: ServeClient, policy: Policy, *, token_given: bool) -> tuple[bool, tuple[Check, ...]]:
    try:
        state = await client.applications()
    except UnavailableError as error:
        return False, check_no_access(error)
    access = check_access(client.address, token_given=token_given, token_in_clear=client.token_in_clear)
    return True, (*access, *check_serve(state, policy))


async def _scrape(collectors: Iterable[Collector], now: float) -> list[Scrape]:
    answers = await asyncio.gather(*(collector.collect(now) for collector in collectors))
    return [scrape for answer in answers for scrape in answer]


preflight_app.command("serving")(preflight_serving)
