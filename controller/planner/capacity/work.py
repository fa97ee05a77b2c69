"""Demand as work: how many fully loaded engines it would keep busy."""

from __future__ import annotations

from collections.abc import Mapping

from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.planner.capacity.sustainable import FullLoad


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
