from __future__ import annotations

import signal

import pytest

from controller.local.interrupts import Interrupts, StopRequested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_body(number: signal.Signals) -> None:
    interrupts = Interrupts()

    with interrupts.counted(), pytest.raises(StopRequested), interrupts.raised():
        signal.raise_signal(number)

    assert not interrupts.hurried


def test_a_second_signal_hurries_and_does_not_raise() -> None:
    interrupts = Interrupts()

    with interrupts.counted():
        with pytest.raises(StopRequested), interrupts.raised():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    assert interrupts.hurried


def test_a_signal_before_the_body_is_not_lost() -> None:
    interrupts = Interrupts()

    with interrupts.counted():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StopRequested), interrupts.raised():
            pytest.fail("the body must not run")


def test_the_former_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with Interrupts().counted():
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before
