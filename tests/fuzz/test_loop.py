"""Whatever the sources say, tick after tick: no tick fails, limits hold, and what is unknown lowers nothing."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.plan import Action
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.ports import LoopEvent
from tests.chaos import lies
from tests.scenarios.world import FixedPolicy, World, chat, policy

_VALUES = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-300, 1e300, 3.7, 1e15])


@st.composite
def distortions(draw: st.DrawFn) -> lies.Distort:
    """A lie of any kind, or a few values changed at random places."""
    known = st.sampled_from(
        [
            lies.silent,
            lies.empty,
            lies.cut,
            lies.renamed,
            lies.not_a_number,
            lies.negative,
            lies.infinite,
            lies.ten_minutes_ahead,
            lies.ten_minutes_behind,
            lies.one_replica_missing,
            lies.twice,
            lies.zeroed,
        ]
    )
    who = frozenset(draw(st.sets(st.sampled_from([SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE]))))
    if draw(st.booleans()):
        return lies.told_by(who, draw(known))
    changes = draw(st.dictionaries(st.integers(0, 40), _VALUES, max_size=5))

    def changed(scrape: Scrape) -> Scrape:
        samples = (
            Sample(one.name, one.labels, changes.get(place, one.value)) for place, one in enumerate(scrape.samples)
        )
        return replace(scrape, samples=tuple(samples))

    return changed


@settings(max_examples=100)
@given(
    told=st.lists(distortions(), min_size=1, max_size=12),
    load=st.lists(st.sampled_from([0.0, 1.0, 10.0, 300.0]), min_size=1, max_size=6),
    forecast=st.booleans(),
)
def test_no_story_breaks_the_loop(told: list[lies.Distort], load: list[float], *, forecast: bool) -> None:
    asyncio.run(_tell(told, load, forecast=forecast))


async def _tell(told: list[lies.Distort], load: list[float], *, forecast: bool) -> None:
    world = World(
        lambda t_s: load[int(max(t_s, 0.0) / 20) % len(load)],
        policy_source=FixedPolicy(policy(forecast=forecast, downscale_delay_s=0)),
    )
    for distort in told:
        world.deployment.distort = distort
        await world.run(10)

    assert LoopEvent.TICK_FAILED not in world.events.noted, world.log.getvalue()[-2000:]
    for record in world.records:
        seen = chat(record)
        assert seen.decision.desired is None or 1 <= seen.decision.desired <= 6
        if seen.snapshot.blind_spots:
            assert seen.decision.action is not Action.SCALE_DOWN
