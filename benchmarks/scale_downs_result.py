"""What ``benchmarks.scale_downs`` saw, piece by piece, and all pieces together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from controller.load.row import RequestRow

BEGIN = "<!-- scale-downs: begin (generated) -->"
END = "<!-- scale-downs: end -->"
_SHOWN = 20


class Why(StrEnum):
    """Why a replica left."""

    SCALE_DOWN = "scale-down"
    ROLLOUT = "rollout"
    UNASKED = "unasked"
    """Nobody had asked for it: it died, or Serve gave it up."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Leaving(_Value):
    """One replica that left. ``streams``: those it had when it had been told to; None when it could not be asked."""

    replica: str
    at_s: float
    why: Why
    streams: int | None


class Lost(_Value):
    """One request that did not get what it asked for. ``during`` is what was going on when it ended."""

    began_s: float
    ended_s: float
    status: str
    detail: str
    asked: int
    got: int
    during: str


class Piece(_Value):
    """One stretch of streams without a pause. Times in seconds from its start."""

    engine: str
    seconds: float
    requests: int
    tokens: int
    ttft_p50_s: float
    ttft_p99_s: float
    scale_downs: int
    """Orders of fewer replicas; each took several away."""
    rollouts: int
    leavings: tuple[Leaving, ...]
    lost: tuple[Lost, ...]
    load_average: float
    """The highest of the machine."""


def lost(row: RequestRow, *, during: str) -> Lost | None:
    """Return why a request counts as lost; None when its stream ended properly and had all its tokens."""
    if row.ok and row.tokens_out == row.output_tokens:
        return None
    return Lost(
        began_s=row.scheduled_s,
        ended_s=row.end_s,
        status=row.status if not row.ok else "cut short",
        detail=row.detail,
        asked=row.output_tokens,
        got=row.tokens_out,
        during=during,
    )


def kept(folder: Path, engine: str) -> list[Piece]:
    """Read the pieces of one engine that were kept in ``folder``."""
    return [Piece.model_validate_json(path.read_bytes()) for path in sorted(folder.glob(f"{engine}-*.json"))]


def keep(folder: Path, piece: Piece) -> None:
    """Write one more piece."""
    number = len(list(folder.glob(f"{piece.engine}-*.json")))
    (folder / f"{piece.engine}-{number:03d}.json").write_text(piece.model_dump_json(indent=1) + "\n", encoding="utf-8")


def removed(pieces: Iterable[Piece]) -> int:
    """Return how many replicas were taken away by scale-downs."""
    return len(_left(pieces, Why.SCALE_DOWN))


def summary(pieces: Sequence[Piece]) -> str:
    """Return all pieces as a table in Markdown, and every request that was lost."""
    head = (
        "| engine | replicas taken away (with streams on them) | rollouts: replicas replaced (with streams) "
        "| streams on leaving replicas | requests | lost | minutes | TTFT p50, p99 s | load |"
    )
    engines = dict.fromkeys(piece.engine for piece in pieces)
    lines = [_line(engine, [piece for piece in pieces if piece.engine == engine]) for engine in engines]
    return "\n".join([head, "|" + "---|" * 9, *lines, "", *_losses(pieces)])


def write_docs(document: Path, folder: Path) -> None:
    """Put the table between its marks."""
    pieces = [piece for engine in ("simulated", "vllm") for piece in kept(folder, engine)]
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    document.write_text(f"{before}{BEGIN}\n{summary(pieces)}\n{END}{after}", encoding="utf-8")


def _line(engine: str, pieces: Sequence[Piece]) -> str:
    downs, rolled = _left(pieces, Why.SCALE_DOWN), _left(pieces, Why.ROLLOUT)
    streams = sum(one.streams or 0 for one in (*downs, *rolled))
    loads = sorted(piece.load_average for piece in pieces)
    rollouts = sum(piece.rollouts for piece in pieces)
    return (
        f"| {engine} | {len(downs)} ({_busy(downs)}) | {rollouts}: {len(rolled)} ({_busy(rolled)}) | {streams} "
        f"| {sum(piece.requests for piece in pieces)} | {sum(len(piece.lost) for piece in pieces)} "
        f"| {sum(piece.seconds for piece in pieces) / 60:.0f} "
        f"| {max(piece.ttft_p50_s for piece in pieces):.2f}, {max(piece.ttft_p99_s for piece in pieces):.2f} "
        f"| {loads[0]:.0f} to {loads[-1]:.0f} |"
    )


def _losses(pieces: Sequence[Piece]) -> list[str]:
    lines = []
    unasked = _left(pieces, Why.UNASKED)
    if unasked:
        lines.append(f"{len(unasked)} replicas left that nobody had asked to.")
    all_lost = [(piece.engine, one) for piece in pieces for one in piece.lost]
    if not all_lost:
        return [*lines, "No request was lost."]
    kinds = Counter(f"{engine}: {one.status} ({one.detail or 'no detail'})" for engine, one in all_lost)
    lines += ["Lost, by reason:", "", *(f"* {count} of {kind}" for kind, count in kinds.most_common(_SHOWN))]
    lines += ["", "Each:", ""]
    lines += [
        f"* {engine}, {one.began_s:.1f} to {one.ended_s:.1f} s, {one.got} of {one.asked} tokens, {one.status}, "
        f"during {one.during}"
        for engine, one in all_lost[:_SHOWN]
    ]
    return lines


def _left(pieces: Iterable[Piece], why: Why) -> list[Leaving]:
    return [one for piece in pieces for one in piece.leavings if one.why is why]


def _busy(leavings: Sequence[Leaving]) -> int:
    return sum(bool(one.streams) for one in leavings)
