from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from controller.domain.forecast import Forecast
from controller.domain.plan import Action, Conflict
from controller.domain.reading import Known, Unknown
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.signals import Signal
from controller.errors import BadInputError
from controller.load.result import LoadResult
from controller.load.row import RequestRow
from controller.report import write_report
from controller.report.build import build_report
from controller.report.model import SignalSeries
from controller.report.page import chart_data, figure, render_page, since, span, tiles
from tests.episode import START, TICKS, episode, episode_load
from tests.records import CHAT, EMBED, decision, deployment_record, record, snapshot


class Page(HTMLParser):
    """What a browser would see: text, tags, attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, _tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += " ".join(data.split()) + " "


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "made" / "for it"
    write_report(folder, records=episode(), load=episode_load(), title="A run & a half")
    return folder


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page((written / "report.html").read_text(encoding="utf-8"))


def test_the_json_says_what_the_run_was(written: Path) -> None:
    report = json.loads((written / "report.json").read_bytes())

    assert (report["schema"], report["title"], report["ticks"]) == (1, "A run & a half", TICKS)
    assert report["policy_versions"] == ["0123456789ab"]
    chat = report["deployments"][0]
    assert chat["id"] == "chat/LLMServer:tiny"
    assert chat["terms"] == {"min_replicas": 1, "max_replicas": 4, "ttft_s": 2.0, "itl_s": 0.1}
    assert [(d["at"] - START, d["before"], d["after"], d["reason"]) for d in chat["decisions"]] == [
        (45.0, 1, 2, "forecast"),
        (215.0, 2, 1, "demand"),
    ]
    assert [stage["stage"] for stage in chat["decisions"][0]["stages"]] == ["size", "stabilise", "limit"]
    assert "one replica carries 8" in chat["decisions"][0]["sentence"]
    series = [chat[name] for name in ("at", "target", "ready", "starting", "ttft_p95_s", "itl_p95_s")]
    signal = chat["signals"][0]
    series += [signal[name] for name in ("demand", "p50", "p90", "due_p50", "due_p90", "peak", "carried")]
    assert {len(values) for values in series} == {TICKS}
    assert report["ledger"][0]["status"] == "arrived"
    assert report["sources"][0] == {
        "source": "haproxy/10.0.0.3:9101",
        "kind": "haproxy",
        "ticks": TICKS,
        "stale_ticks": 4,
        "worst_age_s": 50.0,
        "last_error": "connection refused",
    }
    assert report["notes"][0]["ticks"] == 4
    assert report["tick_seconds"]["p99"] == pytest.approx(0.132)
    assert report["traffic"]["summary"]["errors"] == {"http_503": 26}


def test_unknown_demand_is_null_and_never_zero(written: Path) -> None:
    demand = json.loads((written / "report.json").read_bytes())["deployments"][0]["signals"][0]["demand"]

    assert demand[20:24] == [None] * 4
    assert all(value > 0 for value in demand[:20] + demand[24:])


def test_the_page_asks_for_nothing_from_anywhere(page: Page) -> None:
    loading = [
        (tag, name, value) for tag, name, value in page.attributes if name in {"src", "href", "srcset", "action"}
    ]

    assert loading == []
    assert any("default-src 'none'" in value for _, _, value in page.attributes)


def test_the_page_tells_it_without_scripts(page: Page) -> None:
    assert "Four" not in page.text
    assert "A run & a half" in page.text
    assert "The charts need JavaScript" in page.text
    assert "1 → 2" in page.text
    assert "one replica carries 8" in page.text
    assert "arrived after 30.0 s" in page.text
    assert "50 of 54 ticks" in page.text
    assert "haproxy/10.0.0.3:9101 is stale: nothing is lowered" in page.text
    assert "26 http_503" in page.text
    assert "unknown" in page.text  # demand while blind


def test_the_charts_find_what_they_draw(page: Page, written: Path) -> None:
    data, library, script = page.scripts

    assert json.loads(data) == json.loads((written / "report.json").read_bytes())
    assert library.startswith("/*! https://github.com/leeoniya/uPlot (v1.6.32) */")
    drawn = {value for _, name, value in page.attributes if name == "data-chart"}
    assert drawn == {"demand", "replicas", "ttft", "itl", "errors"}
    kinds = script[script.index("const kinds") : script.index("for (const section")]
    assert all(re.search(rf"\b{kind}\b", kinds) for kind in drawn)


def test_hostile_text_stays_text() -> None:
    hostile = '</script><script>alert(1)</script><img src="http://evil/x">'
    bad = record(
        deployment_record(decision=decision(steps=(), forecast_unavailable=hostile)), degraded=(hostile,), mode=hostile
    )

    page = Page(render_page(build_report([bad], None, title=hostile)))

    assert not any(tag == "img" for tag, _, _ in page.attributes)
    assert len(page.scripts) == 3
    assert json.loads(page.scripts[0])["title"] == hostile
    assert hostile in page.text


def test_a_run_without_ticks_and_traffic_says_so() -> None:
    page = Page(render_page(build_report([], None, title="Nothing")))

    assert "No tick of the controller was recorded." in page.text
    assert "0 ticks" in page.text


def test_a_run_without_traffic_has_no_client_side() -> None:
    report = build_report(episode(), None, title="Quiet")

    assert report.traffic is None
    assert "Traffic at the client" not in Page(render_page(report)).text


def test_traffic_without_ticks_is_shown() -> None:
    page = Page(render_page(build_report([], episode_load(), title="Only load")))

    assert "Traffic at the client" in page.text
    assert "1,126 requests sent" in page.text


def test_each_deployment_has_its_own_part() -> None:
    two = record(deployment_record(), deployment_record(EMBED))

    page = Page(render_page(build_report([two], None, title="Two")))

    assert [value for _, name, value in page.attributes if name == "data-deployment"] == ["0", "1"]
    assert "embed/Embedder" in page.text


def test_a_second_writer_is_told() -> None:
    conflict = Conflict(id=CHAT, expected=2, found=5, cause="second_writer")

    report = build_report([record(conflicts=(conflict,))], None, title="x")

    assert report.notes[0].text == "chat/LLMServer:tiny: 2 was set, 5 was found (second writer)"


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BadInputError, match="the report cannot be written"):
        write_report(tmp_path / "file", records=[], load=None, title="x")


def test_a_long_run_makes_no_heavy_page() -> None:
    base = deployment_record()
    records = [record(base, tick=tick, at=1000.0 + 5 * tick) for tick in range(6000)]
    quiet = [
        TickRecord(
            tick=one.tick, at=one.at, policy_version="x", mode="direct", deployments=(_without_a_decision(base),)
        )
        for one in records
    ]
    report = build_report([*quiet[:3001], records[3001], *quiet[3002:]], None, title="Long")

    data = chart_data(report)["deployments"][0]

    assert len(report.deployments[0].at) == 6000
    assert len(data["at"]) == len(data["signals"][0]["demand"]) <= 2001
    assert records[3001].at in data["at"]  # the decision is kept


def _without_a_decision(base: DeploymentRecord) -> DeploymentRecord:
    return DeploymentRecord(
        snapshot=base.snapshot, decision=decision(action=Action.NONE, desired=2), outcome=base.outcome, terms=base.terms
    )


def forecast_run(demand: list[float | None], p90: float, horizon_s: float = 10.0) -> SignalSeries:
    """Ticks 5 s apart; each forecasts ``p90`` for the next ``horizon_s`` seconds."""
    records = [
        record(
            deployment_record(
                snapshot=snapshot(demand={Signal.ONGOING_REQUESTS: Unknown("lost") if value is None else Known(value)}),
                decision=decision(
                    forecasts=(
                        Forecast(
                            signal=Signal.ONGOING_REQUESTS,
                            at=1000.0 + 5 * tick,
                            horizon_s=horizon_s,
                            quantiles=((0.5, p90 / 2), (0.9, p90)),
                            method="last_value",
                            history_s=60.0,
                        ),
                    )
                ),
            ),
            tick=tick,
            at=1000.0 + 5 * tick,
        )
        for tick, value in enumerate(demand)
    ]
    return build_report(records, None, title="x").deployments[0].signals[0]


def test_a_forecast_is_compared_with_the_highest_demand_of_its_time() -> None:
    series = forecast_run([1.0, 9.0, 2.0, 3.0, 4.0], p90=5.0)

    assert series.due_p90 == (None, None, 5.0, 5.0, 5.0)
    assert series.peak == (None, None, 9.0, 9.0, 4.0)
    assert (series.held, series.judged) == (1, 3)


def test_a_time_that_was_partly_unknown_judges_no_forecast() -> None:
    series = forecast_run([1.0, None, 2.0, 3.0, 4.0], p90=5.0)

    assert series.peak == (None, None, None, None, 4.0)
    assert (series.held, series.judged) == (1, 1)


def test_a_forecast_whose_time_is_not_up_is_not_judged() -> None:
    assert forecast_run([1.0, 2.0], p90=5.0, horizon_s=60.0).judged == 0


def test_replica_hours_count_starting_replicas_too() -> None:
    report = build_report(episode(), None, title="x")

    # 270 s less the last tick, one replica; a second one from 50 s to 220 s.
    assert report.deployments[0].replica_seconds == pytest.approx(265 + 170)


def test_traffic_is_binned_by_its_schedule() -> None:
    rows = [
        RequestRow(
            index=index,
            at=500.0 + t_s,
            scheduled_s=t_s,
            prompt_tokens=1,
            output_tokens=1,
            status=status,
            lag_s=0.1,
            ttft_s=None if status == "dropped" else 0.4,
            total_s=1.0,
            itl_s=(0.1,),
        )
        for index, (t_s, status) in enumerate([(0.0, "ok"), (0.9, "timeout"), (2.0, "dropped")])
    ]

    series = build_report([], LoadResult.of(rows), title="x").traffic.series

    assert series.at == (501.0, 502.0, 503.0)
    assert series.rps == (2.0, 0.0, 1.0)
    assert series.failed == (1, 0, 1)
    assert series.ttft_p95_s == pytest.approx((0.5, 0.5, 0.5))  # from the schedule, over five seconds


def test_a_run_longer_than_an_hour_gets_longer_bins() -> None:
    rows = [
        RequestRow(index=i, at=float(i), scheduled_s=float(i), prompt_tokens=1, output_tokens=1, status="ok")
        for i in range(0, 7300, 10)
    ]

    series = build_report([], LoadResult.of(rows), title="x").traffic.series

    assert series.bin_s == 3.0
    assert len(series.at) <= 3600


def test_key_figures_judge_objectives() -> None:
    figures = {tile.label: tile for tile in tiles(build_report(episode(), episode_load(), title="x"))}

    assert (figures["Requests completed"].figure, figures["Requests completed"].mood) == ("1,100", "bad")
    assert figures["Time to first token, p95"].mood == "good"
    assert figures["Target replicas"].figure == "1 to 2"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "unknown"), (0.0042, "4 ms"), (1.26, "1.3 s"), (270.0, "4 min 30 s"), (7500.0, "2 h 5 min")],
)
def test_durations_are_written_for_people(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(45.0, "+0:45"), (270.0, "+4:30"), (3723.0, "+1:02:03")])
def test_times_count_from_the_start(seconds: float, text: str) -> None:
    assert since(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "unknown"), (0.0, "0"), (8.0, "8"), (0.123, "0.12"), (14.23, "14.2"), (1234.5, "1,234")]
)
def test_numbers_keep_the_digits_that_count(value: float | None, text: str) -> None:
    assert figure(value) == text
