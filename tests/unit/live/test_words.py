from controller.domain.plan import Capacity, CapacitySource
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.explain.wording import SIGNALS
from controller.live.state import need, sizing_signals
from controller.live.words import SIGNAL_NAMES
from tests.records import decision, deployment_record, snapshot


def sized_by_work(work: Known | Unknown):
    return deployment_record(
        snapshot=snapshot(demand={Signal.WORK: work, Signal.ONGOING_REQUESTS: Known(90.0)}),
        decision=decision(
            capacity=Capacity(
                per_replica={Signal.WORK: 0.8, Signal.ONGOING_REQUESTS: 10.0}, source=CapacitySource.LEARNED
            )
        ),
    )


def test_every_signal_has_words():
    assert set(SIGNALS) == set(SIGNAL_NAMES) == set(Signal)


def test_the_need_shown_is_that_of_the_signals_that_decide():
    by_work, without_work = sized_by_work(Known(2.0)), sized_by_work(Unknown("no model"))

    assert sizing_signals(by_work) == (Signal.WORK,)
    assert need(by_work) == 2.5
    assert need(without_work) == 9.0
