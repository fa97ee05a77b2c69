"""Points in time as people type them."""

from __future__ import annotations

import datetime as dt
import re

from controller.errors import BadInputError

_AGO = re.compile(r"-\s*(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_moment(text: str, *, now: float) -> float:
    """Read a time as Unix seconds.

    Takes ISO 8601 (UTC unless it has an offset), Unix seconds, or a time ago such as ``-90s``, ``-5m``,
    ``-2h``, ``-1d``.

    Raises:
        BadInputError: it is none of these.

    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return now - float(ago[1]) * _SECONDS[ago[2]]
    if re.fullmatch(r"\d+(\.\d+)?", text) and len(text.partition(".")[0]) != len("YYYYMMDD"):
        return float(text)
    try:
        moment = dt.datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError) as exc:
        msg = f"{text!r} is not a time; write 2026-11-21T10:15:00Z, Unix seconds, or a time ago such as -5m, -2h, -1d"
        raise BadInputError(msg) from exc
