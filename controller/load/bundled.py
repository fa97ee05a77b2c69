"""The traces that come with Foreserve, by name. Sources and licences: traces/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controller.load.trace import Trace, read_trace

_FOLDER = Path(__file__).parent / "traces"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledTrace:
    """A named trace: a file, or the part of it from ``start_s`` for ``duration_s`` trace seconds."""

    name: str
    path: Path
    start_s: float
    duration_s: float
    suggested_speed: float
    summary: str


BUNDLED: tuple[BundledTrace, ...] = (
    BundledTrace(
        name="day_rise_fall",
        path=_FOLDER / "flash_wc98_jun10.csv.gz",
        start_s=19_800.0,
        duration_s=21_600.0,
        suggested_speed=90.0,
        summary="one clear rise (3x) and fall; 4 minutes at the suggested speed, 8 to 25 requests/s",
    ),
    BundledTrace(
        name="flash_wc98_jun10",
        path=_FOLDER / "flash_wc98_jun10.csv.gz",
        start_s=0.0,
        duration_s=43_200.0,
        suggested_speed=180.0,
        summary="12 hours around the opening match of World Cup 98, thinned to 1 in 50",
    ),
    BundledTrace(
        name="azure_conv_2023",
        path=_FOLDER / "azure_conv_2023.csv.gz",
        start_s=0.0,
        duration_s=3_502.0,
        suggested_speed=1.0,
        summary="58 minutes of a conversation service on Azure, every arrival and size real, 3 to 8 requests/s",
    ),
)


def named_trace(name: str) -> tuple[Trace, float]:
    """Read a trace by its bundled name or as a file; with the speed it is meant for (1 for a file).

    Raises:
        BadInputError: there is no such trace, or it is none.

    """
    bundled = next((trace for trace in BUNDLED if trace.name == name), None)
    if bundled is None:
        return read_trace(Path(name)), 1.0
    return read_trace(bundled.path).excerpt(name, bundled.start_s, bundled.duration_s), bundled.suggested_speed
