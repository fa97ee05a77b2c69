"""What counts as lost, and what all pieces together say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale_downs_result import (
    BEGIN,
    END,
    Leaving,
    Lost,
    Piece,
    Why,
    keep,
    kept,
    lost,
    removed,
    summary,
    write_docs,
)
from controller.load.row import RequestRow

WHOLE = RequestRow(
    index=0, at=0, scheduled_s=5, prompt_tokens=16, output_tokens=8, status="ok", total_s=2, output_tokens_measured=8
)


def piece(*leavings: tuple[Why, int | None], failures: tuple[Lost, ...] = (), engine: str = "simulated") -> Piece:
    return Piece(
        engine=engine,
        seconds=120,
        requests=100,
        tokens=800,
        ttft_p50_s=0.1,
        ttft_p99_s=0.3,
        scale_downs=1,
        rollouts=1,
        leavings=tuple(Leaving(replica="r", at_s=1, why=why, streams=streams) for why, streams in leavings),
        lost=failures,
        load_average=3,
    )


def test_a_stream_that_ended_with_all_its_tokens_is_not_lost() -> None:
    assert lost(WHOLE, during="2 to 1") is None


@pytest.mark.parametrize(
    ("row", "status", "got"),
    [
        (replace(WHOLE, status="disconnected", output_tokens_measured=None, chunks=3), "disconnected", 3),
        (replace(WHOLE, status="http_500", output_tokens_measured=None), "http_500", 0),
        (replace(WHOLE, output_tokens_measured=7), "cut short", 7),
        (replace(WHOLE, status="dropped", output_tokens_measured=None, total_s=None), "dropped", 0),
    ],
)
def test_everything_else_is_lost_and_told_with_what_went_on(row: RequestRow, status: str, got: int) -> None:
    found = lost(row, during="2 to 1")

    assert found is not None
    assert (found.status, found.got, found.asked, found.during) == (status, got, 8, "2 to 1")


def test_pieces_add_up_and_replicas_of_rollouts_are_counted_for_themselves(tmp_path: Path) -> None:
    keep(tmp_path, piece((Why.SCALE_DOWN, 3), (Why.SCALE_DOWN, 0), (Why.ROLLOUT, 2)))
    keep(tmp_path, piece((Why.SCALE_DOWN, None), (Why.SCALE_DOWN, 1)))
    keep(tmp_path, piece((Why.SCALE_DOWN, 9), engine="vllm"))

    pieces = kept(tmp_path, "simulated")

    assert removed(pieces) == 4
    assert "| simulated | 4 (2) | 2: 1 (1) | 6 | 200 | 0 | 4 |" in summary(pieces)
    assert summary(pieces).endswith("No request was lost.")


def test_lost_requests_and_replicas_that_died_are_told(tmp_path: Path) -> None:
    one = lost(replace(WHOLE, status="http_500", detail="no server"), during="16 to 2")
    assert one is not None
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    keep(tmp_path, piece((Why.UNASKED, 4), failures=(one,)))

    write_docs(document, tmp_path)

    text = document.read_text()
    assert (text[:7], text[-6:]) == ("before\n", "after\n")
    assert "old" not in text
    assert "1 replicas left that nobody had asked to." in text
    assert "1 of simulated: http_500 (no server)" in text
    assert "during 16 to 2" in text
