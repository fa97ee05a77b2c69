from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import BadInputError
from controller.load.histogram import LogHistogram
from controller.load.result import LoadResult, RowFile, read_load_result
from controller.load.row import RequestRow
from controller.load.tick import Meter, dump_tick, load_tick


def row(index: int, *, status: str = "ok", **more: object) -> RequestRow:
    fields = {"prompt_tokens": 10, "output_tokens": 5, "ttft_s": 0.5, "total_s": 1.0, "chunks": 5, **more}
    return RequestRow(index=index, at=1000.0 + index, scheduled_s=float(index), status=status, **fields)


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = [row(1, itl_s=(0.1, 0.25)), row(0, status="http_503", http_status=503, ttft_s=None, detail='"quoted"')]
    path = tmp_path / "rows.jsonl"
    file = RowFile(path)
    for one in rows:
        file.write(one)
    file.close()

    result = read_load_result(path)

    assert result.rows == (rows[1], rows[0])  # in order of the schedule
    assert result.started_at == 1000.0
    assert result.summary.errors == {"http_503": 1}


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    file = RowFile(path)
    file.write(row(0))
    file.write(row(1))
    file.close()
    path.write_bytes(path.read_bytes()[:-20])

    assert len(read_load_result(path).rows) == 1


def test_a_line_that_is_no_request_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"hello": 1}\n')

    with pytest.raises(BadInputError, match=r"rows\.jsonl:1: is no request"):
        read_load_result(path)


def test_a_full_disk_ends_the_writing_and_says_so() -> None:
    file = RowFile(Path("/dev/full"))

    for index in range(2000):
        file.write(row(index))
    file.close()

    assert file.problem is not None
    assert "No space left" in file.problem


def test_a_file_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be written"):
        RowFile(tmp_path / "no" / "such" / "folder")


def test_a_summary_counts_every_request_once() -> None:
    summary = LoadResult.of(
        [
            row(0, output_tokens_measured=7, prompt_tokens_measured=12),
            row(1, status="unfinished", chunks=2),
            row(2, status="http_503", ttft_s=None, chunks=0),
            row(3, status="dropped", ttft_s=None, total_s=None, chunks=0),
        ]
    ).summary

    assert (summary.sent, summary.completed, summary.failed, summary.dropped, summary.unfinished) == (3, 1, 2, 1, 1)
    assert summary.output_tokens == 9
    assert (summary.prompt_tokens_asked, summary.prompt_tokens_measured) == (10, 12)
    assert summary.elapsed_s == 3.0
    assert not summary.clean


def test_an_empty_run_has_no_numbers_and_no_zeros_for_latencies() -> None:
    summary = LoadResult.of([]).summary

    assert (summary.sent, summary.rps) == (0, 0.0)
    assert summary.ttft.p95 is None


@settings(deadline=None)
@given(st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_a_quantile_is_within_half_a_percent(values: list[float], probability: float) -> None:
    histogram = LogHistogram()
    for value in values:
        histogram.add(value)

    exact = np.quantile(values, probability, method="inverted_cdf")

    assert histogram.quantile(probability) == pytest.approx(exact, rel=0.005)


def test_values_too_small_to_measure_read_zero() -> None:
    histogram = LogHistogram()
    histogram.add(0.0)

    assert histogram.quantile(0.5) == 0.0


def test_ticks_look_back_five_seconds_only() -> None:
    meter = Meter()
    for second in range(10):
        for _ in range(second):
            meter.on_send()
        tick = meter.tick(second + 1.0)

    assert tick.rps == pytest.approx(7.0)  # 5+6+7+8+9 in five seconds
    assert tick.sent == 45


def test_a_tick_is_read_back_and_a_summary_line_is_not_one() -> None:
    tick = Meter().tick(1.0)

    assert load_tick(dump_tick(tick)) == tick
    assert load_tick(json.dumps({"summary": {"sent": 3}})) is None
    assert load_tick(b"garbage") is None
    assert json.loads(dump_tick(tick))["ttft_p50_s"] is None
