"""Raises the load step by step until users no longer get what they are promised."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from controller.load.row import RequestRow
from controller.load.schedule import Arrival

FACTOR = 1.5
_REFINEMENTS = 3
_DESCENTS, _DESCENT = 4, 4.0
"""How often, and by how much, the rate is lowered while not even the first was kept."""
_MOST_FAILED = 0.01
_SETTLING = 0.25
"""Share of a step at its begin that is not judged: the batch is still filling."""
_SIZES = (0.25, 1.75)
"""Requests have so many times the mean sizes, evenly, so that what costs what can be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RampPlan:
    """What to ask for. Objectives hold at the 95th percentile of requests, times in seconds."""

    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float
    first_rps: float = 0.5
    most_rps: float = 1000.0
    step_s: float = 30.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RampStep:
    """One load. Rates are per second; ``problem`` is what broke, None when everything was kept.

    ``ongoing`` are requests in flight on average.
    """

    offered_rps: float
    requests_per_s: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    ongoing: float
    ttft_p95_s: float | None
    tpot_p95_s: float | None
    failed: int
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """All steps in order, and every request of them."""

    steps: tuple[RampStep, ...]
    rows: tuple[tuple[RequestRow, ...], ...]

    @property
    def best(self) -> RampStep | None:
        """Largest load at which everything was kept; None when not even the first was."""
        kept = [step for step in self.steps if step.problem is None]
        return max(kept, key=lambda step: step.offered_rps, default=None)

    @property
    def stopped_by(self) -> str:
        """What broke at the smallest load that was too much."""
        broken = [step for step in self.steps if step.problem is not None]
        first = min(broken, key=lambda step: step.offered_rps, default=None)
        return "nothing broke up to the largest rate" if first is None or first.problem is None else first.problem


Send = Callable[[Sequence[Arrival]], Awaitable[Sequence[RequestRow]]]


async def climb(plan: RampPlan, send: Send, *, on_step: Callable[[RampStep], None]) -> Ramp:
    """Raise the rate by half until something breaks, then close in on the largest rate that is kept."""
    steps: list[RampStep] = []
    rows: list[tuple[RequestRow, ...]] = []
    good, bad, refined, descents = 0.0, math.inf, 0, 0
    rate = plan.first_rps
    while refined <= _REFINEMENTS and descents <= _DESCENTS:
        sent = tuple(await send(_arrivals(plan, rate, len(steps))))
        step = judged(plan, rate, sent)
        on_step(step)
        steps.append(step)
        rows.append(sent)
        if step.problem is None:
            good = max(good, rate)
        else:
            bad = min(bad, rate)
        if good >= plan.most_rps:
            break
        refined += bool(good) and math.isfinite(bad)
        descents += not good
        rate = _next(good, bad, plan)
    return Ramp(steps=tuple(steps), rows=tuple(rows))


def judged(plan: RampPlan, rate: float, rows: Sequence[RequestRow]) -> RampStep:
    """Sum up one step, its first quarter left out."""
    judged_rows = [row for row in rows if row.scheduled_s >= _SETTLING * plan.step_s]
    served = [row for row in judged_rows if row.ok]
    failed = len(judged_rows) - len(served)
    ttft = _p95([row.ttft_s for row in served if row.ttft_s is not None])
    tpot = _p95([sum(row.itl_s) / len(row.itl_s) for row in served if row.itl_s])
    # Requests end after the last was sent, so rates are those at which they were sent, if they were served.
    seconds = (1.0 - _SETTLING) * plan.step_s
    return RampStep(
        offered_rps=rate,
        requests_per_s=len(served) / seconds,
        prefill_tokens_per_s=sum(row.prompt_tokens_measured or row.prompt_tokens for row in served) / seconds,
        decode_tokens_per_s=sum(row.tokens_out for row in served) / seconds,
        ongoing=sum(row.total_s or 0.0 for row in served) / seconds,
        ttft_p95_s=ttft,
        tpot_p95_s=tpot,
        failed=failed,
        problem=_problem(plan, judged_rows, failed, ttft, tpot),
    )


def _problem(
    plan: RampPlan, rows: Sequence[RequestRow], failed: int, ttft: float | None, tpot: float | None
) -> str | None:
    if not rows:
        return "no request was due after the batch had filled; make the steps longer"
    if failed > _MOST_FAILED * len(rows):
        status = next(row.status for row in rows if not row.ok)
        return f"{failed} of {len(rows)} requests failed ({status})"
    if ttft is not None and ttft > plan.ttft_s:
        return f"time to first token: p95 {ttft:.3g} s, promised {plan.ttft_s:g} s"
    if tpot is not None and tpot > plan.tpot_s:
        return f"time per output token: p95 {tpot:.3g} s, promised {plan.tpot_s:g} s"
    return None


def _next(good: float, bad: float, plan: RampPlan) -> float:
    if math.isinf(bad):
        return min(good * FACTOR, plan.most_rps)
    return bad / _DESCENT if not good else (good * bad) ** 0.5


def _arrivals(plan: RampPlan, rate: float, number: int) -> list[Arrival]:
    """Arrivals at random times over one step, always as many; no two prompts of a run are alike."""
    rng = np.random.default_rng([plan.seed, number])
    count = max(1, round(rate * plan.step_s))
    times = np.sort(rng.uniform(0.0, plan.step_s, count)).tolist()
    low, high = _SIZES
    prompts = np.maximum(1, rng.uniform(low, high, count) * plan.prompt_tokens).astype(int).tolist()
    outputs = np.maximum(2, rng.uniform(low, high, count) * plan.output_tokens).astype(int).tolist()
    first = number * 1_000_003
    return [
        Arrival(first + place, at, prompt, output)
        for place, (at, prompt, output) in enumerate(zip(times, prompts, outputs, strict=True))
    ]


def _p95(values: Sequence[float]) -> float | None:
    return float(np.quantile(np.array(values), 0.95)) if values else None
