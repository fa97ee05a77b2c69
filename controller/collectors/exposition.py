"""A reader of the Prometheus text format that decodes catalogued families and skips the rest.

A Ray metrics page is megabytes of series of which a tenth are catalogued, each with a dozen labels of
which a few are read. So a line costs one look at its name, and only a wanted line is taken apart. Series
repeat from scrape to scrape: an ``ExpositionReader`` keeps what it decoded, which also lets the samples
of all scrapes share their label tuples.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.catalog.metric import Kind, Metric
from controller.domain.scrape import Sample

MAX_LINE_BYTES = 65_536
MAX_LABEL_VALUE_CHARS = 1024

_LABEL_TWICE = "a label occurs twice in one series"
_BAD_LABELS = "malformed labels"
_NO_BOUND = "a bucket's bound is missing or not a number"
_BAD_VALUE = "malformed value"
_LONG_LINE = f"line longer than {MAX_LINE_BYTES} bytes"
_CUT_LINE = "the page ends inside a line"

_Labels = tuple[tuple[str, str], ...]
_Series = tuple[str, _Labels]

_NAME = re.compile(rb"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)(?=[ \t{\r\n])")
_LABELS = re.compile(rb'[ \t]*+\{(?:[^"}]++|"(?:[^"\\]++|\\.)*+")*+}')
_LABEL = re.compile(rb'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]++|\\.)*+)"[ \t]*(?:,|(?=}))')
_OPEN = re.compile(rb"[ \t]*\{")
_CLOSE = re.compile(rb"[ \t]*}\Z")
_ESCAPE = re.compile(r'\\([\\"n])')
_BLANK_OR_COMMENT = re.compile(rb"\s*(?:#|\Z)")


def read_exposition(body: bytes, metrics: Mapping[str, Metric]) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Decode the catalogued samples of one page; see ``ExpositionReader.read``."""
    return ExpositionReader(metrics).read(body)


def kept_labels(sample_name: str, metric: Metric) -> tuple[str, ...]:
    """Names of the labels that are read of one sample, sorted."""
    is_bucket = metric.kind is Kind.HISTOGRAM and sample_name.endswith("_bucket")
    return tuple(sorted((*metric.labels, *metric.identity, *(("le",) if is_bucket else ()))))


def is_bound(text: str) -> bool:
    """Whether a bucket's ``le`` is a number."""
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


class ExpositionReader:
    """Reads page after page, remembering the series it has taken apart.

    ``metrics`` maps the sample names that are wanted to their family. ``max_cached_series`` bounds the
    memory (about 1 KB a series): the cache starts over when it is full. One reader may serve many
    endpoints and threads.
    """

    def __init__(self, metrics: Mapping[str, Metric], *, max_cached_series: int = 20_000) -> None:
        self._wanted = {name.encode(): _Wanted.of(name, metric) for name, metric in metrics.items()}
        self._max_cached_series = max_cached_series
        self._cache: dict[bytes, _Series] = {}

    def read(self, body: bytes) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
        """Return the catalogued samples of ``body`` in page order, and what was wrong with the page.

        Of the labels only ``metric.labels``, ``metric.identity`` and a bucket's ``le`` are kept; an empty
        label is the same as none. NaN is passed on. A series that occurs twice keeps its last value.
        Series that differ only in labels that are not read are left out: any choice among them could
        be too low. So is an unreadable line, and an unfinished last line, since a cut value looks like
        any other. Each kind of error is reported once, with its first line and a count.
        """
        found: dict[_Series, tuple[bytes, float]] = {}
        ambiguous: set[_Series] = set()
        faults = _Faults()
        wanted = self._wanted
        name_of = _NAME.match
        for line in io.BytesIO(body):
            named = name_of(line)
            if named is None:
                if not _BLANK_OR_COMMENT.match(line):
                    faults.add("not a sample", line)
                continue
            family = wanted.get(named[1])
            if family is None:
                continue
            try:
                raw, value = _split(line, named.end())
                series = self._cache.get(raw) or self._decode(family, raw, named.end())
            except ValueError as error:
                faults.add(str(error), line)
                continue
            earlier = found.get(series)
            if earlier is not None:
                _note_repetition(series, same=earlier[0] == raw, ambiguous=ambiguous, faults=faults, line=line)
            found[series] = (raw, value)
        samples = (Sample(*series, value) for series, (_, value) in found.items() if series not in ambiguous)
        return tuple(samples), faults.messages()

    def _decode(self, family: _Wanted, raw: bytes, after_name: int) -> _Series:
        series = family.decode(raw, after_name)
        if len(self._cache) >= self._max_cached_series:
            self._cache.clear()
        self._cache[raw] = series
        return series


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One sample name that is decoded, and the labels to keep of it."""

    name: str
    labels: dict[bytes, str]

    @classmethod
    def of(cls, name: str, metric: Metric) -> _Wanted:
        return cls(name, {label.encode(): label for label in kept_labels(name, metric)})

    def decode(self, raw: bytes, after_name: int) -> _Series:
        """Take one series' text (name and braces) apart. Raises ValueError when it is malformed."""
        kept: dict[bytes, str] = {}
        if len(raw) > after_name:
            kept = self._kept(raw, after_name)
        if b"le" in self.labels and not is_bound(kept.get(b"le", "")):
            raise ValueError(_NO_BOUND)
        return self.name, tuple((text, kept[label]) for label, text in self.labels.items() if kept.get(label))

    def _kept(self, raw: bytes, after_name: int) -> dict[bytes, str]:
        opened = _OPEN.match(raw, after_name)
        at = opened.end() if opened else len(raw)
        kept: dict[bytes, str] = {}
        while match := _LABEL.match(raw, at):
            label, text = match.groups()
            if label in kept:
                raise ValueError(_LABEL_TWICE)
            if label in self.labels:
                kept[label] = _label_value(text)
            at = match.end()
        if not _CLOSE.match(raw, at):
            raise ValueError(_BAD_LABELS)
        return kept


@dataclass(slots=True)
class _Faults:
    """What was wrong with a page. The kinds are few, so their number needs no bound."""

    first: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, line: bytes) -> None:
        self.first.setdefault(what, repr(line[:120].decode(errors="replace")))
        self.counts[what] = self.counts.get(what, 0) + 1

    def messages(self) -> tuple[str, ...]:
        return tuple(
            f"{what}: {self.first[what]}" + (f" and {count - 1} more" if count > 1 else "")
            for what, count in self.counts.items()
        )


def _note_repetition(series: _Series, *, same: bool, ambiguous: set[_Series], faults: _Faults, line: bytes) -> None:
    if same:
        faults.add("series occurs twice, the last value is kept", line)
    else:
        ambiguous.add(series)
        faults.add("series differ only in labels that are not read, none is used", line)


def _split(line: bytes, after_name: int) -> tuple[bytes, float]:
    """Split a line into its series' text and its value. Raises ValueError."""
    if not line.endswith(b"\n"):
        raise ValueError(_CUT_LINE)
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(_LONG_LINE)
    if b"#" in line:  # an exemplar has braces of its own
        labels = _LABELS.match(line, after_name)
        end = labels.end() if labels else after_name
    else:  # then the labels end at the last brace: any other brace fails to decode
        end = line.rfind(b"}", after_name) + 1 or after_name
    return line[:end], _value(line[end:])


def _value(text: bytes) -> float:
    """Read a value that may be followed by a timestamp and an exemplar. Raises ValueError."""
    number_part = text.partition(b"#")[0]
    words = number_part.split()
    if not 1 <= len(words) <= 2 or b"_" in number_part:  # noqa: PLR2004 - a value and a timestamp
        raise ValueError(_BAD_VALUE)
    try:
        value, *_timestamp = map(float, words)
    except ValueError:
        raise ValueError(_BAD_VALUE) from None
    return value


def _label_value(text: bytes) -> str:
    value = text.decode(errors="replace")
    if "\\" in value:
        value = _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
    return value[:MAX_LABEL_VALUE_CHARS]
