"""Laws of the observation window."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import ServeState
from controller.domain.signals import Signal
from controller.window.histogram import quantile
from controller.window.observe import observe
from controller.window.series import increase
from controller.window.window import Window
from tests.captured import failed, haproxy, page, ray, serve, serve_state

LLMD = DeploymentId("llmd", "LLMServer:tiny")
T = 1_795_222_400.0
CAPTURES = ("llmd_loaded", "llmd_kv_pressure", "llmd_scaleup", "llmd_2replicas", "llmd_scaledown")

counters = st.lists(st.integers(min_value=0, max_value=10**9).map(float), max_size=30)


@given(counters)
def test_an_increase_is_never_negative(values):
    assert increase(values) >= 0.0


@given(counters.filter(bool), st.data())
def test_splitting_the_points_does_not_change_the_increase(values, data):
    at = data.draw(st.integers(min_value=0, max_value=len(values) - 1))

    assert increase(values[: at + 1]) + increase(values[at:]) == increase(values)


@given(counters, st.integers(min_value=1, max_value=1000).map(float))
def test_without_a_restart_the_increase_is_last_minus_first(values, step):
    grown = [sum(values[: count + 1]) + step for count in range(len(values))]

    assert increase(grown) == (grown[-1] - grown[0] if grown else 0.0)


@given(
    st.dictionaries(st.floats(min_value=0.001, max_value=1e4), st.integers(min_value=0, max_value=10**6), min_size=1),
    st.floats(min_value=0.0, max_value=1.0),
    st.floats(min_value=0.0, max_value=1.0),
)
def test_quantiles_rise_with_the_probability_and_stay_within_the_bounds(shares, one, other):
    cumulative, below = {}, 0
    for bound in sorted(shares):
        below += shares[bound]
        cumulative[bound] = float(below)
    low, high = sorted((one, other))

    lower, upper = quantile(cumulative, low), quantile(cumulative, high)

    if lower is None or upper is None:
        assert below == 0
    else:
        assert 0.0 <= lower <= upper * (1 + 1e-9) <= max(shares) * (1 + 1e-9)


SHOW = {SourceKind.RAY: ray, SourceKind.HAPROXY: haproxy, SourceKind.SERVE: serve}
SOURCES = {kind: show(CAPTURES[0], 0.0).source for kind, show in SHOW.items()}
fates = st.sampled_from(["shown", "shown", "shown", "failed", "absent"])


@dataclass(frozen=True)
class Episode:
    """Ticks of 10 s in which each source shows a capture, fails or is absent, and some scrapes are late."""

    ticks: tuple[tuple[str, float, tuple[str, str, str]], ...]
    wait: float

    @property
    def now(self) -> float:
        return T + 10 * (len(self.ticks) - 1) + self.wait

    @property
    def scrapes(self) -> list[Scrape]:
        made = []
        for tick, (name, late, fate_of) in enumerate(self.ticks):
            at = T + 10 * tick - late
            for (kind, show), fate in zip(SHOW.items(), fate_of, strict=True):
                if fate != "absent":
                    made.append(show(name, at) if fate == "shown" else failed(kind, SOURCES[kind], at))
        return made


ticks = st.tuples(st.sampled_from(CAPTURES), st.sampled_from([0.0, 0.0, 0.0, 15.0]), st.tuples(fates, fates, fates))
episodes = st.builds(
    Episode, st.lists(ticks, min_size=1, max_size=6).map(tuple), st.sampled_from([0.0, 5.0, 25.0, 40.0])
)


def seen(scrapes, now, deployments=(LLMD,)):
    window = Window(window_s=30, max_age_s=30)
    for scrape in scrapes:
        window.record(scrape)
    return observe(window, deployments, now)[0]


def readings(snapshot):
    return [
        *(snapshot.reading(signal) for signal in Signal),
        snapshot.queued_requests,
        snapshot.kv_cache_usage,
        snapshot.shed_per_s,
        snapshot.errors_per_s,
    ]


@settings(max_examples=60, deadline=None)
@given(episodes)
def test_every_reading_is_finite_not_negative_and_no_older_than_allowed(episode):
    for reading in readings(seen(episode.scrapes, episode.now)):
        assert isinstance(reading, Unknown) or (0.0 <= reading.value < 1e12 and 0.0 <= reading.age_s <= 30.0)


@settings(max_examples=60, deadline=None)
@given(episodes, st.sampled_from([SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE]))
def test_knowing_less_never_makes_an_unknown_known(episode, lost):
    """But for silence: without the one who heard something, two may agree on it."""
    scrapes, now = episode.scrapes, episode.now
    before = seen(scrapes, now)
    after = seen([scrape for scrape in scrapes if scrape.kind is not lost], now)

    for had, has in zip(readings(before), readings(after), strict=True):
        assert after.idle or not (isinstance(had, Unknown) and isinstance(has, Known))


@settings(max_examples=60, deadline=None)
@given(episodes)
def test_idle_is_never_said_while_anything_known_is_above_zero(episode):
    snapshot = seen(episode.scrapes, episode.now)

    known = [reading.value for reading in readings(snapshot)[:6] if isinstance(reading, Known)]
    assert not (snapshot.idle and any(value > 0.0 for value in known))


@settings(max_examples=40, deadline=None)
@given(episodes, st.integers(min_value=0, max_value=10**6).map(float))
def test_another_deployments_series_change_nothing(episode, value):
    scrapes, now = episode.scrapes, episode.now

    def renamed(sample: Sample) -> Sample:
        labels = tuple(
            (key, f"x{text}" if key not in ("le", "code", "error_code") else text) for key, text in sample.labels
        )
        return replace(sample, labels=labels, value=value)

    def crowded(scrape: Scrape) -> Scrape:
        if scrape.kind is SourceKind.HAPROXY or not scrape.ok:
            return scrape
        if scrape.serve is not None:
            others = tuple(
                replace(
                    application,
                    name=f"x{application.name}",
                    deployments=tuple(
                        replace(
                            one,
                            id=DeploymentId(f"x{application.name}", one.id.deployment),
                            replicas=tuple(replace(each, replica_id=f"x{each.replica_id}") for each in one.replicas),
                        )
                        for one in application.deployments
                    ),
                )
                for application in scrape.serve.applications
            )
            return replace(scrape, serve=ServeState(applications=(*others, *scrape.serve.applications)))
        return replace(scrape, samples=(*scrape.samples, *map(renamed, scrape.samples)))

    assert seen([crowded(scrape) for scrape in scrapes], now) == seen(scrapes, now)


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_within_a_tick_does_not_matter(shuffler: random.Random):
    ticks = [
        [ray(name, T + 10 * at), haproxy(name, T + 10 * at), serve(name, T + 10 * at)]
        for at, name in enumerate(CAPTURES)
    ]
    shuffled = [shuffler.sample(tick, len(tick)) for tick in ticks]

    one = seen([scrape for tick in ticks for scrape in tick], T + 41)
    other = seen([scrape for tick in shuffled for scrape in tick], T + 41)

    assert one == other


@pytest.mark.parametrize("name", CAPTURES)
def test_captures_hold_what_the_episodes_are_made_of(name):
    assert page(f"ray_8080_{name}")
    assert serve_state(name).deployment(LLMD) is not None
