"""What number of the horizon is predicted."""

from __future__ import annotations

from enum import StrEnum


class Target(StrEnum):
    """Which number of the horizon is predicted."""

    MAXIMUM = "maximum"
    """The largest measurement until its end."""
    END = "end"
    """The measurement at its end."""
