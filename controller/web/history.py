"""One deployment's last hour for the charts, as JSON."""

from __future__ import annotations

import math
from typing import Any

from controller.domain.signals import Signal
from controller.web.moments import OF_SIGNAL, plain
from controller.web.timeline import Watched
from controller.web.words import signal_name, unit

_SHOWN = ("ready", "starting", "target", "ttft", "itl")


def history(known: Watched, *, signal: Signal | None, after: float = -math.inf) -> dict[str, Any]:
    """Columns that run in parallel to ``at`` (Unix seconds), of ticks later than ``after``; null is unknown.

    Of ``signal``, or of the one that asks for most replicas: ``demand``, the forecast's ``p50`` and ``p90`` of its
    maximum within ``horizon`` seconds, and what one replica carries (``each``).
    """
    moments, terms = known.moments, known.entry.terms
    chosen = signal or moments.signal
    columns = {name: plain(moments.column(name, after=after)) for name in _SHOWN}
    columns |= {name: plain(moments.of_signal(chosen, name, after=after)) for name in OF_SIGNAL}
    return {
        "deployment": str(known.entry.decision.id),
        "signal": chosen.value,
        "unit": unit(chosen),
        "signals": [{"id": one.value, "name": signal_name(one)} for one in moments.signals()],
        "objectives": None if terms is None else {"ttft": terms.ttft_s, "itl": terms.itl_s},
        "limits": None if terms is None else [terms.min_replicas, terms.max_replicas],
        "at": moments.at(after=after).tolist(),
        "columns": columns,
        "changes": [
            {"tick": one.tick, "at": one.at, "before": one.before, "after": one.after, "reason": one.reason.value}
            for one in known.changes
            if one.acted and one.at > after
        ],
    }
