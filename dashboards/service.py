"""Are users fine? Latency and success against objectives, budgets, by model."""

from __future__ import annotations

from typing import Any

from controller.catalog import exported, recorded, scraped, watched
from controller.catalog.metric import Metric
from controller.catalog.promql import differs, equals, matches
from dashboards.frame import dashboard
from dashboards.panel import Panel, Query, Section, Shape, Unit
from dashboards.query import mean, of, quantile, rate, ratio, total

_FAILED = "5..|408"
_DEPLOYMENT = "{{application}}/{{deployment}}"
_BUDGET = ((0.0, "orange"), (0.25, "green"))
_USERS = (differs("application", ""), 'route!~"/-/.*"')


def service() -> Any:
    """Return the dashboard for the people whose users these are."""
    return dashboard(
        uid="foreserve-service",
        title="Foreserve / Service",
        description="Are users fine? Latency, success and error budgets against the policy's objectives.",
        sections=(
            Section("Are users fine?", _now()),
            Section("Latency", _latency()),
            Section("Requests, errors, shedding", _requests()),
            Section("Objectives and error budgets (needs the recording rules)", _budgets()),
            Section("Traffic by model", _traffic()),
            Section("Canaries", _canaries(), collapsed=True),
        ),
    )


def _now() -> tuple[Panel, ...]:
    failed = total("", rate(scraped.SERVE_HTTP_REQUESTS, matches("status_code", _FAILED)))
    every = total("", rate(scraped.SERVE_HTTP_REQUESTS, differs("application", "")))
    shed = total("", rate(scraped.SERVE_HTTP_ERRORS, equals("error_code", "503")))
    return (
        _number(
            "TTFT, share of its objective",
            "Time to first token (p95) over the objective. Above 100 % it is missed.",
            Query(_share(exported.TTFT, exported.TTFT_OBJECTIVE), _DEPLOYMENT),
            thresholds=((0.8, "orange"), (1, "red")),
        ),
        _number(
            "ITL, share of its objective",
            "Inter-token latency (p95) over the objective. Above 100 % it is missed.",
            Query(_share(exported.ITL, exported.ITL_OBJECTIVE), _DEPLOYMENT),
            thresholds=((0.8, "orange"), (1, "red")),
        ),
        _number(
            "Failed requests",
            "Share of requests that the service failed: 5xx and 408. Clients that left (499) do not count.",
            Query(f"{ratio(failed, every)} or {every} * 0", "failed"),
            thresholds=((0.001, "orange"), (0.01, "red")),
        ),
        _number(
            "Shed requests",
            "Share of requests turned away with 503. More replicas, or a higher limit, take them in.",
            Query(f"{ratio(shed, every)} or {every} * 0", "shed"),
            thresholds=((0.001, "orange"), (0.01, "red")),
        ),
        _number(
            "Least error budget left",
            "Of the last 30 days, over all objectives. At 0 the month's promise is broken.",
            Query(f"min({of(recorded.SLO_BUDGET_LEFT)})", "left"),
            thresholds=_BUDGET,
            base="red",
            minimum=None,
        ),
        Panel(
            title="Requests",
            description="HTTP requests finished per second, health checks left out.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(Query(total("", rate(scraped.SERVE_HTTP_REQUESTS, *_USERS)), "requests"),),
            shape=Shape.NUMBERS,
            width=4,
            height=5,
        ),
    )


def _share(measured: Metric, promised: Metric) -> str:
    p95 = of(measured, equals("quantile", "0.95"))
    return f"{p95} / ignoring (quantile) {of(promised)}"


def _number(
    title: str,
    description: str,
    query: Query,
    *,
    thresholds: tuple[tuple[float, str], ...],
    base: str = "green",
    minimum: float | None = 0,
) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=Unit.SHARE,
        queries=(query,),
        shape=Shape.NUMBERS,
        width=4,
        height=5,
        thresholds=thresholds,
        base=base,
        minimum=minimum,
        decimals=1,
    )


def _latency() -> tuple[Panel, ...]:
    return (
        _percentiles(
            "Time to first token",
            "From arrival at the engine. Dashed: objective.",
            scraped.VLLM_TTFT,
            exported.TTFT_OBJECTIVE,
        ),
        _percentiles(
            "Inter-token latency",
            "Between two tokens of a stream. Dashed: objective.",
            scraped.VLLM_ITL,
            exported.ITL_OBJECTIVE,
        ),
        _percentiles("End to end in the engine", "From arrival to the last token.", scraped.VLLM_E2E, None),
        Panel(
            title="HTTP latency by application",
            description="As Ray Serve measures it, the whole stream included.",
            unit=Unit.MILLISECONDS,
            queries=tuple(
                Query(
                    quantile(p, watched.SERVE_HTTP_LATENCY, "application", *_USERS), f"{{{{application}}}} p{p * 100:g}"
                )
                for p in (0.5, 0.9, 0.95, 0.99)
            ),
        ),
        Panel(
            title="HTTP latency by route (p95)",
            description="Which route is slow.",
            unit=Unit.MILLISECONDS,
            queries=(
                Query(
                    quantile(0.95, watched.SERVE_HTTP_LATENCY, "application, route", *_USERS),
                    "{{application}} {{route}}",
                ),
            ),
        ),
        Panel(
            title="Time per output token",
            description="Mean between two tokens of a finished request, by request: how even streams feel.",
            unit=Unit.SECONDS,
            queries=tuple(
                Query(quantile(p, scraped.VLLM_TPOT, "model_name"), f"{{{{model_name}}}} p{p * 100:g}")
                for p in (0.5, 0.9, 0.95, 0.99)
            ),
        ),
    )


def _percentiles(title: str, description: str, histogram: Metric, objective: Metric | None) -> Panel:
    quantiles = tuple(
        Query(quantile(p, histogram, "model_name"), f"{{{{model_name}}}} p{p * 100:g}") for p in (0.5, 0.9, 0.95, 0.99)
    )
    average = Query(mean(histogram, "model_name"), "{{model_name}} mean")
    promised = () if objective is None else (Query(of(objective), f"objective {_DEPLOYMENT}"),)
    return Panel(
        title=title,
        description=description,
        unit=Unit.SECONDS,
        queries=(*quantiles, average, *promised),
        dashed=("/^objective/",),
        height=8,
    )


def _requests() -> tuple[Panel, ...]:
    by_status = total("status_code", rate(scraped.SERVE_HTTP_REQUESTS, *_USERS))
    return (
        Panel(
            title="Requests by status",
            description="503 is shed, 500 failed, 408 timed out, 499 a client that left.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(Query(by_status, "{{status_code}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Requests by application and route",
            description="Finished HTTP requests per second.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(
                Query(
                    total("application, route", rate(scraped.SERVE_HTTP_REQUESTS, *_USERS)), "{{application}} {{route}}"
                ),
            ),
        ),
        Panel(
            title="Errors by application and code",
            description="HTTP requests that failed, by error code.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(
                Query(
                    total("application, route, error_code", rate(scraped.SERVE_HTTP_ERRORS, *_USERS)),
                    "{{application}} {{route}} {{error_code}}",
                ),
            ),
        ),
        Panel(
            title="Errors by deployment",
            description="HTTP errors of each deployment, by code.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(
                Query(
                    total("application, deployment, error_code", rate(watched.SERVE_DEPLOYMENT_HTTP_ERRORS)),
                    f"{_DEPLOYMENT} {{{{error_code}}}}",
                ),
            ),
        ),
        Panel(
            title="Failed and shed, as the controller sees them",
            description="What the controller adds to demand, so that refused requests ask for replicas too.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(
                Query(of(exported.ERRORS), f"failed {_DEPLOYMENT}"),
                Query(of(exported.SHED), f"shed {_DEPLOYMENT}"),
            ),
        ),
        Panel(
            title="Waiting requests",
            description="Waiting for a replica or in its engine. Standing queues make first tokens late.",
            unit=Unit.COUNT,
            queries=(Query(of(exported.QUEUED), _DEPLOYMENT),),
        ),
    )


def _budgets() -> tuple[Panel, ...]:
    objective = "{{application}} {{deployment}} {{slo}}"
    return (
        Panel(
            title="Burn rate",
            description="Error budget burnt, as a multiple of what lasts 30 days. Pages begin at 14.4 over 1 h.",
            unit=Unit.NONE,
            queries=(
                Query(of(recorded.SLO_BURN["5m"]), f"{objective} 5m"),
                Query(of(recorded.SLO_BURN["1h"]), f"{objective} 1h"),
                Query(of(recorded.SLO_BURN["6h"]), f"{objective} 6h"),
            ),
            thresholds=((1, "orange"), (14.4, "red")),
        ),
        Panel(
            title="Error budget left, 30 days",
            description="Below 0 the objective was missed over these days.",
            unit=Unit.SHARE,
            queries=(Query(of(recorded.SLO_BUDGET_LEFT), objective),),
            shape=Shape.BAR_GAUGE,
            thresholds=_BUDGET,
            base="red",
            maximum=1,
        ),
        Panel(
            title="Firing alerts",
            description="Click an alert for its runbook.",
            unit=Unit.NONE,
            queries=(Query('ALERTS{alertstate="firing",application=~"$application|"}'),),
            shape=Shape.TABLE,
            links=(("Runbook", "${runbooks}/${__data.fields.alertname}.md"),),
            hidden_columns=("Time", "__name__", "instance", "job", "alertstate", "Value"),
        ),
        Panel(
            title="Events that objectives are about",
            description="Requests, first tokens and output tokens per second; without any, nothing burns.",
            unit=Unit.PER_SECOND,
            queries=(Query(of(recorded.SLO_EVENTS), objective),),
            width=12,
        ),
        Panel(
            title="Share of bad events",
            description="Events that missed their objective, over five minutes.",
            unit=Unit.SHARE,
            queries=(Query(f"{of(recorded.SLO_BAD_EVENTS)} / ({of(recorded.SLO_EVENTS)} > 0)", objective),),
            width=12,
            maximum=1,
        ),
    )


def _traffic() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Finished requests by model",
            description="Requests that engines finished, per second.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(Query(total("model_name", rate(scraped.VLLM_REQUEST_SUCCESS)), "{{model_name}}"),),
        ),
        Panel(
            title="Prompt tokens by model",
            description="Prefilled per second.",
            unit=Unit.PER_SECOND,
            queries=(Query(total("model_name", rate(scraped.VLLM_PROMPT_TOKENS)), "{{model_name}}"),),
        ),
        Panel(
            title="Output tokens by model",
            description="Generated per second.",
            unit=Unit.PER_SECOND,
            queries=(Query(total("model_name", rate(scraped.VLLM_GENERATION_TOKENS)), "{{model_name}}"),),
        ),
    )


def _canaries() -> tuple[Panel, ...]:
    sides = "{{canary}} {{side}}"
    failed = of(exported.CANARY_REQUESTS, equals("outcome", "failed"))
    every = f"sum without (outcome) ({of(exported.CANARY_REQUESTS)})"
    return (
        Panel(
            title="Share of a new build",
            description="Of the requests. The controller raises it step by step, and takes it back to 0.",
            unit=Unit.SHARE,
            queries=(Query(of(exported.CANARY_SHARE), "{{canary}}"),),
            maximum=1,
        ),
        Panel(
            title="Requests by build",
            description="As the splitter sends them: what a canary failed before its first byte counts for both.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(Query(total("build, outcome", rate(watched.SPLIT_REQUESTS)), "{{build}} {{outcome}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Where new builds are",
            description="`foreserve explain` has the reason.",
            unit=Unit.NONE,
            queries=(Query(f"{of(exported.CANARY_PHASE)} == 1", "{{canary}} {{build}} {{phase}}"),),
        ),
        Panel(
            title="Failed requests in this step",
            description="Share of both sides since the share last changed.",
            unit=Unit.SHARE,
            queries=(Query(f"sum without (outcome) ({failed}) / ({every} > 0)", sides),),
        ),
        Panel(
            title="Median to the first byte in this step",
            description="Of both sides. A canary that is slower than the policy's max_slowdown is taken back.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.CANARY_FIRST_BYTE), sides),),
        ),
        Panel(
            title="Share, as the splitting replicas have it",
            description="They ask twice a second. 0 while the board that holds it is lost.",
            unit=Unit.SHARE,
            queries=(Query(f"max by (build) ({of(watched.SPLIT_SHARE)})", "{{build}}"),),
            maximum=1,
        ),
    )
