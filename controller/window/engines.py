"""vLLM's account, joined to a deployment by replica id: its own metrics name neither application nor deployment.

An engine sets its gauges only while it works, and Ray's agent drops them some seconds later. So an absent
gauge means idle only where the engine's counters stand still on a page that is known to be whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.serve import DeploymentState, ReplicaState
from controller.window.reach import Moment, Rate, first_unknown, summed, total
from controller.window.replica_gauges import is_new
from controller.window.replicas import KnownReplica
from controller.window.view import View

NAME = "vLLM"
_COUNTERS = (scraped.VLLM_GENERATION_TOKENS, scraped.VLLM_PROMPT_TOKENS, scraped.VLLM_REQUEST_SUCCESS)
_GENERATING = "/completions"
"""Ending of the routes whose requests reach the engine; others (model list, health) need none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One replica's engine."""

    running: Reading
    waiting: Reading
    kv_usage: Reading
    prefill: Rate | Unknown
    decode: Rate | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The engines of a deployment: ``view`` of its traffic, waiting requests, KV cache in use, tokens/s."""

    view: View
    running: Reading
    waiting: Reading
    kv_usage: Reading
    prefill: Rate | Unknown
    decode: Rate | Unknown
    unseen: tuple[str, ...] = ()
    """RUNNING replicas that serve generation requests, yet whose engine shows nothing."""


def engines(moment: Moment, deployment: DeploymentState, known: Mapping[str, KnownReplica]) -> Engines:
    """Return what the engines of the listed replicas say; replicas listed within the window add their tokens."""
    listed = {replica.replica_id for replica in deployment.replicas}
    running = {replica.replica_id for replica in deployment.replicas if replica.state is ReplicaState.RUNNING}
    if not any(_has_engine(moment, replica_id) for replica_id in listed | set(known)):
        return no_engines("no replica shows vLLM metrics")
    if not running:
        return no_engines("no replica is RUNNING")
    found = {
        replica_id: _engine(moment, replica_id, known.get(replica_id))
        for replica_id in sorted(running) + sorted(one for one in listed - running if _has_engine(moment, one))
    }
    gone = [known[one] for one in set(known) - listed]
    return _together(moment, running, found, gone)


def _together(moment: Moment, running: set[str], found: Mapping[str, Engine], gone: Sequence[KnownReplica]) -> Engines:
    now_running = [found[one] for one in sorted(running)]
    leaving = [engine for one, engine in found.items() if one not in running]
    active = _added([engine.running for engine in now_running], [engine.running for engine in leaving])
    waiting = _added([engine.waiting for engine in now_running], [engine.waiting for engine in leaving])
    prefill = _rates(
        moment, scraped.VLLM_PROMPT_TOKENS, [e.prefill for e in now_running], [e.prefill for e in leaving], gone
    )
    decode = _rates(
        moment, scraped.VLLM_GENERATION_TOKENS, [e.decode for e in now_running], [e.decode for e in leaving], gone
    )
    everything = [reading for engine in found.values() for reading in (engine.running, engine.waiting)]
    return Engines(
        view=View(
            name=NAME,
            in_flight=first_unknown([active, waiting]) or total(_known([active, waiting])),
            at_least=total(_known(everything)).value,
            arrivals=_activity(prefill, decode),
        ),
        running=active,
        waiting=waiting,
        kv_usage=_highest([engine.kv_usage for engine in now_running]),
        prefill=prefill,
        decode=decode,
        unseen=tuple(one for one in sorted(running) if _is_unseen(moment, one)),
    )


def _engine(moment: Moment, replica_id: str, known: KnownReplica | None) -> Engine:
    if not _has_engine(moment, replica_id):
        return _untouched(moment, replica_id, known)
    return Engine(
        running=_gauge(moment, scraped.VLLM_RUNNING, replica_id),
        waiting=_gauge(moment, scraped.VLLM_WAITING, replica_id),
        kv_usage=_gauge(moment, scraped.VLLM_KV_USAGE, replica_id),
        prefill=_tokens(moment, scraped.VLLM_PROMPT_TOKENS, replica_id, known),
        decode=_tokens(moment, scraped.VLLM_GENERATION_TOKENS, replica_id, known),
    )


def _has_engine(moment: Moment, replica_id: str) -> bool:
    return any(moment.window.find(metric.name, replica_id) for metric in (*_COUNTERS, scraped.VLLM_RUNNING))


def _untouched(moment: Moment, replica_id: str, known: KnownReplica | None) -> Engine:
    """Engine of a replica that never showed one: nothing reached it, if the replica itself shows that."""
    quiet = None if _is_generating(moment, replica_id) else _page_of(moment, replica_id)
    if quiet is None and is_new(moment, known) and not moment.stale_ray:
        quiet = Rate(0.0, 0.0, 0.0)
    if quiet is None:
        reason = (
            f"{moment.stale_ray[0]} is stale" if moment.stale_ray else f"replica {replica_id} shows no vLLM metrics"
        )
        unknown = Unknown(reason)
        return Engine(running=unknown, waiting=unknown, kv_usage=unknown, prefill=unknown, decode=unknown)
    zero = quiet.reading()
    return Engine(running=zero, waiting=zero, kv_usage=zero, prefill=quiet, decode=quiet)


def _page_of(moment: Moment, replica_id: str) -> Rate | None:
    for gauge in moment.window.find(scraped.SERVE_PROCESSING.name, replica_id):
        if moment.is_shown(gauge) and gauge.last == 0.0:
            return moment.quiet(moment.window.source(gauge.source))
    return None


def _is_generating(moment: Moment, replica_id: str) -> bool:
    return any(
        dict(series.labels).get("route", "").endswith(_GENERATING)
        and ((growth := series.growth(moment.since)) is None or growth.increase > 0.0)
        for series in moment.window.find(scraped.SERVE_REQUESTS.name, replica_id)
    )


def _is_unseen(moment: Moment, replica_id: str) -> bool:
    return not _has_engine(moment, replica_id) and _is_generating(moment, replica_id)


def _gauge(moment: Moment, metric: Metric, replica_id: str) -> Reading:
    shown = [series for series in moment.window.find(metric.name, replica_id) if moment.is_shown(series)]
    if not shown:
        return _gauge_of_idle(moment, replica_id)
    stale = next((series for series in shown if not moment.is_fresh(series)), None)
    if stale is not None:
        return Unknown(f"{stale.source} is stale")
    if any(math.isnan(series.last) for series in shown):
        return Unknown(f"replica {replica_id}: {metric.name} is not a usable number")
    values = [series.last for series in shown]
    combined = max(values) if metric is scraped.VLLM_KV_USAGE else sum(values)
    return Known(combined, max(moment.age(series.last_at) for series in shown))


def _gauge_of_idle(moment: Moment, replica_id: str) -> Reading:
    counters = [series for metric in _COUNTERS for series in moment.window.find(metric.name, replica_id)]
    shown = [series for series in counters if moment.is_shown(series)]
    if not shown:
        return Unknown(f"replica {replica_id} no longer shows vLLM metrics")
    source = moment.window.source(shown[0].source)
    if not source.is_fresh(moment.now):
        return Unknown(f"{source.name} is stale")
    if not source.complete:
        return Unknown(f"{source.name} answered in part")
    moved = [series.moved() for series in shown]
    if any(one is None for one in moved):
        return Unknown(f"replica {replica_id}: seen once so far")
    if any(moved):
        return Unknown(f"replica {replica_id}: gauges are absent while its counters move")
    return Known(0.0, moment.age(source.last_ok_at))


def _tokens(moment: Moment, metric: Metric, replica_id: str, known: KnownReplica | None) -> Rate | Unknown:
    counters = moment.window.find(metric.name, replica_id)
    if counters:
        rate = moment.rate(counters, zero_at=known.born_at if known else None)
        stale = next((series.source for series in counters if not moment.is_fresh(series)), None)
        reason = f"{stale} is stale" if stale else f"replica {replica_id}: not enough scrapes yet"
        return rate or Unknown(reason)
    for beside in (*_COUNTERS, scraped.VLLM_RUNNING):
        for series in moment.window.find(beside.name, replica_id):
            quiet = moment.quiet(moment.window.source(series.source)) if moment.is_shown(series) else None
            if quiet is not None:
                return quiet
    return Unknown(f"replica {replica_id} shows no {metric.name}")


def _rates(
    moment: Moment,
    metric: Metric,
    needed: Sequence[Rate | Unknown],
    leaving: Sequence[Rate | Unknown],
    gone: Sequence[KnownReplica],
) -> Rate | Unknown:
    unknown = next((rate for rate in needed if isinstance(rate, Unknown)), None)
    if unknown is not None:
        return unknown
    past = [_tokens(moment, metric, replica.replica_id, replica) for replica in gone]
    rates = [rate for rate in (*needed, *leaving, *past) if isinstance(rate, Rate)]
    return summed(rates) or Unknown("no replica shows vLLM metrics yet")


def _activity(prefill: Rate | Unknown, decode: Rate | Unknown) -> Rate | Unknown:
    if isinstance(prefill, Unknown) or isinstance(decode, Unknown):
        return prefill if isinstance(prefill, Unknown) else decode
    return summed([prefill, decode]) or Unknown("no replica shows vLLM metrics yet")


def _added(needed: Sequence[Reading], optional: Iterable[Reading]) -> Reading:
    return first_unknown(needed) or total([*_known(needed), *_known(optional)])


def _highest(readings: Sequence[Reading]) -> Reading:
    known = _known(readings)
    unknown = first_unknown(readings)
    if unknown is not None or not known:
        return unknown or Unknown("no replica is RUNNING")
    return Known(max(one.value for one in known), max(one.age_s for one in known))


def _known(readings: Iterable[Reading]) -> list[Known]:
    return [reading for reading in readings if isinstance(reading, Known)]


def no_engines(reason: str) -> Engines:
    """Nothing is known of any engine, for one reason."""
    unknown = Unknown(reason)
    return Engines(
        view=View(name=NAME, in_flight=unknown, arrivals=unknown),
        running=unknown,
        waiting=unknown,
        kv_usage=unknown,
        prefill=unknown,
        decode=unknown,
    )
