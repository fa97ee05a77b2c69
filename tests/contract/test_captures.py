"""Recorded pages hold every metric that is read, with the labels that are promised.

An upstream rename fails here, when the captures are recorded anew.
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path

import pytest

from controller.catalog import scraped
from controller.catalog.metric import Kind, Metric, Origin
from controller.catalog.scraped import BY_SAMPLE_NAME, SCRAPED
from controller.catalog.watched import WATCHED
from controller.collectors.exposition import read_exposition
from tests.unseen import UNSEEN

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
PAGES = {
    Origin.RAY: "ray_8080_*.prom.gz",
    Origin.HAPROXY: "haproxy_9101_*.prom.gz",
    Origin.AUTOSCALER: "autoscaler_44217_*.prom.gz",
}
READ = (*SCRAPED, *WATCHED)
READ_BY_SAMPLE_NAME = {name: metric for metric in READ for name in metric.sample_names}


@pytest.fixture(scope="module")
def recorded():
    """Every recorded sample name by origin, each with the label names seen on it."""
    seen = {origin: defaultdict(set) for origin in PAGES}
    for origin, pattern in PAGES.items():
        for path in CAPTURES.glob(pattern):
            samples, errors = read_exposition(gzip.decompress(path.read_bytes()), READ_BY_SAMPLE_NAME)
            assert errors == (), path.name
            for sample in samples:
                seen[origin][sample.name] |= {name for name, _ in sample.labels}
    return seen


@pytest.mark.parametrize("metric", READ, ids=lambda metric: metric.name)
def test_every_metric_that_is_read_is_recorded_with_its_labels(metric: Metric, recorded):
    missing = {name for name in metric.sample_names if name not in recorded[metric.origin]}

    assert bool(missing) == (metric in UNSEEN), f"missing: {sorted(missing)}"
    for name in set(metric.sample_names) - missing:
        promised = {*metric.labels, *metric.identity, *(["le"] if name.endswith("_bucket") else [])}
        assert promised - recorded[metric.origin][name] == set(), f"{name} lacks labels"


@pytest.mark.parametrize("name", [metric.name for metric in SCRAPED if metric in UNSEEN])
def test_a_metric_that_the_controller_reads_and_ray_never_showed_is_on_the_page_of_vllm_itself(name):
    page = gzip.decompress((CAPTURES / "vllm_native_loaded.prom.gz").read_bytes()).decode()

    assert f"\n{name.replace('ray_vllm_', 'vllm:')}{{" in page


@pytest.mark.parametrize("metric", [m for m in SCRAPED if m.kind is Kind.HISTOGRAM], ids=lambda metric: metric.name)
def test_every_recorded_histogram_has_growing_buckets_up_to_its_count(metric):
    page = gzip.decompress((CAPTURES / "ray_8080_llmd_2replicas.prom.gz").read_bytes())
    samples, _ = read_exposition(page, BY_SAMPLE_NAME)
    buckets, counts = defaultdict(list), {}
    for sample in samples:
        series = tuple(label for label in sample.labels if label[0] != "le")
        if sample.name == f"{metric.name}_bucket":
            buckets[series].append((float(dict(sample.labels)["le"]), sample.value))
        elif sample.name == f"{metric.name}_count":
            counts[series] = sample.value

    assert buckets.keys() == counts.keys() != set()
    for series, points in buckets.items():
        values = [value for _, value in sorted(points)]
        assert values == sorted(values)
        assert values[-1] == counts[series]


def test_no_metric_is_catalogued_twice():
    assert len(BY_SAMPLE_NAME) == sum(len(metric.sample_names) for metric in SCRAPED)


def test_vllm_series_lead_to_their_deployment_through_the_replica(recorded):
    assert "deployment" not in recorded[Origin.RAY][scraped.VLLM_RUNNING.name]
    assert "ReplicaId" in recorded[Origin.RAY][scraped.VLLM_RUNNING.name]
    assert {"application", "deployment", "replica"} <= recorded[Origin.RAY][scraped.SERVE_PROCESSING.name]
