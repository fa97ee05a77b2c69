"""foreserve plan: one dry-run tick."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from controller import app
from controller.cli.plan_text import plan_text
from controller.cli.settings_options import (
    HAProxyUrls,
    Policy,
    PrometheusTokenFile,
    PrometheusUrl,
    RayMetricsTargets,
    RaySdFile,
    ServeTokenFile,
    ServeUrl,
    Store,
)
from controller.codec import dump_record
from controller.settings import load_settings


def plan(
    *,
    policy: Policy = None,
    serve_url: ServeUrl = None,
    serve_token_file: ServeTokenFile = None,
    ray_sd_file: RaySdFile = None,
    ray_metrics_target: RayMetricsTargets = None,
    haproxy_url: HAProxyUrls = None,
    prometheus_url: PrometheusUrl = None,
    prometheus_token_file: PrometheusTokenFile = None,
    store: Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole record as JSON.")] = False,
) -> None:
    """Show what the controller would do now, and why. Nothing is changed and nothing is stored.

    Takes as long as the policy's window (control.window_s), to measure rates. What a running controller
    remembers is read from its store.

    \b
    Examples:
      foreserve plan --policy policy.yaml
      foreserve plan --policy policy.yaml --json | jq '.deployments[].decision'
    """  # noqa: D301 - click reads the backspace
    settings = load_settings(
        policy=policy,
        serve_url=serve_url,
        serve_token_file=serve_token_file,
        ray_sd_file=ray_sd_file,
        ray_metrics_targets=ray_metrics_target or None,
        haproxy_urls=haproxy_url or None,
        prometheus_url=prometheus_url,
        prometheus_token_file=prometheus_token_file,
        store=store,
    )
    record = asyncio.run(app.plan(settings, say=lambda sentence: typer.echo(sentence, err=True)))
    typer.echo(dump_record(record).decode() if as_json else plan_text(record))
