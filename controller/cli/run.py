"""foreserve run: the controller in the foreground."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from controller import app
from controller.cli.settings_options import (
    Advisory,
    HAProxyUrls,
    KubeContext,
    LeaderElection,
    Namespace,
    Policy,
    PrometheusTokenFile,
    PrometheusUrl,
    RayCluster,
    RayMetricsTargets,
    RaySdFile,
    RayService,
    ServeTokenFile,
    ServeUrl,
    Store,
)
from controller.settings import load_settings


def run(
    *,
    policy: Policy = None,
    serve_url: ServeUrl = None,
    serve_token_file: ServeTokenFile = None,
    ray_sd_file: RaySdFile = None,
    ray_metrics_target: RayMetricsTargets = None,
    haproxy_url: HAProxyUrls = None,
    prometheus_url: PrometheusUrl = None,
    prometheus_token_file: PrometheusTokenFile = None,
    kube_context: KubeContext = None,
    namespace: Namespace = None,
    ray_service: RayService = None,
    ray_cluster: RayCluster = None,
    leader_election: LeaderElection = None,
    store: Store = None,
    host: Annotated[str | None, typer.Option(help="Address of the controller's API.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the controller's API.", show_default="9900")] = None,
    advisory: Advisory = None,
    headless: Annotated[bool, typer.Option("--headless", "--json", help="Print one line of JSON per tick.")] = False,
    require_serve: Annotated[
        bool, typer.Option("--require-serve", help="Give up at once (exit 3) when Ray Serve does not answer.")
    ] = False,
) -> None:
    """Run the controller until Ctrl-C or SIGTERM.

    Every option is also a FORESERVE_ variable (FORESERVE_POLICY, FORESERVE_SERVE_URL, ...). Tokens are read
    from FORESERVE_SERVE_TOKEN (or RAY_AUTH_TOKEN), FORESERVE_PROMETHEUS_TOKEN, or the token files. The
    policy is followed while it changes. Logs go to stderr as JSON.

    \b
    Examples:
      foreserve run --policy policy.yaml
      foreserve run --policy policy.yaml --advisory --headless
      foreserve run --policy policy.yaml --haproxy-url http://127.0.0.1:9101 --port 9901
      foreserve run --policy policy.yaml --prometheus-url http://prometheus:9090
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
        kube_context=kube_context,
        namespace=namespace,
        ray_service=ray_service,
        ray_cluster=ray_cluster,
        leader_election=leader_election,
        store=store,
        host=host,
        port=port,
        advisory=advisory,
    )
    asyncio.run(
        app.run(
            settings,
            say=lambda sentence: typer.echo(sentence, err=True),
            lines=sys.stdout if headless else None,
            require_serve=require_serve,
        )
    )
