"""What a client sees of an engine's iterations: the gaps between tokens, and what was in the batch meanwhile.

A gap between two tokens of a stream is one iteration, and what was decoded and prefilled in it is known from all
streams together (a prompt in several chunks counts in the gap of its last one: the mean over a second has it right). So
each second of a run is one observation of the iteration-time model, as those met it who were decoding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from controller.load.row import RequestRow
from controller.planner.capacity.batches import Batches

_Floats = NDArray[np.float64]
_FEWEST_GAPS = 5


def observed_batches(rows: Sequence[RequestRow], *, bin_s: float = 1.0) -> tuple[Batches, ...]:
    """Return one mean batch per ``bin_s`` seconds in which tokens came; requests that failed count for nothing."""
    streams = [_Stream(row) for row in rows if row.ok and row.ttft_s is not None]
    gaps = [stream.gaps() for stream in streams]
    if not any(len(ends) for ends, _ in gaps):
        return ()
    ends = np.concatenate([ends for ends, _ in gaps])
    lengths = np.concatenate([lengths for _, lengths in gaps])
    firsts = np.array([stream.first_s for stream in streams])
    order = np.argsort(firsts)
    firsts, prompts = firsts[order], np.array([stream.prompt for stream in streams])[order]
    prefilled = np.concatenate(([0.0], np.cumsum(prompts)))
    decoding, context = _in_batch(streams, ends - lengths / 2.0)
    tokens = (
        prefilled[np.searchsorted(firsts, ends, "right")] - prefilled[np.searchsorted(firsts, ends - lengths, "right")]
    )
    bins = np.floor(ends / bin_s).astype(int)
    found = []
    for one in np.unique(bins):
        inside = bins == one
        if np.count_nonzero(inside) >= _FEWEST_GAPS:
            means = [float(values[inside].mean()) for values in (lengths, decoding, context, tokens)]
            found.append(Batches(*means))
    return tuple(found)


class _Stream:
    def __init__(self, row: RequestRow) -> None:
        sent_s = row.scheduled_s + row.lag_s
        self.first_s = sent_s + (row.ttft_s or 0.0)
        self.prompt = float(row.prompt_tokens_measured or row.prompt_tokens)
        self._lengths = np.array(row.itl_s, dtype=np.float64)
        self.end_s = self.first_s + float(self._lengths.sum())

    def gaps(self) -> tuple[_Floats, _Floats]:
        """When each gap ended, and how long it was."""
        return self.first_s + np.cumsum(self._lengths), self._lengths

    def context_at(self, times: _Floats) -> _Floats:
        """Tokens in the stream's context, tokens coming evenly between its first and last."""
        share = (times - self.first_s) / max(self.end_s - self.first_s, 1e-9)
        return self.prompt + np.clip(share, 0.0, 1.0) * len(self._lengths)


def _in_batch(streams: Sequence[_Stream], times: _Floats) -> tuple[_Floats, _Floats]:
    """Sequences decoding at each time, and the tokens of their context."""
    order = np.argsort(times)
    ordered = times[order]
    decoding, context = np.zeros(len(times)), np.zeros(len(times))
    for stream in streams:
        first, last = np.searchsorted(ordered, [stream.first_s, stream.end_s])
        decoding[first:last] += 1.0
        context[first:last] += stream.context_at(ordered[first:last])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return decoding[back], context[back]
