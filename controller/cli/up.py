"""foreserve up: everything real on this machine, from the first process to the last."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from controller.clock import SystemClock
from controller.errors import BadInputError
from controller.local.ports import Ports
from controller.local.session import SessionOptions, run_session
from controller.local.simulated_options import SimulatedOptions
from controller.local.stack import StackOptions
from controller.local.traffic import TrafficOptions
from controller.local.views import HeadlessView, LiveView, PlainView, View

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PORTS = Ports()
_TRAFFIC = TrafficOptions()
_POLICY = Path("manifests/policies/local.yaml")
_SIMULATED = SimulatedOptions(policy=Path("manifests/policies/simulated.yaml"))
_LOCAL_ONLY = ("port", "prometheus_port", "dashboard_port", "no_prometheus")
_SIMULATED_ONLY = ("clock_speed",)


class ClusterKind(StrEnum):
    """What the service runs on."""

    SIMULATED = "simulated"


def up(
    ctx: typer.Context,
    *,
    cluster: Annotated[
        ClusterKind | None,
        typer.Option(help="simulated: plan nodes, workers and replicas on a simulated GKE cluster, and start no Ray."),
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="End after this much traffic: 90s, 5m, 1h.  [default: Ctrl-C]")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.json and report.html there at the end.")
    ] = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="One JSON line per tick on stdout; everything else on stderr.")
    ] = False,
    policy: Annotated[
        Path | None, typer.Option(help=f"Policy file.  [default: {_POLICY}; simulated: {_SIMULATED.policy}]")
    ] = None,
    trace: Annotated[str, typer.Option(metavar="FILE|NAME", help="Traffic, as for `foreserve load`.")] = _TRAFFIC.trace,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001, help=f"Trace seconds per second.  [default: {_TRAFFIC.speed:g}; simulated: {_SIMULATED.speed:g}]"
        ),
    ] = None,
    rate_scale: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            help="Share of the trace's requests.  "
            f"[default: {_TRAFFIC.rate_scale:g}; simulated: {_SIMULATED.rate_scale:g}]",
        ),
    ] = None,
    clock_speed: Annotated[
        float, typer.Option(min=1.0, max=120.0, help="Simulated cluster: its seconds per second.")
    ] = _SIMULATED.clock_speed,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="OpenAI-compatible API.")] = _PORTS.openai,
    controller_port: Annotated[int, typer.Option(min=1, max=65_535, help="Controller.")] = _PORTS.controller,
    prometheus_port: Annotated[int, typer.Option(min=1, max=65_535, help="Prometheus.")] = _PORTS.prometheus,
    dashboard_port: Annotated[int, typer.Option(min=1, max=65_535, help="Ray dashboard.")] = _PORTS.dashboard,
    no_prometheus: Annotated[bool, typer.Option("--no-prometheus", help="Go on without Prometheus.")] = False,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Logs, records and the model are kept here.")] = Path(
        ".foreserve"
    ),
) -> None:
    """Start Ray, HAProxy, vLLM with a tiny model, Prometheus, the controller and traffic, and show it live.

    Needs no GPU and downloads nothing. Ctrl-C (or SIGTERM) ends the traffic, lets open streams finish, and
    stops everything; a second Ctrl-C hurries. No process, port or shared-memory segment stays behind.

    With --cluster simulated the controller plans the nodes, workers and replicas of a simulated GKE cluster on the
    API server that KUBECONFIG names, which must be empty: nodes there are objects, requests are numbers, and time
    runs faster. docs/simulated-cloud.md lists what is real.

    Exit status: 0 when it ended as asked, 1 when something failed on the way, 2 for bad input (a port that is
    taken, a wrong policy, a missing program).

    \b
    Examples:
      foreserve up
      foreserve up --duration 5m --report out/
      foreserve up --headless --duration 2m --port 18000 > ticks.jsonl
      foreserve up --cluster simulated --duration 4m     # KUBECONFIG: an empty cluster, such as one of kind
    """  # noqa: D301 - click reads the backspace
    given = [name for name in ctx.params if getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    view = _view(headless=headless)
    duration_s = None if duration is None else seconds(duration)
    if cluster is ClusterKind.SIMULATED:
        from controller.local.simulated import run_simulated  # noqa: PLC0415 - the whole controller comes with it

        _refuse(given, _LOCAL_ONLY, "is for a service on this machine, not for a simulated cluster; leave it out")
        simulated = SimulatedOptions(
            policy=policy or _SIMULATED.policy,
            runs=folder / "runs",
            port=controller_port,
            trace=trace,
            clock_speed=clock_speed,
            speed=speed or _SIMULATED.speed,
            rate_scale=rate_scale or _SIMULATED.rate_scale,
            duration_s=duration_s,
            report=report,
        )
        for line in run_simulated(simulated, view=view):
            view.note(line)
        return
    _refuse(given, _SIMULATED_ONLY, "needs --cluster simulated: only its clock can run faster")
    ports = Ports(openai=port, controller=controller_port, prometheus=prometheus_port, dashboard=dashboard_port)
    options = SessionOptions(
        stack=StackOptions(
            policy=policy or _POLICY,
            runs=folder / "runs",
            model=folder / "models" / "tiny",
            ports=ports,
            with_prometheus=not no_prometheus,
        ),
        traffic=TrafficOptions(
            trace=trace, speed=speed or _TRAFFIC.speed, rate_scale=rate_scale or _TRAFFIC.rate_scale
        ),
        duration_s=duration_s,
        report=report,
    )
    account = run_session(options, view=view, clock=SystemClock(), pause=time.sleep)
    for line in account.lines() if account else ():
        view.note(line)


def _refuse(given: Sequence[str], names: Sequence[str], why: str) -> None:
    wrong = [f"--{name.replace('_', '-')}" for name in names if name in given]
    if wrong:
        msg = f"{', '.join(wrong)} {why}"
        raise BadInputError(msg)


def seconds(text: str) -> float:
    """Read ``90``, ``90s``, ``5m`` or ``1h``. Raises ``BadInputError``."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        msg = f"--duration {text!r} is no time; expected a number with s, m or h, such as 90s or 5m"
        raise BadInputError(msg)
    return float(match[1]) * _UNIT_S[match[2] or "s"]


def _view(*, headless: bool) -> View:
    if headless:
        return HeadlessView()
    return LiveView(Console()) if sys.stdout.isatty() else PlainView()
