"""How one metric is described."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Prometheus metric type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Origin(StrEnum):
    """Which system exposes a metric."""

    RAY = "ray"
    HAPROXY = "haproxy"
    AUTOSCALER = "autoscaler"
    """Ray's autoscaler, a page of its own on the head node."""
    FORESERVE = "foreserve"
    RULES = "rules"
    """Our recording rules, evaluated by Prometheus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric family.

    ``labels`` are the labels that are read or written, all others are dropped on reading; ``le`` of a
    histogram is implied. ``identity`` labels are kept only to tell two processes' series apart.
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    origin: Origin
    identity: tuple[str, ...] = ()

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Names under which samples of this family stand on a page."""
        if self.kind is Kind.HISTOGRAM:
            return (f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum")
        return (self.name,)


Series = tuple[Metric, tuple[str, ...], float]
"""A metric, its label values in the catalogue's order, and the value."""
