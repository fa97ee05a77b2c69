"""The serving comparison's table: ratios within one company, else by way of the reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving import Cell, Plan
from benchmarks.serving_table import BEGIN, END, load, render, write_docs

ALL = ("python", "haproxy", "direct", "straight", "plain")
QUICK = {"python": 10.0, "direct": 20.0, "straight": 40.0, "plain": 50.0}


def keep(folder: Path, way: str, *, rps: float, together: Sequence[str] = ALL, engine: str = "vllm") -> None:
    told: dict[str, Any] = {"engine": engine, "way": way, "replicas": 1, "users": 24, "rps": rps, "together": together}
    times = {"ttft_p50_ms": 1.0, "ttft_p99_ms": 1000 / rps, "itl_p50_ms": 1.0, "itl_p99_ms": 2.0}
    (folder / f"{way}-{'+'.join(together)}.json").write_text(json.dumps(told | times | {"load_before": 1, "failed": 0}))


def test_ways_that_were_up_together_are_compared_directly(tmp_path: Path) -> None:
    for way, rps in QUICK.items():
        keep(tmp_path, way, rps=rps)

    text = render(load(tmp_path))

    assert "| (c') / (a) | 4.00 (0.25) |" in text
    assert "| (c) / (d) | 0.40 (2.50) |" in text
    assert "by way of" not in text


def test_ways_that_were_not_are_compared_by_way_of_the_reference(tmp_path: Path) -> None:
    # The machine was half as fast while plain was measured: the ratio is not touched by it.
    keep(tmp_path, "direct", rps=20, together=("direct", "straight"))
    keep(tmp_path, "straight", rps=40, together=("direct", "straight"))
    keep(tmp_path, "plain", rps=25, together=("plain", "straight"))
    keep(tmp_path, "straight", rps=20, together=("plain", "straight"))

    text = render(load(tmp_path))

    assert "| (c) / (d) | 0.40 (2.50) |" in text
    assert "| (c') / (d) | 0.80 (1.25) |" in text
    assert "by way of (c')" in text


def test_the_documents_table_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    (tmp_path / "cells").mkdir()
    keep(tmp_path / "cells", "plain", rps=50, engine="none")

    write_docs(document, tmp_path / "cells")

    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "Engine at no cost" in text


@pytest.mark.parametrize("engine", ["vllm", "none"])
def test_what_was_measured_is_not_measured_again(tmp_path: Path, engine: str) -> None:
    plan = Plan(engine=engine, model="", gpus=0, replicas=(1,), users=(24,), ways=ALL, keep=tmp_path, logs=tmp_path)
    first = plan.missing([1])
    plan.cell(first[0]).write_text("{}")

    assert plan.missing([1]) == first[1:]
    assert {one.way for one in first} == set(ALL)
    assert len({plan.cell(one) for one in first}) == len(first)


def test_vllm_has_two_engines_up_at_most(tmp_path: Path) -> None:
    plan = Plan(engine="vllm", model="", gpus=0, replicas=(1,), users=(24,), ways=ALL, keep=tmp_path, logs=tmp_path)
    engines = {"python": "ingress", "haproxy": "ingress"}

    for cell in plan.missing([1]):
        assert isinstance(cell, Cell)
        assert len({engines.get(way, way) for way in cell.together}) == 2
