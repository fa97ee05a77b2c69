"""Traffic is believed when anybody saw it, silence only when two independent systems watched it."""

from __future__ import annotations

import pytest

from controller.domain.reading import Known, Reading, Unknown
from controller.window.reach import Rate
from controller.window.view import View, is_idle, largest

STALE = Unknown("it is stale")
NONE = Known(0.0)
QUIET = Rate(0.0, 30.0, 1.0)
WINDOW_S = 30.0


def view(
    in_flight: Reading = NONE, arrivals: Rate | Unknown = QUIET, *, at_least: float = 0.0, name: str = "one"
) -> View:
    return View(name=name, in_flight=in_flight, arrivals=arrivals, at_least=at_least)


@pytest.mark.parametrize(
    ("one", "traffic", "silence"),
    [
        pytest.param(view(), False, True, id="nothing-over-the-window"),
        pytest.param(view(arrivals=Rate(0.0, 27.0, 1.0)), False, True, id="nine-tenths-of-it-will-do"),
        pytest.param(view(arrivals=Rate(0.0, 26.9, 1.0)), False, False, id="too-short-a-time"),
        pytest.param(view(Known(0.5)), True, False, id="in-flight"),
        pytest.param(view(arrivals=Rate(0.01, 30.0, 1.0)), True, False, id="arriving"),
        pytest.param(view(STALE, at_least=1.0), True, False, id="a-part-is-in-flight"),
        pytest.param(view(Known(0.0), at_least=0.5), True, False, id="less-than-one-is-something"),
        pytest.param(view(STALE), False, False, id="unknown-in-flight"),
        pytest.param(view(arrivals=STALE), False, False, id="unknown-arrivals"),
        pytest.param(view(STALE, STALE), False, False, id="unknown"),
    ],
)
def test_what_one_view_shows(one: View, traffic: bool, silence: bool) -> None:
    assert (one.shows_traffic(), one.shows_silence(WINDOW_S)) == (traffic, silence)


@pytest.mark.parametrize(
    ("views", "idle"),
    [
        pytest.param((view(), view()), True, id="two-witnesses"),
        pytest.param((view(), view(), view()), True, id="three"),
        pytest.param((view(), view(), view(STALE)), True, id="two-and-one-that-does-not-know"),
        pytest.param((view(), view(STALE), view(STALE)), False, id="one-alone"),
        pytest.param((view(), view(), view(Known(1.0))), False, id="two-and-one-that-sees-some"),
        pytest.param((), False, id="nobody"),
    ],
)
def test_idleness_takes_two_witnesses_and_none_against(views: tuple[View, ...], idle: bool) -> None:
    assert is_idle(views, WINDOW_S) is idle


@pytest.mark.parametrize(
    ("views", "reading"),
    [
        pytest.param((view(Known(3.0, 2.0)), view(Known(5.0, 1.0))), Known(5.0, 1.0), id="who-sees-most"),
        pytest.param((view(STALE), view(Known(5.0, 1.0))), Known(5.0, 1.0), id="who-is-whole"),
        pytest.param(
            (view(STALE, at_least=7.0), view(Known(5.0, 1.0)), view(Known(4.0, 3.0))),
            Known(7.0, 3.0),
            id="a-part-raises-it-and-it-is-as-old-as-the-oldest",
        ),
        pytest.param((view(STALE, at_least=5.0), view(Known(5.0, 1.0))), Known(5.0, 1.0), id="a-part-that-is-no-more"),
        pytest.param(
            (view(STALE, name="Serve", at_least=9.0), view(Unknown("not scraped"), name="HAProxy")),
            Unknown("Serve: it is stale; HAProxy: not scraped"),
            id="a-part-is-no-answer",
        ),
    ],
)
def test_requests_in_flight_are_the_largest_count(views: tuple[View, ...], reading: Reading) -> None:
    assert largest(views) == reading
