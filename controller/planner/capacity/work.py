"""Demand as work: how many fully loaded engines it would keep busy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.planner.capacity.sustainable import FullLoad

WORK_SIGNALS = (Signal.PREFILL_TOKENS, Signal.DECODE_TOKENS, Signal.REQUESTS)
"""What work is made of."""


def work_rate(demand: Mapping[Signal, Reading], full: FullLoad) -> Reading:
    """Engine-seconds of work asked for per second.

    Two accounts, and the larger counts. Tokens processed follow a changing mix at once, but are no more than
    the engines get done. Arrivals count what queues and what is turned away, at the mix of the last minutes.
    """
    accounts = [_of_tokens(demand, full), _of_arrivals(demand, full)]
    known = [account for account in accounts if isinstance(account, Known)]
    if known:
        return max(known, key=lambda account: account.value)
    return Unknown("; ".join(account.reason for account in accounts if isinstance(account, Unknown)))


def work_history(histories: Mapping[Signal, History], full: FullLoad) -> History:
    """Return past demand as work, by today's capacity model; None in bins where neither account is known.

    Tokens come first: they know the mix of their time. Arrivals, at today's mix, stand in for unknown tokens.
    """
    past = [histories[signal] for signal in WORK_SIGNALS]
    recorded = [history for history in past if history.values]
    if not recorded:
        return past[0]
    start, step_s = min(history.start for history in recorded), recorded[0].step_s
    bins = max(round((history.end - start) / step_s) for history in recorded)
    per_prompt_token = full.prefill_token_s * (1.0 - full.mix.cached_share)

    def worth(read: float | None, written: float | None, arrived: float | None) -> float | None:
        if read is not None and written is not None:
            return read * per_prompt_token + written * full.decode_token_s
        return None if arrived is None else arrived * full.request_s

    columns = (_aligned(history, start, bins) for history in past)
    return History(start=start, step_s=step_s, values=tuple(map(worth, *columns)))


def _aligned(history: History, start: float, bins: int) -> Sequence[float | None]:
    """Bins of a history from ``start`` on, filled up with None on both sides."""
    if not history.values:
        return (None,) * bins
    before = round((history.start - start) / history.step_s)
    return (*(None,) * before, *history.values, *(None,) * (bins - before - len(history.values)))


def _of_tokens(demand: Mapping[Signal, Reading], full: FullLoad) -> Reading:
    prefill, decode = _reading(demand, Signal.PREFILL_TOKENS), _reading(demand, Signal.DECODE_TOKENS)
    if isinstance(prefill, Unknown):
        return prefill
    if isinstance(decode, Unknown):
        return decode
    computed = prefill.value * (1.0 - full.mix.cached_share)
    work = computed * full.prefill_token_s + decode.value * full.decode_token_s
    return Known(work, max(prefill.age_s, decode.age_s))


def _of_arrivals(demand: Mapping[Signal, Reading], full: FullLoad) -> Reading:
    requests = _reading(demand, Signal.REQUESTS)
    if isinstance(requests, Unknown):
        return requests
    return Known(requests.value * full.request_s, requests.age_s)


def _reading(demand: Mapping[Signal, Reading], signal: Signal) -> Reading:
    return demand.get(signal, Unknown(f"{signal} was not observed"))
