"""What is asked of the fleet: requests in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.simulation.state import Floats, Ints


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
