from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from controller.errors import BadInputError
from controller.load.bundled import BUNDLED, named_trace
from controller.load.trace import read_trace

HEADER = "t_s,prompt_tokens,output_tokens\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "trace.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HEADER + "0.5,10,20\n1.5,30,40\n", id="with-a-header"),
        pytest.param("0.5,10,20\n1.5,30,40\n", id="without-a-header"),
        pytest.param("\ufeff" + HEADER + "0.5,10,20\r\n\r\n1.5,30.0,40\r\n", id="from-a-spreadsheet"),
        pytest.param(gzip.compress((HEADER + "0.5,10,20\n1.5,30,40").encode()), id="gzip-whatever-the-name"),
        pytest.param(HEADER + "1.5,30,40\n0.5,10,20\n", id="unsorted"),
    ],
)
def test_a_trace_is_read_in_order_of_time(tmp_path: Path, content: str | bytes) -> None:
    trace = read_trace(written(tmp_path, content))

    assert trace.t_s.tolist() == [0.5, 1.5]
    assert trace.prompt_tokens.tolist() == [10, 30]
    assert trace.output_tokens.tolist() == [20, 40]


def test_lines_out_of_order_are_counted(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "1,1,1\n3,1,1\n2,1,1\n4,1,1\n"))

    assert trace.out_of_order == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("hello", "'hello' has 1 field(s), not 3", id="not-a-row"),
        pytest.param("1,2,3,4", "'1,2,3,4' has 4 field(s), not 3", id="too-many-fields"),
        pytest.param("x,2,3", "t_s is 'x'; it must be a number", id="no-number"),
        pytest.param("nan,2,3", "t_s is 'nan'; it must lie between 0 and", id="nan"),
        pytest.param("inf,2,3", "t_s is 'inf'; it must lie between 0 and", id="infinite"),
        pytest.param("-1,2,3", "t_s is '-1'; it must lie between 0 and", id="negative-time"),
        pytest.param("1,2.5,3", "prompt_tokens is '2.5'; it must be a whole number", id="half-a-token"),
        pytest.param("1,2,-3", "output_tokens is '-3'; it must lie between 0 and", id="negative-tokens"),
        pytest.param("1,2,", "output_tokens is ''; it must be a number", id="missing-value"),
        pytest.param("1,2,\udcff".encode("utf-8", "surrogateescape"), "'\\\\xff'; it must be a number", id="no-text"),
    ],
)
def test_a_garbage_line_is_named_with_what_would_be_right(tmp_path: Path, line: str | bytes, problem: str) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    path = written(tmp_path, HEADER.encode() + b"1,2,3\n" + raw + b"\n4,5,6\n")

    with pytest.raises(BadInputError) as caught:
        read_trace(path)

    message = str(caught.value)
    assert f"{path}:3: " in message
    assert problem in message
    assert "Expected lines like 12.5,310,42" in message


def test_at_most_five_garbage_lines_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as caught:
        read_trace(written(tmp_path, "garbage\n" * 100))

    assert str(caught.value).count("field(s)") == 5


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "has no requests", id="empty"),
        pytest.param(HEADER.encode(), "has no requests", id="only-a-header"),
        pytest.param(gzip.compress(b"1,2,3\n" * 1000)[:40], "gzip data is damaged", id="cut-gzip"),
        pytest.param(b"\x1f\x8bnonsense", "gzip data is damaged", id="no-gzip"),
        pytest.param(b"1" * 5000, ":1: the line is longer than", id="endless-line"),
        pytest.param(gzip.compress(b"\n" * 2_000_000), "longer than 1 MB unpacked", id="zip-bomb"),
        pytest.param(b"1,2,3\n" * 11_000, "more than 10,000 requests", id="too-many-rows"),
    ],
)
def test_a_file_that_is_no_trace_is_bad_input(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(BadInputError, match=problem):
        read_trace(written(tmp_path, content), max_rows=10_000, max_bytes=1_000_000)


def test_a_missing_file_points_to_the_bundled_names(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no such trace.*--list-traces"):
        read_trace(tmp_path / "nope.csv")


def test_a_folder_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        read_trace(tmp_path)


@pytest.mark.parametrize("name", [trace.name for trace in BUNDLED])
def test_every_bundled_trace_can_be_read(name: str) -> None:
    trace, speed = named_trace(name)

    assert len(trace) > 3000
    assert 0 <= trace.t_s[0] <= trace.t_s[-1] <= trace.length_s
    assert speed >= 1


def test_day_rise_fall_has_one_clear_rise_and_one_clear_fall() -> None:
    trace, speed = named_trace("day_rise_fall")

    twelfth = trace.length_s / 12
    rate = [((trace.t_s >= i * twelfth) & (trace.t_s < (i + 1) * twelfth)).sum() / twelfth * speed for i in range(12)]

    assert trace.length_s / speed == 240
    high = [value > 2 * rate[0] for value in rate]
    assert high.index(True) >= 3  # a base to begin with
    assert "".join("x" if value else "." for value in high).strip(".").count(".") == 0  # one plateau
    assert max(rate) < 4 * min(rate)
    assert max(rate[-3:]) < 0.6 * max(rate)  # and back down
