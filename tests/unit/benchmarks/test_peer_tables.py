"""What the benchmark scripts of the peers make of their measurements."""

from __future__ import annotations

import pytest

from benchmarks.agreement import BEGIN, END, INDEPENDENT, Measured, table, write
from benchmarks.peer_tuning import SWEEPS, Tried, best
from benchmarks.public_days import PUBLIC_DAYS
from controller.simulation.peers.catalogue import parse_peers


def tried(setting: float, ratio: float, kept: float) -> Tried:
    return Tried(setting=setting, ratios=(ratio, 1.0), kept=(kept, 1.0))


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        pytest.param(
            [tried(1, 1.2, 0.98), tried(2, 1.6, 0.995), tried(3, 1.4, 0.99)], 3, id="the cheapest that keeps it"
        ),
        pytest.param([tried(1, 1.2, 0.90), tried(2, 1.6, 0.95), tried(3, 1.4, 0.95)], 3, id="none keeps it: the best"),
    ],
)
def test_the_best_setting_keeps_the_attainment_on_the_worst_trace(settings, chosen):
    assert best(settings).setting == chosen


def test_every_swept_setting_is_a_peer():
    assert all(parse_peers(f"{peer}:{setting}") for peer, settings in SWEEPS.items() for setting in settings)


def test_the_table_marks_costs_that_differ_by_more_than_a_tenth():
    ours = dict.fromkeys(INDEPENDENT, Measured(ratio=1.40, kept=0.99))
    lines = table(PUBLIC_DAYS[:1], [ours]).splitlines()
    assert lines[0] == "| policy | azure_conv |"
    assert "| `hpa:20` | 1.40 (99.0%) / 1.29 (99.9 %) |" in lines
    assert "| `static` | 1.40 (99.0%) / 1.27 (99.9 %) **+10%** |" in lines
    assert "| `hpa:12` | 1.40 (99.0%) / 1.71 (100 %) **-18%** |" in lines


def test_the_page_keeps_what_is_not_between_the_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n\nbefore\n")
    write(page, "one")
    page.write_text(page.read_text() + "after\n")
    write(page, "two")
    assert page.read_text() == f"# Benchmarks\n\nbefore\n\n{BEGIN}\ntwo\n{END}\nafter\n"
