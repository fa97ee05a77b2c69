"""Demand put together from views that are given: what waits, what is in flight, what arrives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.window.demand import demand, queued
from controller.window.engines import Engines
from controller.window.reach import Rate
from controller.window.view import View

STALE = Unknown("stale")
ENGINES = Engines(
    view=View(name="vLLM", in_flight=Known(4.0, 3.0), arrivals=Rate(50.0, 30.0, 3.0)),
    running=Known(4.0, 3.0),
    waiting=Known(2.0, 5.0),
    kv_usage=Known(0.5),
    prefill=Rate(40.0, 30.0, 6.0),
    decode=Rate(10.0, 30.0, 7.0),
)
DOOR = View(name="HAProxy", in_flight=Known(9.0, 1.0), arrivals=Rate(3.0, 30.0, 1.0))
SERVE = View(name="Serve", in_flight=Known(7.0, 2.0), arrivals=Rate(1.0, 30.0, 2.0))


@pytest.mark.parametrize(
    ("engines", "processing", "idle", "waiting"),
    [
        pytest.param(ENGINES, None, False, Known(2.0, 5.0), id="in-the-engines"),
        pytest.param(ENGINES, Known(6.0, 1.0), False, Known(2.0, 5.0), id="as-many-held-back"),
        pytest.param(ENGINES, Known(9.0, 1.0), False, Known(5.0, 3.0), id="more-are-held-back-in-the-replicas"),
        pytest.param(ENGINES, Known(9.0, 8.0), False, Known(5.0, 8.0), id="as-old-as-the-older"),
        pytest.param(replace(ENGINES, running=STALE), Known(9.0), False, Known(2.0, 5.0), id="running-unknown"),
        pytest.param(replace(ENGINES, waiting=STALE), Known(9.0), False, STALE, id="waiting-unknown"),
        pytest.param(replace(ENGINES, waiting=STALE), Known(9.0), True, Known(0.0), id="unknown-and-idle"),
        pytest.param(replace(ENGINES, running=STALE), None, True, Known(0.0), id="running-unknown-and-idle"),
    ],
)
def test_what_waits(engines: Engines, processing: Known | None, idle: bool, waiting: Reading) -> None:
    assert queued(engines, processing, idle=idle) == waiting


def asked(
    *,
    door: View = DOOR,
    serve: View = SERVE,
    engines: Engines = ENGINES,
    shed: Rate | Unknown = STALE,
    request_s: float | None = None,
    idle: bool = False,
) -> dict[Signal, Reading]:
    return dict(demand(door=door, serve=serve, engines=engines, shed=shed, request_s=request_s, idle=idle))


def test_each_signal_comes_from_who_knows_it() -> None:
    assert asked() == {
        Signal.ONGOING_REQUESTS: Known(9.0, 1.0),
        Signal.REQUESTS: Known(3.0, 1.0),
        Signal.PREFILL_TOKENS: Known(40.0, 6.0),
        Signal.DECODE_TOKENS: Known(10.0, 7.0),
    }


def test_who_was_turned_away_would_have_been_in_flight_and_have_come() -> None:
    """Half a request a second, each of ten seconds; HAProxy counted them, Serve did not."""
    found = asked(shed=Rate(0.5, 30.0, 4.0), request_s=10.0)

    assert found[Signal.ONGOING_REQUESTS] == Known(14.0, 1.0)
    assert asked(shed=Rate(0.5, 30.0, 4.0))[Signal.ONGOING_REQUESTS] == Known(9.0, 1.0)
    assert asked(shed=STALE, request_s=10.0)[Signal.ONGOING_REQUESTS] == Known(9.0, 1.0)


@pytest.mark.parametrize(
    ("door", "serve", "shed", "arrivals"),
    [
        pytest.param(Rate(3.0, 30.0, 1.0), Rate(1.0, 30.0, 2.0), STALE, Known(3.0, 1.0), id="one-has-missed-some"),
        pytest.param(Rate(1.0, 30.0, 1.0), Rate(3.0, 30.0, 2.0), STALE, Known(3.0, 2.0), id="the-other-has"),
        pytest.param(Rate(3.0, 30.0, 1.0), Rate(2.8, 30.0, 2.0), STALE, Known(2.9, 2.0), id="within-chance-the-mean"),
        pytest.param(
            Rate(3.0, 30.0, 1.0), Rate(2.0, 30.0, 2.0), Rate(1.0, 30.0, 9.0), Known(3.0, 2.0), id="with-the-shed"
        ),
        pytest.param(STALE, Rate(2.0, 30.0, 2.0), Rate(1.0, 30.0, 9.0), Known(3.0, 2.0), id="served-and-shed"),
        pytest.param(STALE, Rate(2.0, 30.0, 2.0), STALE, Known(2.0, 2.0), id="served"),
        pytest.param(Rate(3.0, 30.0, 1.0), STALE, Rate(1.0, 30.0, 9.0), Known(3.0, 1.0), id="haproxy-counts-the-shed"),
        pytest.param(STALE, Unknown("absent"), STALE, Unknown("HAProxy: stale; Serve: absent"), id="unknown"),
    ],
)
def test_arrivals(door: Rate | Unknown, serve: Rate | Unknown, shed: Rate | Unknown, arrivals: Reading) -> None:
    found = asked(door=replace(DOOR, arrivals=door), serve=replace(SERVE, arrivals=serve), shed=shed)

    reading = found[Signal.REQUESTS]
    if isinstance(arrivals, Unknown):
        assert reading == arrivals
    else:
        assert isinstance(reading, Known)
        assert (reading.value, reading.age_s) == (pytest.approx(arrivals.value), arrivals.age_s)


def test_idleness_is_knowledge_of_none_as_old_as_the_oldest_witness() -> None:
    quiet = Known(0.0, 3.0)
    engines = replace(
        ENGINES,
        view=View(name="vLLM", in_flight=STALE, arrivals=STALE),
        prefill=STALE,
        decode=Rate(0.0, 30.0, 2.0),
    )

    found = asked(
        door=View(name="HAProxy", in_flight=Known(0.0, 1.0), arrivals=Rate(0.0, 30.0, 1.0)),
        serve=View(name="Serve", in_flight=quiet, arrivals=Rate(0.0, 30.0, 3.0)),
        engines=engines,
        idle=True,
    )

    assert found[Signal.PREFILL_TOKENS] == Known(0.0, 3.0)
    assert found[Signal.DECODE_TOKENS] == Known(0.0, 2.0)
    assert found[Signal.ONGOING_REQUESTS] == Known(0.0, 1.0)
