"""The outcome of a profile: steps, fitted iteration time, and the section for a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.domain.capacity import IterationEstimate, IterationTime
from controller.load.row import RequestRow
from controller.planner.capacity.from_policy import DEFAULT_ITERATION
from controller.planner.capacity.iteration import LOOSE, iteration_time, learned, new_estimate, unidentified
from controller.profile.ramp import Ramp, RampPlan, RampStep
from controller.profile.timeline import observed_batches

_FEWEST_BATCHES = 10
_LEAST = 1e-12
"""A policy wants positive coefficients; this costs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """``iteration`` is None when too little was seen; ``assumed`` are coefficients that could not be told apart."""

    steps: tuple[RampStep, ...]
    best: RampStep | None
    stopped_by: str
    iteration: IterationTime | None
    assumed: tuple[str, ...]
    observations: int


def profile_of(ramp: Ramp) -> Profile:
    """Fit the iteration time to everything that was seen, and sum up."""
    estimate, observations = _fitted(ramp.rows)
    return Profile(
        steps=ramp.steps,
        best=ramp.best,
        stopped_by=ramp.stopped_by,
        iteration=None if estimate is None else iteration_time(estimate),
        assumed=unidentified(estimate) if estimate else (),
        observations=observations,
    )


def _fitted(rows: Sequence[Sequence[RequestRow]]) -> tuple[IterationEstimate | None, int]:
    batches = [batch for step in rows for batch in observed_batches(step)]
    if len(batches) < _FEWEST_BATCHES:
        return None, len(batches)
    estimate = new_estimate("profile", DEFAULT_ITERATION, spread=LOOSE)
    # Twice: the first pass finds the neighbourhood, so that in the second no early batch is taken for an outlier.
    for batch in (*batches, *batches):
        estimate = learned(estimate, batch, at=0.0)
    return estimate, len(batches)


def policy_section(profile: Profile, plan: RampPlan) -> str:
    """Return the ``capacity`` section for a policy, with what it rests on as comments."""
    best = profile.best
    if best is None:
        return f"# no load was sustained: {profile.stopped_by}\n"
    lines = [
        f"# Measured with {plan.prompt_tokens} + {plan.output_tokens} tokens on average.",
        f"# Beyond it: {profile.stopped_by}",
        "capacity:",
        f"  target_ongoing_requests: {max(best.ongoing, 0.1):.3g}",
        f"  requests_per_s: {best.requests_per_s:.4g}",
        f"  prefill_tokens_per_s: {best.prefill_tokens_per_s:.4g}",
        f"  decode_tokens_per_s: {best.decode_tokens_per_s:.4g}",
    ]
    if profile.iteration is not None:
        lines.append(f"  iteration:  # fitted to {profile.observations} seconds")
        if profile.assumed:
            lines.append(f"    # too little spread to tell apart: {', '.join(profile.assumed)}")
        lines += [f"    {name}: {max(value, _LEAST):.3g}" for name, value in _named(profile.iteration)]
    return "\n".join(lines) + "\n"


def _named(time: IterationTime) -> tuple[tuple[str, float], ...]:
    names = ("base_s", "per_sequence_s", "per_context_token_s", "per_prefill_token_s")
    return tuple(zip(names, time.coefficients, strict=True))
