"""Whether a canary goes on, waits, or goes back. Pure: counts in, a verdict with its reason out.

Two shares are compared by Fisher's exact test, one-sided: how likely is it that a canary as good as the stable build
looks at least this bad? It is asked again and again while a step lasts, so little likelihood is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, fsum, lgamma


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How one build did. ``buckets`` count requests by time to the first byte, the last one beyond all bounds."""

    requests: int
    failed: int
    bounds_s: Sequence[float]
    buckets: Sequence[int]

    def late(self, objective_s: float) -> int:
        """Count the answers whose first byte came later than ``objective_s``."""
        within = sum(count for bound, count in zip(self.bounds_s, self.buckets, strict=False) if bound <= objective_s)
        return sum(self.buckets) - within

    def quantile_s(self, q: float) -> float | None:
        """Return the bound below which a share ``q`` of the answers began; None without any."""
        total, seen = sum(self.buckets), 0
        for bound, count in zip(self.bounds_s, self.buckets, strict=False):
            seen += count
            if total and seen >= q * total:
                return bound
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked of a canary.

    ``ttft_s`` is the objective of the time to the first byte. ``max_slowdown`` is how many times the stable build's
    median its own may be. ``chance`` is how likely bad luck may be as the explanation of a difference.
    """

    ttft_s: float
    min_requests: int = 100
    max_slowdown: float = 1.5
    chance: float = 0.001


class Verdict(StrEnum):
    """What follows."""

    GO_ON = "go_on"
    WAIT = "wait"
    GO_BACK = "go_back"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and why in words."""

    verdict: Verdict
    why: str


def judge(canary: Seen, stable: Seen, terms: Terms) -> Judgement:
    """Compare the two over one step."""
    failing = _worse(canary.failed, canary.requests, stable.failed, stable.requests, terms.chance)
    if failing:
        return Judgement(Verdict.GO_BACK, f"more requests fail: {failing}")
    begun, begun_stable = sum(canary.buckets), sum(stable.buckets)
    late = _worse(canary.late(terms.ttft_s), begun, stable.late(terms.ttft_s), begun_stable, terms.chance)
    if late:
        return Judgement(Verdict.GO_BACK, f"more answers begin later than {terms.ttft_s:g} s: {late}")
    if canary.requests < terms.min_requests:
        return Judgement(Verdict.WAIT, f"{canary.requests} of {terms.min_requests} requests seen")
    own, theirs = canary.quantile_s(0.5), stable.quantile_s(0.5)
    if (
        own is not None
        and theirs is not None
        and begun_stable >= terms.min_requests
        and own > terms.max_slowdown * theirs
    ):
        return Judgement(
            Verdict.GO_BACK,
            f"half of its answers begin within {own:.3f} s, those of the stable build within {theirs:.3f} s: "
            f"{own / theirs:.1f} times, at most {terms.max_slowdown:g} are allowed",
        )
    return Judgement(
        Verdict.GO_ON, f"{canary.requests} requests, {canary.failed} failed, no worse than the stable build"
    )


def _worse(bad: int, of: int, bad_there: int, of_there: int, chance: float) -> str | None:
    """Say so when ``bad`` of ``of`` is more than there, and hardly by chance. Without a comparison, nothing is said."""
    if not of or not of_there or bad / of <= bad_there / of_there:
        return None
    # The chance of at least ``bad`` among ``of``, when all the bad ones are dealt out blindly.
    likelihood = _at_least(bad, drawn=of, marked=bad + bad_there, among=of + of_there)
    if likelihood >= chance:
        return None
    return f"{bad} of {of} against {bad_there} of {of_there} (by chance once in {1 / max(likelihood, 1e-12):.0f})"


def _at_least(count: int, *, drawn: int, marked: int, among: int) -> float:
    """Return the chance of ``count`` or more marked ones among the ``drawn``: the hypergeometric upper tail."""
    whole = _log_choose(among, drawn)
    return min(
        1.0,
        fsum(
            exp(_log_choose(marked, k) + _log_choose(among - marked, drawn - k) - whole)
            for k in range(max(count, drawn - (among - marked)), min(marked, drawn) + 1)
        ),
    )


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
