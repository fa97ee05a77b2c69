"""Cron expressions and local times, checked and turned into moments."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_FIELDS = 5
_CHECKED_FROM = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_RIGHT = 'write five fields: minute hour day-of-month month day-of-week, as in "30 8 * * 1-5"'
_LATEST = dt.datetime(9000, 1, 1, tzinfo=dt.UTC).timestamp()
_FAULT = re.compile(r"Bad (.+)")


def check_cron(cron: str) -> str:
    """Return the expression when it has five readable fields and happens at all; else raise ValueError."""
    shown = f"{cron[:60]!r}"
    if len(cron.split()) != _FIELDS:
        msg = f"{shown} has {len(cron.split())} fields; {_RIGHT}"
        raise ValueError(msg)
    try:
        next(CronSim(cron, _CHECKED_FROM))
    except StopIteration:
        msg = f"{shown} never happens; check day-of-month against month"
        raise ValueError(msg) from None
    except (CronSimError, ValueError, IndexError, TypeError, AssertionError) as exc:
        fault = _FAULT.fullmatch(str(exc))
        msg = f"{shown} is no cron expression{f' (its {fault[1]})' if fault else ''}; {_RIGHT}"
        raise ValueError(msg) from None
    return cron


def check_timezone(name: str) -> str:
    """Return the name when it is a known time zone; else raise ValueError."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"{name[:60]!r} is no time zone known here; write an IANA name such as Europe/Berlin or UTC"
        raise ValueError(msg) from None
    return name


def moment_of(text: str, zone: dt.tzinfo) -> dt.datetime:
    """Read an ISO 8601 time, in ``zone`` unless it has an offset. Raises ValueError."""
    try:
        moment = dt.datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        readable = 0 <= aware.timestamp() < _LATEST
    except (ValueError, OverflowError):
        readable = False
    if not readable:
        msg = f"{text[:60]!r} is no time; write it as 2026-12-01T09:00:00 or 2026-12-01T09:00:00+01:00"
        raise ValueError(msg)
    return aware


def starts_before(cron: str, zone: str, until: float) -> Iterator[float]:
    """Yield the starts at or before ``until`` (Unix seconds), newest first."""
    # CronSim begins beyond the moment it is given.
    beyond = dt.datetime.fromtimestamp(until // 1 + 1, ZoneInfo(zone))
    return (start.timestamp() for start in CronSim(cron, beyond, reverse=True))


def starts_after(cron: str, zone: str, since: float) -> Iterator[float]:
    """Yield the starts after ``since`` (Unix seconds), oldest first."""
    return (start.timestamp() for start in CronSim(cron, dt.datetime.fromtimestamp(since // 1, ZoneInfo(zone))))
