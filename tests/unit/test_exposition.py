"""The exposition reader: agreement with prometheus_client, and what it makes of pages that are not right."""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.collectors.exposition import (
    MAX_LABEL_VALUE_CHARS,
    MAX_LINE_BYTES,
    ExpositionReader,
    read_exposition,
)

CAPTURES = sorted((Path(__file__).parents[1] / "data" / "captures").glob("*.prom.gz"))
QUEUE = "haproxy_backend_current_queue"


def wanted_labels(name):
    metric = BY_SAMPLE_NAME[name]
    return {*metric.labels, *metric.identity, *(["le"] if name.endswith("_bucket") else [])}


def by_prometheus_client(text):
    """The catalogued samples as prometheus_client reads them; an empty label is the same as none."""
    return {
        (
            sample.name,
            tuple(sorted((k, v) for k, v in sample.labels.items() if v and k in wanted_labels(sample.name))),
        ): (float(sample.value))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in BY_SAMPLE_NAME
    }


def by_us(page, reader=None):
    samples, errors = reader.read(page) if reader else read_exposition(page, BY_SAMPLE_NAME)
    assert errors == ()
    return {(sample.name, sample.labels): sample.value for sample in samples}


def same(left, right):
    return left.keys() == right.keys() and all(
        value == right[key] or (math.isnan(value) and math.isnan(right[key])) for key, value in left.items()
    )


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name.removesuffix(".prom.gz"))
def test_every_capture_reads_as_prometheus_client_reads_it(path):
    page = gzip.decompress(path.read_bytes())
    catalogued = [line for line in page.decode().splitlines() if line.partition("{")[0].split(" ")[0] in BY_SAMPLE_NAME]
    reader = ExpositionReader(BY_SAMPLE_NAME)

    expected = by_prometheus_client("\n".join(catalogued) + "\n")

    assert same(by_us(page, reader), expected)
    assert same(by_us(page, reader), expected), "and a second time, from what it remembers"
    assert len(expected) == len(catalogued)


label_values = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12
) | st.sampled_from(["}", "{", '"', "\\", "\n", 'a="b",c', " # {", "#", "} 5", "1.0", "+Inf", "\\n", '\\"', "é", ", "])
values = st.floats(width=64) | st.integers(-(10**18), 10**18)
extra_labels = st.dictionaries(st.sampled_from(["Component", "Version", "x", "_y"]), label_values, max_size=3)


@st.composite
def series(draw):
    name = draw(st.sampled_from([*sorted(BY_SAMPLE_NAME), "go_gc", "ray_vllm", "ray_vllm_num_requests_running_x"]))
    known = wanted_labels(name) if name in BY_SAMPLE_NAME else set()
    kept = draw(st.dictionaries(st.sampled_from(sorted(known)), label_values)) if known else {}
    if "le" in known:
        kept["le"] = draw(st.sampled_from(["+Inf", "1.0", "5", "0.25"]))
    return name, kept, draw(extra_labels)


@st.composite
def pages(draw):
    unique = st.lists(
        series(), max_size=8, unique_by=lambda s: (s[0], tuple(sorted((k, v) for k, v in s[1].items() if v)))
    )
    lines = []
    for name, kept, extra in draw(unique):
        labels = draw(st.permutations([*kept.items(), *extra.items()]))
        text = draw(st.sampled_from([",", ", "])).join(f'{k}="{escape(v)}"' for k, v in labels)
        comma = draw(st.sampled_from(["", ","])) if labels else ""
        braces = f"{{{text}{comma}}}" if labels or draw(st.booleans()) else ""
        tail = draw(st.sampled_from(["", " 1795222362000", ' # {trace_id="a b}"} 0.5', "\r"]))
        number = draw(values)
        lines.append(f"{name}{draw(st.sampled_from(['', ' ']))}{braces} {number!r}{tail}\n")
        lines.append(draw(st.sampled_from(["", "\n", f"# HELP {name} Some {{help}} \\n text\n", "# a comment\n"])))
    return "".join(lines)


def escape(value):
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


@settings(max_examples=100, deadline=None)
@given(pages())
def test_any_valid_page_reads_as_prometheus_client_reads_it(page):
    assert same(by_us(page.encode()), by_prometheus_client(page))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | pages().flatmap(lambda p: st.integers(0, len(p)).map(lambda cut: p.encode()[:cut])))
def test_no_bytes_make_it_fail_and_a_cut_page_never_gives_a_value_the_whole_page_has_not(body):
    samples, errors = read_exposition(body, BY_SAMPLE_NAME)
    whole_lines, _ = read_exposition(body[: body.rfind(b"\n") + 1], BY_SAMPLE_NAME)

    assert len(errors) <= 20
    assert repr(samples) == repr(whole_lines)


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        pytest.param('q{proxy="a"} 3', {"proxy": "a"}, 3.0, id="plain"),
        pytest.param('q {proxy="a"}\t3', {"proxy": "a"}, 3.0, id="blanks-around-braces"),
        pytest.param("q 3", {}, 3.0, id="no-labels"),
        pytest.param("q{} 3", {}, 3.0, id="empty-braces"),
        pytest.param('q{proxy="a",} 3', {"proxy": "a"}, 3.0, id="trailing-comma"),
        pytest.param('q{ zone = "z" , proxy = "a" } 3', {"proxy": "a"}, 3.0, id="blanks-inside"),
        pytest.param('q{proxy="a{b},c d"} 3', {"proxy": "a{b},c d"}, 3.0, id="punctuation-in-value"),
        pytest.param(r'q{proxy="a\\b\"c\nd"} 3', {"proxy": 'a\\b"c\nd'}, 3.0, id="escapes"),
        pytest.param(r'q{proxy="a\\n"} 3', {"proxy": "a\\n"}, 3.0, id="escaped-backslash-before-n"),
        pytest.param('q{proxy="a#} 9"} 3', {"proxy": "a#} 9"}, 3.0, id="hash-and-brace-in-value"),
        pytest.param('q{proxy="a"} 3 1795222362000', {"proxy": "a"}, 3.0, id="timestamp"),
        pytest.param('q{proxy="a"} 3 # {t="x"} 9 1', {"proxy": "a"}, 3.0, id="exemplar"),
        pytest.param('q 3 # {t="x"} 9', {}, 3.0, id="exemplar-without-labels"),
        pytest.param('q{proxy="a"} 3\r', {"proxy": "a"}, 3.0, id="crlf"),
        pytest.param('q{proxy="a"} +Inf', {"proxy": "a"}, math.inf, id="infinity"),
        pytest.param('q{proxy="a"} -Inf', {"proxy": "a"}, -math.inf, id="minus-infinity"),
        pytest.param('q{proxy="a"} 1.5e+03', {"proxy": "a"}, 1500.0, id="exponent"),
        pytest.param('q{proxy=""} 3', {}, 3.0, id="empty-label-is-no-label"),
        pytest.param('q{zone="b",proxy="a"} 3', {"proxy": "a"}, 3.0, id="unread-label-dropped"),
        pytest.param(
            f'q{{proxy="{"x" * 5000}"}} 3', {"proxy": "x" * MAX_LABEL_VALUE_CHARS}, 3.0, id="overlong-value-cut"
        ),
    ],
)
def test_a_line_is_read(line, labels, value):
    samples, errors = read_exposition(line.replace("q", QUEUE, 1).encode() + b"\n", BY_SAMPLE_NAME)

    assert errors == ()
    assert [(dict(sample.labels), sample.value) for sample in samples] == [(labels, value)]


def test_nan_is_passed_on():
    samples, errors = read_exposition(f"{QUEUE} NaN\n".encode(), BY_SAMPLE_NAME)

    assert math.isnan(samples[0].value)
    assert errors == ()


def test_invalid_utf8_is_replaced():
    samples, _ = read_exposition(QUEUE.encode() + b'{proxy="a\xff"} 1\n', BY_SAMPLE_NAME)

    assert samples[0].labels == (("proxy", "a\N{REPLACEMENT CHARACTER}"),)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        pytest.param('q{proxy="a" 3', "malformed value", id="no-closing-brace"),
        pytest.param('q{proxy="a} 3', "malformed labels", id="no-closing-quote"),
        pytest.param('q{proxy="a"} 3 }', "malformed value", id="brace-after-the-value"),
        pytest.param('q{proxy="a"} 3 } 4', "malformed labels", id="brace-between-two-values"),
        pytest.param("q 3 } 4", "malformed labels", id="brace-without-labels"),
        pytest.param('q 3 {proxy="a"} 4', "malformed labels", id="value-before-the-braces"),
        pytest.param('q{proxy="a"b="c"} 3', "malformed labels", id="no-comma"),
        pytest.param("q{proxy=a} 3", "malformed labels", id="no-quotes"),
        pytest.param('q{proxy="a",proxy="b"} 3', "occurs twice in one series", id="label-twice"),
        pytest.param('q{proxy="a"}', "malformed value", id="no-value"),
        pytest.param('q{proxy="a"} three', "malformed value", id="value-not-a-number"),
        pytest.param('q{proxy="a"} 1_000', "malformed value", id="underscore"),
        pytest.param('q{proxy="a"} 1 2 3', "malformed value", id="too-many-numbers"),
        pytest.param('q{proxy="a"} 1 soon', "malformed value", id="bad-timestamp"),
        pytest.param(
            'ray_vllm_inter_token_latency_seconds_bucket{engine="0"} 1', "bound is missing", id="bucket-no-le"
        ),
        pytest.param('ray_vllm_inter_token_latency_seconds_bucket{le="x"} 1', "or not a number", id="bucket-bad-le"),
        pytest.param("<html>", "not a sample", id="html"),
        pytest.param(f'q{{proxy="{"x" * MAX_LINE_BYTES}"}} 3', "line longer", id="overlong-line"),
    ],
)
def test_an_unreadable_line_is_left_out_and_reported_and_the_rest_is_read(line, error):
    page = f'{QUEUE}{{proxy="before"}} 1\n{re.sub("^q", QUEUE, line)}\n{QUEUE}{{proxy="after"}} 2\n'

    samples, errors = read_exposition(page.encode(), BY_SAMPLE_NAME)

    assert [(dict(sample.labels), sample.value) for sample in samples] == [
        ({"proxy": "before"}, 1),
        ({"proxy": "after"}, 2),
    ]
    assert len(errors) == 1
    assert error in errors[0]


def test_an_unfinished_last_line_is_left_out_because_its_value_may_be_cut():
    samples, errors = read_exposition(f"{QUEUE} 1\nhaproxy_process_start_time_seconds 17952".encode(), BY_SAMPLE_NAME)

    assert [sample.name for sample in samples] == [QUEUE]
    assert errors == ("the page ends inside a line: 'haproxy_process_start_time_seconds 17952'",)


def test_a_series_that_occurs_twice_keeps_its_last_value_and_is_reported():
    page = f'{QUEUE}{{proxy="a"}} 1\n{QUEUE}{{proxy="a"}} 2\n{QUEUE}{{proxy="a"}} 3\n'

    samples, errors = read_exposition(page.encode(), BY_SAMPLE_NAME)

    assert [sample.value for sample in samples] == [3.0]
    assert len(errors) == 1
    assert "occurs twice, the last value is kept" in errors[0]
    assert errors[0].endswith("and 1 more")


def test_series_told_apart_only_by_an_unread_label_are_not_guessed_at():
    page = f'{QUEUE}{{proxy="a",zone="1"}} 5\n{QUEUE}{{proxy="a",zone="2"}} 7\n{QUEUE}{{proxy="b"}} 1\n'

    samples, errors = read_exposition(page.encode(), BY_SAMPLE_NAME)

    assert [(dict(sample.labels), sample.value) for sample in samples] == [({"proxy": "b"}, 1.0)]
    assert "differ only in labels that are not read" in errors[0]


def test_many_faults_make_few_messages():
    page = "".join(f"<{number}>\n{QUEUE} x{number}\n" for number in range(1000))

    _, errors = read_exposition(page.encode(), BY_SAMPLE_NAME)

    assert errors == (
        "not a sample: '<0>\\n' and 999 more",
        f"malformed value: '{QUEUE} x0\\n' and 999 more",
    )


def test_a_reader_with_a_small_cache_reads_the_same():
    page = "".join(f'{QUEUE}{{proxy="p{number}"}} {number}\n' for number in range(50)).encode()
    reader = ExpositionReader(BY_SAMPLE_NAME, max_cached_series=3)

    assert by_us(page, reader) == by_us(page, reader) == by_us(page)


def test_openmetrics_end_marker_and_uncatalogued_families_are_skipped():
    page = b'# TYPE up gauge\nup{a="b"} 1\nup_created{a="b"} 1.7e9\n# EOF\n'

    assert read_exposition(page, BY_SAMPLE_NAME) == ((), ())
