"""Traffic without a trace: stages of constant rate, such as ``2x30,8x60,2x60``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.errors import BadInputError
from controller.load.trace import MAX_ROWS, Trace

_FORM = "expected RPSxSECONDS[,RPSxSECONDS...] such as 2x30,8x60,2x60"


@dataclass(frozen=True, slots=True)
class Stage:
    """``rps`` requests per second for ``seconds`` seconds."""

    rps: float
    seconds: float


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read ``2x30,8x60``: 2 requests/s for 30 s, then 8 requests/s for 60 s. A rate of 0 is a pause.

    Raises:
        BadInputError: a part does not have that form, or nothing would ever be sent.

    """
    stages = tuple(_stage(part.strip(), text) for part in text.split(","))
    if not any(stage.rps for stage in stages):
        msg = f"stages {text!r} send nothing; {_FORM}"
        raise BadInputError(msg)
    return stages


def staged_trace(stages: Sequence[Stage], *, prompt_tokens: int, output_tokens: int) -> Trace:
    """Evenly spaced requests of one size, stage after stage.

    Raises:
        BadInputError: the stages hold more requests than a trace may.

    """
    total = sum(stage.rps * stage.seconds for stage in stages)
    if total > MAX_ROWS:
        msg = f"the stages hold {total:,.0f} requests; at most {MAX_ROWS:,} are possible"
        raise BadInputError(msg)
    start, parts = 0.0, []
    for stage in stages:
        parts.append(start + np.arange(math.ceil(stage.rps * stage.seconds - 1e-9)) / (stage.rps or 1.0))
        start += stage.seconds
    t_s = np.concatenate(parts)
    return Trace(
        name=",".join(f"{stage.rps:g}x{stage.seconds:g}" for stage in stages),
        t_s=t_s,
        prompt_tokens=np.full(len(t_s), prompt_tokens, dtype=np.int64),
        output_tokens=np.full(len(t_s), output_tokens, dtype=np.int64),
        length_s=start,
    )


def _stage(part: str, text: str) -> Stage:
    rate, cross, seconds = part.lower().partition("x")
    try:
        stage = Stage(float(rate), float(seconds))
    except ValueError:
        stage = None
    if not cross or stage is None or not (0 <= stage.rps < math.inf and 0 < stage.seconds < math.inf):
        msg = f"stage {part!r} in {text!r} is not a rate and a time; {_FORM}"
        raise BadInputError(msg)
    return stage
