"""Reasons not to write a target, as pure functions. The last line of defence: they trust no plan."""

from __future__ import annotations

from controller.domain.identity import DeploymentId
from controller.domain.plan import Decision
from controller.domain.serve import ServeState

ENABLE_EXTERNAL_SCALER = (
    "set `external_scaler_enabled: true` on the application in the Serve config, or pass external_scaler_enabled=True "
    "to serve.run, and deploy again"
)
REMOVE_AUTOSCALING = (
    "give the deployment a number: set num_replicas in its deployment_config (for an LLMConfig: "
    "deployment_config={'num_replicas': 1}) and remove autoscaling_config from code and config"
)

GUIDED_POLICY = "serving.policies:GuidedPolicy"
ADD_GUIDED_POLICY = (
    "for mode guided, give the application `guided: {max_replicas, target_ongoing_requests, controller_url}` "
    "(serving.args.GuidedArgs), which sets its autoscaling policy, or use mode direct"
)


def outside_limits(wanted: int, limits: tuple[int, int] | None) -> str | None:
    """Why ``wanted`` may not be set under (min, max) ``limits``; None when it may. No limits, no writing."""
    if limits is None:
        return f"the policy has no limits for it, so {wanted} is not set"
    lowest, highest = limits
    if wanted > highest:
        return f"{wanted} is above the policy's max_replicas ({highest})"
    if wanted < lowest:
        return f"{wanted} is below the policy's min_replicas ({lowest})"
    return None


def not_scalable(state: ServeState, wanted: DeploymentId) -> str | None:
    """Why Serve would refuse or undo a target of ``wanted``, with what to do about it; None when it would not."""
    application, deployment = state.application(wanted.application), state.deployment(wanted)
    if application is None or deployment is None:
        return f"{wanted} is not deployed"
    if not application.external_scaler_enabled:
        return f"application {application.name} does not allow external scaling; {ENABLE_EXTERNAL_SCALER}"
    if deployment.autoscaling_configured:
        return f"Serve's own autoscaler is configured and would undo it; {REMOVE_AUTOSCALING}"
    return None


def not_guided(state: ServeState, wanted: DeploymentId) -> str | None:
    """Why a floor of ``wanted`` would reach nobody, with what to do about it; None when Serve's policy asks for it."""
    application, deployment = state.application(wanted.application), state.deployment(wanted)
    if application is None or deployment is None:
        return f"{wanted} is not deployed"
    if deployment.autoscaling is None:
        return f"Serve does not scale it by itself; {ADD_GUIDED_POLICY}"
    if deployment.autoscaling.policy != GUIDED_POLICY:
        return f"Serve scales it by {deployment.autoscaling.policy}; {ADD_GUIDED_POLICY}"
    return None


def changed_since(decision: Decision, live: int | None) -> str | None:
    """Why ``decision`` no longer fits the live target; None when it does."""
    if live is None:
        return "Serve reports no target"
    if decision.current is None:
        return "it was decided without knowing the target; will re-plan"
    if live != decision.current:
        return f"target changed from {decision.current} to {live} since it was read; will re-plan"
    return None
