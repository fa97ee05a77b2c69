"""What is known beforehand about demand: regular windows (cron) and single occasions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from controller.domain.signals import Signal
from controller.policy.cron import check_cron, check_timezone, moment_of
from controller.policy.section import Section

_LONGEST_S = 31 * 86_400


class ExtraLoad(Section):
    """Load that an event adds to the usual one. Several signals describe the same requests."""

    ongoing_requests: float | None = Field(default=None, gt=0, description="More requests in flight.")
    requests_per_s: float | None = Field(default=None, gt=0, description="More requests per second.")
    prefill_tokens_per_s: float | None = Field(default=None, gt=0, description="More prompt tokens per second.")
    decode_tokens_per_s: float | None = Field(default=None, gt=0, description="More output tokens per second.")

    @property
    def amounts(self) -> Mapping[Signal, float]:
        """What is given, by signal."""
        given = {
            Signal.ONGOING_REQUESTS: self.ongoing_requests,
            Signal.REQUESTS: self.requests_per_s,
            Signal.PREFILL_TOKENS: self.prefill_tokens_per_s,
            Signal.DECODE_TOKENS: self.decode_tokens_per_s,
        }
        return {signal: amount for signal, amount in given.items() if amount is not None}

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.amounts:
            msg = f"adds nothing; give one of {', '.join(type(self).model_fields)}"
            raise ValueError(msg)
        return self


class Event(Section):
    """One announced event. Begins by ``cron`` or once at ``start``; replicas are ready when it begins."""

    name: str = Field(min_length=1, max_length=100, description="What people call it.")
    cron: str | None = Field(
        default=None,
        min_length=9,
        max_length=200,
        description="When it begins, again and again: minute hour day-of-month month day-of-week.",
    )
    start: str | None = Field(
        default=None,
        min_length=10,
        max_length=40,
        description="When it begins, once: ISO 8601, in ``timezone`` unless it has an offset.",
    )
    timezone: str = Field(
        default="UTC", min_length=1, max_length=64, description="IANA time zone of ``cron`` and ``start``."
    )
    duration_s: float = Field(gt=0, le=_LONGEST_S, description="Seconds that it lasts.")
    min_replicas: int | None = Field(default=None, ge=1, le=10_000, description="Fewest replicas while it lasts.")
    demand_multiple: float | None = Field(
        default=None, gt=1, le=1000, description="Demand while it lasts, as a multiple of the demand before it."
    )
    extra_load: ExtraLoad | None = None

    @field_validator("cron")
    @classmethod
    def _readable_cron(cls, cron: str | None) -> str | None:
        return cron if cron is None else check_cron(cron)

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, name: str) -> str:
        return check_timezone(name)

    @field_validator("start")
    @classmethod
    def _readable_start(cls, start: str | None) -> str | None:
        if start is not None:
            moment_of(start, dt.UTC)
        return start

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.cron is None) == (self.start is None):
            given = "neither cron nor start" if self.cron is None else "both cron and start"
            msg = f"has {given}; give cron for what recurs, start for what happens once"
            raise ValueError(msg)
        if self.min_replicas is None and not self.changes_load:
            msg = "changes nothing; give min_replicas, demand_multiple or extra_load"
            raise ValueError(msg)
        return self

    @property
    def changes_load(self) -> bool:
        """Whether demand is expected to differ while it lasts."""
        return self.demand_multiple is not None or self.extra_load is not None

    @property
    def starts_at(self) -> float | None:
        """Unix time of the single start; None for a regular event."""
        return None if self.start is None else moment_of(self.start, ZoneInfo(self.timezone)).timestamp()
