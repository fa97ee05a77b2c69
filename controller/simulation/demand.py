"""What is asked of the fleet: requests in order of arrival, superposed to the wanted scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.simulation.state import Floats, Ints

_SHIFT_S = 37.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demand:
    """Requests in order of arrival (seconds from the start), over ``length_s`` seconds."""

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    length_s: float

    def __len__(self) -> int:
        return len(self.arrival_s)

    def excerpt(self, start_s: float, end_s: float) -> Demand:
        """Cut out [start_s, end_s); its time begins at 0."""
        first, last = np.searchsorted(self.arrival_s, [start_s, end_s])
        return Demand(
            arrival_s=self.arrival_s[first:last] - start_s,
            prompt_tokens=self.prompt_tokens[first:last],
            output_tokens=self.output_tokens[first:last],
            length_s=min(end_s, self.length_s) - start_s,
        )


def superposed(demand: Demand, scale: float, *, seed: int) -> Demand:
    """Lay ``scale`` copies over each other; of a last, partial copy each request is kept with that probability.

    Each copy is moved by 37 s more than the one before (what is moved past the end comes in at the start), so that
    equal requests do not meet while the shape over minutes stays.
    """
    whole = int(scale)
    rng = np.random.default_rng([seed, 0xC0])
    everything = np.arange(len(demand))
    rows = [everything] * whole + [everything[rng.random(len(demand)) < scale - whole]]
    times = [(demand.arrival_s[chosen] + copy * _SHIFT_S) % demand.length_s for copy, chosen in enumerate(rows)]
    arrival, picked = np.concatenate(times), np.concatenate(rows)
    order = np.argsort(arrival, kind="stable")
    picked = picked[order]
    return Demand(
        arrival_s=arrival[order],
        prompt_tokens=demand.prompt_tokens[picked],
        output_tokens=demand.output_tokens[picked],
        length_s=demand.length_s,
    )
