"""Rules of structure that a reader may rely on."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from controller.catalog.exported import EXPORTED
from controller.catalog.metric import Kind
from controller.catalog.recorded import RECORDED
from controller.catalog.scraped import SCRAPED
from controller.catalog.watched import WATCHED

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path.relative_to(ROOT)
    for package in ("controller", "serving", "alerts", "dashboards")
    for path in (ROOT / package).rglob("*.py")
)
MOST_LINES = 500
READS_TIME = re.compile(r"\btime\.(time|time_ns|monotonic)\(|\bdatetime\.(now|utcnow|today)\(")
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}


def test_imports_follow_the_layers() -> None:
    lint = Path(sys.executable).with_name("lint-imports")

    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_is_short_enough_to_read() -> None:
    lines = {str(path): (ROOT / path).read_text().count("\n") for path in SOURCES}

    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_a_module_is_named_for_what_it_does() -> None:
    assert [str(path) for path in SOURCES if path.stem in VAGUE] == []


def test_control_takes_time_from_the_clock_only() -> None:
    """Commands that run other programs (the local stack, the load generator) have no decisions to replay."""
    elsewhere = {"local", "load", "live"}
    decides = [path for path in SOURCES if path.parts[0] == "controller" and path.parts[1] not in elsewhere]

    readers = [str(path) for path in decides if READS_TIME.search((ROOT / path).read_text())]

    assert readers == ["controller/clock.py"]


def test_every_catalogued_name_is_unique() -> None:
    names = Counter(name for metric in (*SCRAPED, *WATCHED, *EXPORTED, *RECORDED) for name in metric.sample_names)

    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("metric", RECORDED, ids=lambda metric: metric.name)
def test_a_recorded_name_says_level_metric_and_operation(metric) -> None:
    assert re.fullmatch(r"(replica|deployment|application|slo):[a-z][a-z0-9_]*:[a-z0-9]+", metric.name)
    assert metric.help.endswith(".")


@pytest.mark.parametrize("metric", EXPORTED, ids=lambda metric: metric.name)
def test_an_exported_name_says_what_it_is_and_in_what(metric) -> None:
    assert re.fullmatch(r"foreserve_[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert ("_seconds" in metric.name) == (metric.unit == "s")
    assert metric.help.endswith(".")
