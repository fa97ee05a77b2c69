"""Small pictures in text: sparklines and bars."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

_LEVELS = "▁▂▃▄▅▆▇█"
_MAX_BOXES = 24


def sparkline(values: Sequence[float | None], *, top: float, width: int) -> str:
    """The newest ``width`` values as blocks of 0 to ``top``; a gap where a value is unknown."""
    newest = values[-width:] if width > 0 else ()
    return "".join(" " if value is None else _LEVELS[_level(value, top)] for value in newest)


def replica_boxes(*, ready: int, starting: int, most: int) -> Text:
    """One box per replica up to ``most``: ready, starting, and room that is left."""
    scale = max(1.0, max(most, ready + starting) / _MAX_BOXES)
    full, half = round(ready / scale), round(starting / scale)
    room = max(0, round(most / scale) - full - half)
    return Text.assemble(("■" * full, "green"), ("◧" * half, "yellow"), ("□" * room, "dim"))


def gauge(value: float, limit: float, *, width: int) -> Text:
    """A bar that is full, and red, when ``value`` reaches ``limit``."""
    share = min(1.0, value / limit)
    filled = round(share * width)
    style = "red" if value > limit else "yellow" if share > 0.8 else "green"  # noqa: PLR2004
    return Text.assemble(("━" * filled, style), ("─" * (width - filled), "dim"))


def flow(label: str, entries: Sequence[Text], *, width: int) -> Text:
    """Entries side by side after a label, as many per line as fit; none is broken while it fits a line."""
    text, used = Text.assemble((label, "dim")), len(label)
    for entry in entries:
        if used > len(label) and used + 2 + len(entry) > width:
            text.append("\n" + " " * len(label))
            used = len(label)
        text.append("  ").append_text(entry)
        used += 2 + len(entry)
    return text


def _level(value: float, top: float) -> int:
    share = value / top if top > 0 else 0.0
    return min(len(_LEVELS) - 1, max(0, round(share * (len(_LEVELS) - 1))))
