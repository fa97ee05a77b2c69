"""Command-line options that several commands share. Not given means: as the environment or the default says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Policy = Annotated[Path | None, typer.Option(help="Policy file (YAML).", show_default=False)]
ServeUrl = Annotated[
    str | None, typer.Option(help="Ray Serve's REST API (Ray's dashboard).", show_default="http://127.0.0.1:8265")
]
ServeTokenFile = Annotated[Path | None, typer.Option(help="File with Ray's token.", show_default=False)]
RaySdFile = Annotated[
    Path | None,
    typer.Option(help="Ray's Prometheus service-discovery file; otherwise the dashboard is asked.", show_default=False),
]
RayMetricsTargets = Annotated[
    list[str] | None,
    typer.Option(help="URL of a Ray metrics agent; may be given several times.", show_default=False),
]
HAProxyUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--haproxy-url", help="HAProxy's Prometheus endpoint; may be given several times.", show_default=False
    ),
]
PrometheusUrl = Annotated[
    str | None,
    typer.Option(help="Prometheus-compatible API to ask instead of Ray's agents.", show_default=False),
]
PrometheusTokenFile = Annotated[Path | None, typer.Option(help="File with that API's token.", show_default=False)]
Store = Annotated[Path | None, typer.Option(help="File for records and state.", show_default=".foreserve/foreserve.db")]
Advisory = Annotated[
    bool | None,
    typer.Option(
        "--advisory", help="Compute and record, touch nothing, whatever the policy's mode.", show_default=False
    ),
]
KubeContext = Annotated[
    str | None, typer.Option(help="Context of the kubeconfig.", show_default="the pod's account, or the one in use")
]
Namespace = Annotated[
    str | None, typer.Option(help="Kubernetes namespace of the RayService.", show_default="the pod's or context's")
]
RayService = Annotated[str | None, typer.Option(help="RayService to scale.", show_default="the only one")]
RayCluster = Annotated[str | None, typer.Option(help="RayCluster to scale that no RayService made.")]
LeaderElection = Annotated[
    bool | None,
    typer.Option("--leader-election", help="Act only while this one, of several, holds the Lease.", show_default=False),
]
