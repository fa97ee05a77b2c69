"""How many requests wait too long where an engine's seats are what bounds it (``max_num_seqs``).

Each request then takes exactly one seat for as long as it is served, as in a queue with N servers. Halfin and Whitt
(1981) give the share that waits at all, and the time waited beyond that is about exponential::

    P(wait) = 1 / (1 + b·Φ(b)/φ(b)),  b = (1 - utilisation)·sqrt(N)
    P(wait > w) = P(wait)·e^(-w·(1 - utilisation)·λ)            λ requests/s carried by N seats at full load

Service times are taken as exponential; those of real answers vary less, so this is a little too careful.
"""

from __future__ import annotations

import math

_HALVINGS = 40


def share_too_late(utilisation: float, *, seats: float, requests_per_s: float, wait_s: float) -> float:
    """Return the share of requests that wait longer than ``wait_s`` for one of ``seats``; 1 at full load and beyond."""
    room = 1.0 - utilisation
    if room <= 0.0:
        return 1.0
    distance = room * math.sqrt(seats)
    density = math.exp(-0.5 * distance**2) / math.sqrt(2.0 * math.pi)
    if density <= 0.0:
        return 0.0
    below = 0.5 * (1.0 + math.erf(distance / math.sqrt(2.0)))
    waiting = 1.0 / (1.0 + distance * below / density)
    return waiting * math.exp(-wait_s * room * requests_per_s)


def utilisation_for(share: float, *, seats: float, requests_per_s: float, wait_s: float) -> float:
    """Return the largest utilisation at which no more than ``share`` of requests waits too long."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if share_too_late(middle, seats=seats, requests_per_s=requests_per_s, wait_s=wait_s) <= share:
            low = middle
        else:
            high = middle
    return low
