"""Whether everything is in place for a policy's mode, as checks with a fix each. Pure: answers in, checks out."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from controller.actuators.serve_guards import (
    ADD_GUIDED_POLICY,
    ENABLE_EXTERNAL_SCALER,
    REMOVE_AUTOSCALING,
    not_guided,
)
from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.clients.serve import URL_SETTING, ServeRefusedError
from controller.domain.identity import DeploymentId
from controller.domain.scrape import Scrape, SourceKind
from controller.domain.serve import ApplicationState, DeploymentState, ServeState
from controller.errors import UnavailableError
from controller.policy.model import DeploymentPolicy, Mode, Policy

ESSENTIAL = {
    SourceKind.RAY: (scraped.SERVE_TARGET,),
    SourceKind.HAPROXY: (scraped.HAPROXY_START_TIME, scraped.HAPROXY_SESSIONS, scraped.HAPROXY_REQUESTS),
}
"""Families that are there as soon as Serve runs an application; without them it is another page."""

WITH_TRAFFIC = (
    scraped.SERVE_PROCESSING,
    scraped.SERVE_REQUESTS,
    scraped.VLLM_PROMPT_TOKENS,
    scraped.VLLM_GENERATION_TOKENS,
    scraped.VLLM_TTFT,
    scraped.VLLM_ITL,
)
"""Families that appear with a running replica or the first request, so that their absence may only mean neither."""

_SERVE = "Serve's REST API"
_TOKEN = "token"  # noqa: S105 - the name of a check
_SETTLING = {"DEPLOYING", "NOT_STARTED"}
_FINDING = {
    SourceKind.RAY: "set FORESERVE_RAY_SD_FILE, FORESERVE_RAY_METRICS_TARGETS or FORESERVE_PROMETHEUS_URL",
    SourceKind.HAPROXY: "set FORESERVE_HAPROXY_URLS to its metrics endpoint (http://NODE:9101), FORESERVE_HAPROXY_PORT "
    "to its port there, or FORESERVE_PROMETHEUS_URL to a Prometheus that scrapes it; Ray's service discovery does not "
    "list it",
}


class CheckStatus(StrEnum):
    """How a check came out; only ``FAIL`` makes preflight fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. ``fix`` says what to do; empty when nothing is to be done."""

    name: str
    status: CheckStatus
    detail: str
    fix: str = ""


def check_access(address: str, *, token_given: bool, token_in_clear: bool) -> tuple[Check, ...]:
    """Check how Serve, which has answered, was reached."""
    reached = _ok(_SERVE, f"{address} answers")
    if token_in_clear:
        return reached, _warn(
            _TOKEN,
            f"accepted, but sent unencrypted to {address}",
            f"use an https address ({URL_SETTING}) for anything beyond this machine",
        )
    return reached, _ok(_TOKEN, "accepted" if token_given else "none is set, and none is asked for")


def check_no_access(error: UnavailableError) -> tuple[Check, ...]:
    """Say why Serve could not be asked."""
    if isinstance(error, ServeRefusedError) and error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return (_fail(_TOKEN, str(error), "on the Ray head, `ray get-auth-token` prints the cluster's token"),)
    fix = f"start Ray Serve, or set {URL_SETTING} to the address of Ray's dashboard (port 8265)"
    return (_fail(_SERVE, str(error), fix),)


def check_serve(state: ServeState, policy: Policy) -> tuple[Check, ...]:
    """Check every deployment of the policy against what Serve has, in the policy's order."""
    checks: list[Check] = []
    applications_checked: set[str] = set()
    for wanted in policy.deployments:
        application, deployment = state.application(wanted.application), state.deployment(wanted.id)
        if application is not None and application.name not in applications_checked:
            applications_checked.add(application.name)
            checks.append(_status(application))
            if policy.mode is not Mode.GUIDED:
                checks.append(_external_scaler(application))
        checks.append(_deployed(state, wanted.id))
        if deployment is not None and policy.mode is Mode.GUIDED:
            checks += [*_guided(state, deployment, wanted), _concurrency(deployment, wanted)]
        elif deployment is not None:
            checks += [_own_autoscaling(deployment), _limits(deployment, wanted), _concurrency(deployment, wanted)]
    return tuple(checks)


def check_sources(scrapes: Sequence[Scrape]) -> tuple[Check, ...]:
    """Check one pass over the metrics endpoints: each answers, and the essential families are there."""
    checks: list[Check] = []
    for kind in (SourceKind.RAY, SourceKind.HAPROXY):
        of_kind = [scrape for scrape in scrapes if scrape.kind is kind]
        checks += [_source(scrape) for scrape in of_kind]
        answered = [scrape for scrape in of_kind if scrape.ok]
        if not of_kind:
            checks.append(_no_source(kind))
        if answered:
            checks += _families(kind, answered)
    return tuple(checks)


def _status(application: ApplicationState) -> Check:
    name = f"{application.name}: status"
    unwell = [
        f"{deployment.id.deployment} is {deployment.status}"
        + (f" ({' '.join(deployment.message.split())[-200:]})" if deployment.message else "")
        for deployment in application.deployments
        if deployment.status in {"UNHEALTHY", "DEPLOY_FAILED"}
    ]
    detail = "; ".join([application.status, *unwell])
    if application.status == "RUNNING" and not unwell:
        return _ok(name, detail)
    if application.status in _SETTLING:
        return _warn(name, detail, "wait until it is RUNNING, then run preflight again")
    return _fail(name, detail, "see `serve status` and the application's log for the cause")


def _external_scaler(application: ApplicationState) -> Check:
    name = f"{application.name}: external scaling"
    if application.external_scaler_enabled:
        return _ok(name, "allowed")
    return _fail(name, "not allowed, so Serve refuses every target", ENABLE_EXTERNAL_SCALER)


def _deployed(state: ServeState, wanted: DeploymentId) -> Check:
    name = f"{wanted}: deployed"
    found = state.deployment(wanted)
    if found is not None:
        return _ok(name, f"{found.status}, target {found.target_replicas}, {len(found.replicas)} replicas")
    deployed = [str(each.id) for application in state.applications for each in application.deployments]
    if not deployed:
        return _fail(name, "Serve has no deployment at all", "deploy the application, then run preflight again")
    nearest = sorted(deployed, key=lambda other: -difflib.SequenceMatcher(None, str(wanted), other).ratio())
    return _fail(
        name, "Serve does not have it", f"correct application and deployment in the policy; Serve has {_list(nearest)}"
    )


def _own_autoscaling(deployment: DeploymentState) -> Check:
    name = f"{deployment.id}: no autoscaling of its own"
    if not deployment.autoscaling_configured:
        return _ok(name, f"num_replicas is {deployment.config_replicas}")
    return _fail(
        name,
        "it has an autoscaling_config, with which Serve undoes every target set from outside within 0.3 s although it "
        "answers 200. An LLMConfig without num_replicas gets one silently (min = max = 1, target_ongoing_requests 1e9)",
        REMOVE_AUTOSCALING,
    )


def _guided(state: ServeState, deployment: DeploymentState, policy: DeploymentPolicy) -> list[Check]:
    name = f"{deployment.id}: guided"
    found = deployment.autoscaling
    objection = not_guided(state, deployment.id)
    if found is None or objection is not None:
        return [_fail(name, objection or "Serve does not scale it by itself", ADD_GUIDED_POLICY)]
    checks = [_ok(name, f"Serve scales it by {found.policy}, from {found.min_replicas} to {found.max_replicas}")]
    if found.max_replicas is not None and found.max_replicas < policy.limits.max_replicas:
        checks.append(
            _warn(
                f"{deployment.id}: bounds",
                f"Serve stops at {found.max_replicas} replicas, the policy's max_replicas is "
                f"{policy.limits.max_replicas}: floors above are not followed",
                "raise guided.max_replicas of the application, or lower limits.max_replicas in the policy",
            )
        )
    if found.upscale_delay_s:
        checks.append(
            _warn(
                f"{deployment.id}: delay",
                f"Serve waits upscale_delay_s {found.upscale_delay_s:g} s before it follows a floor",
                "set upscale_delay_s to 0 in the autoscaling config; look_back_period_s smooths its own reaction",
            )
        )
    return checks


def _limits(deployment: DeploymentState, policy: DeploymentPolicy) -> Check:
    name = f"{deployment.id}: limits"
    limits = policy.limits
    live, configured = deployment.target_replicas, deployment.config_replicas
    allowed = f"{limits.min_replicas} to {limits.max_replicas}"
    if live is not None and not limits.min_replicas <= live <= limits.max_replicas:
        return _warn(
            name,
            f"the target is {live}, outside {allowed}; the first plan moves it",
            "check limits in the policy if that is not wanted",
        )
    if configured is not None and not limits.min_replicas <= configured <= limits.max_replicas:
        return _warn(
            name,
            f"the configured num_replicas is {configured}, outside {allowed}; a redeploy resets the target to it",
            f"set num_replicas in the Serve config to a number from {allowed}",
        )
    return _ok(name, f"target {live} and configured {configured} are within {allowed}")


def _concurrency(deployment: DeploymentState, policy: DeploymentPolicy) -> Check:
    name = f"{deployment.id}: concurrency"
    most, target = deployment.max_ongoing_requests, policy.capacity.target_ongoing_requests
    if most is None:
        return _ok(name, "Serve reports no max_ongoing_requests")
    if target > most:
        return _warn(
            name,
            f"target_ongoing_requests {target:g} is more than the {most} max_ongoing_requests that a replica takes",
            "lower capacity.target_ongoing_requests in the policy, or raise max_ongoing_requests in the Serve config",
        )
    return _ok(name, f"target_ongoing_requests {target:g} fits max_ongoing_requests {most}")


def _source(scrape: Scrape) -> Check:
    if not scrape.ok:
        reason = "; ".join(scrape.errors) or "no answer"
        return _fail(scrape.source, reason, f"check that it runs and can be reached from here, or {_finding(scrape)}")
    detail = f"{len(scrape.samples)} samples in {scrape.duration_s:.2f} s"
    if scrape.errors:
        return _warn(scrape.source, f"{detail}; {'; '.join(scrape.errors)}", "the rest is used")
    return _ok(scrape.source, detail)


def _no_source(kind: SourceKind) -> Check:
    if kind is SourceKind.RAY:
        return _fail("ray metrics", "no endpoint is known, so no demand is seen", _FINDING[kind])
    return _warn(
        "haproxy metrics",
        "no endpoint is known: shed requests are not seen, and idleness has one witness less",
        _FINDING[kind],
    )


def _finding(scrape: Scrape) -> str:
    return _FINDING.get(scrape.kind, "correct its address")


def _families(kind: SourceKind, scrapes: Sequence[Scrape]) -> list[Check]:
    seen = {sample.name for scrape in scrapes for sample in scrape.samples}
    missing = [metric.name for metric in ESSENTIAL[kind] if not _present(metric, seen)]
    name = f"{kind} metric families"
    if missing:
        return [
            _fail(
                name,
                f"missing: {', '.join(missing)}",
                "check that the application runs and that the endpoint is the right one (Ray 2.60, HAProxy 2.8)",
            )
        ]
    if kind is SourceKind.RAY and (later := [m.name for m in WITH_TRAFFIC if not _present(m, seen)]):
        return [
            _warn(
                name,
                f"not there yet: {', '.join(later)}; they appear with a running replica and the first request",
                "send one request; if they still are missing, turn engine metrics on (log_engine_metrics) in LLMConfig",
            )
        ]
    return [_ok(name, "all essential ones are there")]


def _present(metric: Metric, seen: set[str]) -> bool:
    return any(name in seen for name in metric.sample_names)


def _list(names: Sequence[str], *, most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, status=CheckStatus.OK, detail=detail)


def _warn(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, status=CheckStatus.WARN, detail=detail, fix=fix)


def _fail(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, status=CheckStatus.FAIL, detail=detail, fix=fix)
