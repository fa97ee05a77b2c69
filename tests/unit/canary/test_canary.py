"""A canary is judged against the stable build in the same step, and whatever goes wrong takes it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.canary.by_hand import run
from controller.canary.judge import Seen, Terms, Verdict, judge
from controller.canary.ramp import LEASE_S, Ramp
from controller.domain.canary import CanaryPhase
from controller.errors import UnavailableError
from serving.split_board import SplitBoard
from serving.split_counts import BOUNDS_S, Counts, to_canary
from tests.clocks import VirtualClock

TERMS = Terms(ttft_s=1.0, min_requests=100)


def seen(requests: int, *, failed: int = 0, first_s: float = 0.1, late: int = 0) -> Seen:
    counts = Counts()
    for index in range(requests):
        counts.add(first_s=None if index < failed else 5.0 if index < failed + late else first_s)
    return Seen(requests=counts.requests, failed=counts.failed, bounds_s=BOUNDS_S, buckets=counts.buckets)


@pytest.mark.parametrize(
    ("canary", "stable", "verdict"),
    [
        pytest.param(seen(200), seen(2000), Verdict.GO_ON, id="as good"),
        pytest.param(seen(50), seen(2000), Verdict.WAIT, id="too few yet"),
        pytest.param(seen(30, failed=6), seen(2000, failed=2), Verdict.GO_BACK, id="fails, seen early"),
        pytest.param(seen(200, failed=1), seen(2000, failed=2), Verdict.GO_ON, id="one failure is luck"),
        pytest.param(seen(200, failed=20), seen(200, failed=20), Verdict.GO_ON, id="both fail alike: not its fault"),
        pytest.param(seen(200, late=30), seen(2000, late=20), Verdict.GO_BACK, id="late more often"),
        pytest.param(
            seen(200, first_s=0.3), seen(2000, first_s=0.1), Verdict.GO_BACK, id="slower, within the objective"
        ),
        pytest.param(seen(200, first_s=0.12), seen(2000, first_s=0.1), Verdict.GO_ON, id="a little slower"),
        pytest.param(seen(200, first_s=0.3), seen(0), Verdict.GO_ON, id="all traffic is its own: nothing to compare"),
        pytest.param(seen(0), seen(2000), Verdict.WAIT, id="nobody came"),
    ],
)
def test_a_verdict(canary: Seen, stable: Seen, verdict: Verdict) -> None:
    assert judge(canary, stable, TERMS).verdict is verdict


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_a_canary_that_fails_more_is_never_judged_better(failed: int, more: int, failed_there: int) -> None:
    def back(count: int) -> bool:
        return (
            judge(seen(300, failed=min(300, count)), seen(300, failed=failed_there), TERMS).verdict is Verdict.GO_BACK
        )

    assert back(failed + more) or not back(failed) or failed >= 300


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_session_that_went_to_the_canary_still_does_when_its_share_grows(key: str, one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert not to_canary(key, low) or to_canary(key, high)
    assert not to_canary(key, 0.0)


def test_about_the_share_goes_to_the_canary() -> None:
    assert 0.04 < sum(to_canary(f"session {i}", 0.05) for i in range(10_000)) / 10_000 < 0.06


class Told:
    """A splitter with a real board, whose counts follow a script: a function of the share."""

    def __init__(self, clock: VirtualClock, canary: Callable[[float], Seen]) -> None:
        self.shares: list[float] = []
        self.board = SplitBoard(0.0, clock.monotonic)
        self._canary = canary
        self.broken = False

    async def set(self, share: float, *, for_s: float | None, note: str) -> None:
        if not self.shares or self.shares[-1] != share:
            self.shares.append(share)
        self.board.set(share, for_s, note)

    async def read(self) -> dict[str, Any]:
        if self.broken:
            msg = "gone"
            raise UnavailableError(msg)
        builds = {"canary": self._canary(self.board.read()["share"]), "stable": seen(2000)}
        counts = {
            name: {"requests": one.requests, "failed": one.failed, "buckets": one.buckets}
            for name, one in builds.items()
        }
        return self.board.read() | counts


class Clock(VirtualClock):
    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


RAMP = Ramp(steps=(0.01, 0.05, 0.25, 1.0), hold_s=10, longest_s=60, terms=TERMS)


async def test_a_good_build_goes_through_every_step() -> None:
    clock = Clock()
    splitter = Told(clock, lambda _: seen(500))
    began = clock.monotonic()

    ended = await run(RAMP, splitter, clock=clock, say=lambda _: None)
    clock.advance(10 * LEASE_S)

    assert ended.phase is CanaryPhase.COMPLETED
    assert splitter.shares == [0.01, 0.05, 0.25, 1.0]
    assert clock.monotonic() - began >= 40
    assert splitter.board.read()["share"] == 1.0


async def test_a_bad_build_is_taken_back_at_the_step_that_shows_it() -> None:
    clock = Clock()
    splitter = Told(clock, lambda share: seen(500, failed=100 if share >= 0.25 else 0))

    ended = await run(RAMP, splitter, clock=clock, say=lambda _: None)

    assert ended.phase is CanaryPhase.TAKEN_BACK
    assert "taken back at 25%: more requests fail" in ended.why
    assert splitter.shares == [0.01, 0.05, 0.25, 0.0]


async def test_too_few_requests_to_judge_take_it_back() -> None:
    clock = Clock()
    splitter = Told(clock, lambda _: seen(3))

    ended = await run(RAMP, splitter, clock=clock, say=lambda _: None)

    assert ended.phase is CanaryPhase.TAKEN_BACK
    assert "3 of 100 requests seen" in ended.why
    assert splitter.shares[-1] == 0.0


async def test_a_splitter_that_cannot_be_reached_at_first_is_an_error() -> None:
    clock = Clock()
    splitter = Told(clock, lambda _: seen(500))
    splitter.broken = True

    with pytest.raises(UnavailableError):
        await run(RAMP, splitter, clock=clock, say=lambda _: None)

    assert splitter.shares == []


async def test_a_splitter_that_is_gone_for_long_takes_it_back() -> None:
    clock = Clock()
    splitter = Told(clock, lambda _: seen(500))

    def says(_: str) -> None:
        splitter.broken = True

    ended = await run(RAMP, splitter, clock=clock, say=says)

    assert ended.phase is CanaryPhase.TAKEN_BACK
    assert "gave no answer within 60 s" in ended.why
    assert splitter.board.read()["share"] == 0.0


async def test_a_share_that_nobody_renews_lapses() -> None:
    clock = Clock()
    splitter = Told(clock, lambda _: seen(3))
    await splitter.set(0.05, for_s=LEASE_S, note="")

    clock.advance(LEASE_S - 1)
    before = splitter.board.read()
    clock.advance(1)

    assert (before["share"], before["lapsed"]) == (0.05, False)
    assert (splitter.board.read()["share"], splitter.board.read()["lapsed"]) == (0.0, True)


async def test_a_share_that_somebody_else_sets_is_left_alone() -> None:
    clock = Clock()
    splitter = Told(clock, lambda _: seen(500))
    ended = await run(RAMP, splitter, clock=clock, say=lambda _: splitter.board.set(0.5, None, None))

    assert ended.phase is CanaryPhase.OVERRIDDEN
    assert "somebody else" in ended.why
    assert splitter.board.read()["share"] == 0.5


def test_counting_begins_anew_with_a_new_share_and_goes_on_with_a_renewed_one() -> None:
    board = SplitBoard(0.0)
    _, epoch = board.exchange(0, {})

    board.set(0.0, 60, "renewed")
    board.exchange(epoch, {"canary": {"requests": 2}})
    renewed = board.read()["canary"]["requests"]
    board.set(0.1, 60, None)
    board.exchange(epoch, {"canary": {"requests": 3}})

    assert renewed == 2
    assert board.read()["canary"]["requests"] == 0
    assert board.read()["note"] == "renewed"
