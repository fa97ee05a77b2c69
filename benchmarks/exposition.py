"""How fast metrics pages are read, beside prometheus_client's parser in the same run.

    python benchmarks/exposition.py [--rounds N] [--all] [PAGE.prom.gz ...]

Each round times prometheus_client, ours cold (a new reader that has seen nothing) and ours warm (a reader
that has seen the page before, as in every scrape but the first) after one another; the medians are shown.
Both must give the same catalogued values, or the run fails. ``peak`` is what Python allocates at most while
our cold reader works, the page itself included. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.collectors.exposition import ExpositionReader, read_exposition

CAPTURES = Path(__file__).parents[1] / "tests" / "data" / "captures"
BAR_PAGE = CAPTURES / "ray_8080_llmd_loaded.prom.gz"
BAR_RATIO = 15.0
BAR_PEAK_MB = 50.0


@dataclass(frozen=True, slots=True)
class Row:
    """Medians for one page; speeds in MB/s of page text."""

    name: str
    megabytes: float
    samples: int
    reference: float
    cold: float
    warm: float
    peak_mb: float

    @property
    def cold_ratio(self) -> float:
        """How many times faster than prometheus_client, nothing remembered."""
        return self.cold / self.reference


def main() -> int:
    """Print the table; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="gzipped pages; the barred capture and two more by default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--all", action="store_true", help="every recorded page")
    options = parser.parse_args()
    pages = options.pages or (sorted(CAPTURES.glob("*.prom.gz")) if options.all else _default_pages())
    print(
        f"{'page':38} {'MB':>6} {'samples':>7} {'prometheus_client':>18} {'ours cold':>11} {'ours warm':>11}"
        f" {'cold x':>7} {'warm x':>7} {'peak MB':>8}"
    )
    met = True
    for path in pages:
        row = _measure(path, options.rounds)
        print(
            f"{row.name:38} {row.megabytes:6.2f} {row.samples:7d} {row.reference:13.1f} MB/s {row.cold:6.0f} MB/s"
            f" {row.warm:6.0f} MB/s {row.cold_ratio:7.1f} {row.warm / row.reference:7.1f} {row.peak_mb:8.1f}"
        )
        if path == BAR_PAGE:
            met = row.cold_ratio >= BAR_RATIO and row.peak_mb < BAR_PEAK_MB
            verdict = "met" if met else "MISSED"
            print(f"  ^ bars: cold at least {BAR_RATIO:g}x, peak under {BAR_PEAK_MB:g} MB: {verdict}")
    return 0 if met else 1


def _default_pages() -> list[Path]:
    return [BAR_PAGE, CAPTURES / "ray_8080_light_idle.prom.gz", CAPTURES / "haproxy_9101_llmd_loaded.prom.gz"]


def _measure(path: Path, rounds: int) -> Row:
    body = gzip.decompress(path.read_bytes())
    text = body.decode()
    warm_reader = ExpositionReader(BY_SAMPLE_NAME)
    samples, errors = warm_reader.read(body)
    assert errors == (), errors
    assert {(s.name, s.labels): s.value for s in samples} == _reference_values(text), path

    reference, cold, warm = [], [], []
    for _ in range(rounds):
        reference.append(_seconds(lambda: list(text_string_to_metric_families(text))))
        cold.append(_seconds(lambda: read_exposition(body, BY_SAMPLE_NAME)))
        warm.append(_seconds(lambda: warm_reader.read(body)))
    megabytes = len(body) / 1e6
    return Row(
        name=path.name.removesuffix(".prom.gz"),
        megabytes=megabytes,
        samples=len(samples),
        reference=megabytes / statistics.median(reference),
        cold=megabytes / statistics.median(cold),
        warm=megabytes / statistics.median(warm),
        peak_mb=_peak_mb(body) + megabytes,
    )


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_mb(body: bytes) -> float:
    gc.collect()
    tracemalloc.start()
    read_exposition(body, BY_SAMPLE_NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def _reference_values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            metric = BY_SAMPLE_NAME.get(sample.name)
            if metric is None:
                continue
            wanted = {*metric.labels, *metric.identity, *(["le"] if sample.name.endswith("_bucket") else [])}
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if v and k in wanted))
            values[sample.name, labels] = float(sample.value)
    return values


if __name__ == "__main__":
    sys.exit(main())
