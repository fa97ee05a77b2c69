"""A deployment's own history made into requests: from the store, and from Prometheus."""

from __future__ import annotations

import json

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from controller.collectors.past_demand import queries
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.domain.state import PlannerState
from controller.errors import BadInputError, UnavailableError
from controller.forecast.adaptive import AdaptiveForecaster
from controller.loop.foresight import FitAtOnce, Foresight
from controller.loop.learned import Learned
from controller.loop.perception import Perception
from controller.simulation.from_prometheus import STEP_S, read_prometheus
from controller.simulation.from_store import read_store
from controller.simulation.rates import SIGNALS, Rates, no_rates, recent, requests_of
from controller.store.sqlite import SqliteStore
from controller.window.history import DemandHistory
from tests.records import CHAT, EMBED, Kept, deployment_record, record, snapshot

HOUR = 3600.0


def rates_of(hours: float, *, step_s: float = 10.0, start: float = 0.0, per_s=2.0) -> Rates:
    bins = int(hours * HOUR / step_s)
    requests = np.full(bins, per_s) if isinstance(per_s, float) else per_s
    return Rates(
        start=start,
        step_s=step_s,
        values={
            Signal.REQUESTS: requests,
            Signal.PREFILL_TOKENS: requests * 500.0,
            Signal.DECODE_TOKENS: requests * 120.0,
        },
    )


def test_requests_fit_the_rates_they_are_made_from():
    per_s = np.repeat([1.0, 6.0, 2.0], 360)
    rates = rates_of(3, per_s=per_s)
    demand = requests_of(rates, scale=1.0, seed=0)
    for hour, wanted in enumerate((1.0, 6.0, 2.0)):
        inside = (demand.arrival_s >= hour * HOUR) & (demand.arrival_s < (hour + 1) * HOUR)
        assert np.count_nonzero(inside) / HOUR == pytest.approx(wanted, rel=0.05)
        assert demand.prompt_tokens[inside].sum() == pytest.approx(wanted * HOUR * 500, rel=0.01)
        assert demand.output_tokens[inside].sum() == pytest.approx(wanted * HOUR * 120, rel=0.01)
    assert np.all(np.diff(demand.arrival_s) >= 0)
    assert demand.length_s == 3 * HOUR
    assert demand.prompt_tokens.std() > 0.5 * demand.prompt_tokens.mean()


def test_the_same_history_makes_the_same_requests():
    once, again = (requests_of(rates_of(1), scale=2.0, seed=0) for _ in range(2))
    assert np.array_equal(once.arrival_s, again.arrival_s)
    assert np.array_equal(once.prompt_tokens, again.prompt_tokens)
    assert len(once) == pytest.approx(2 * 2 * HOUR, rel=0.05)


def test_arrivals_vary_like_poisson():
    counts = np.bincount((requests_of(rates_of(10), scale=1.0, seed=0).arrival_s // 10).astype(int), minlength=3600)
    assert counts.var() == pytest.approx(counts.mean(), rel=0.1)


def test_a_gap_is_bridged_and_not_taken_for_silence():
    rates = rates_of(2)
    for values in rates.values.values():
        values[200:260] = np.nan
    demand = requests_of(rates, scale=1.0, seed=0)
    inside = (demand.arrival_s >= 2000) & (demand.arrival_s < 2600)
    assert np.count_nonzero(inside) == pytest.approx(1200, rel=0.15)


def test_the_newest_part_is_replayed_and_the_rest_is_the_past():
    part, past = recent(rates_of(10, start=36_000.0), 3 * HOUR, source="store")
    assert (part.start, part.end) == (36_000.0 + 7 * HOUR, 36_000.0 + 10 * HOUR)
    assert past is not None
    assert past.length_s == 7 * HOUR
    assert past.rates[Signal.PREFILL_TOKENS][-1] == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        (slice(10, None), "known for 2 min of the last 2 h; at least 30 min are needed"),
        (slice(10, 400), "54% of the 2.0 h to replay is unknown"),
    ],
)
def test_too_little_history_is_told(unknown, said):
    rates = rates_of(2)
    for values in rates.values.values():
        values[unknown] = np.nan
    with pytest.raises(BadInputError, match=said):
        recent(rates, 2 * HOUR, source="store: chat")


def tick(at: float, per_s: float):
    demand = dict(zip(SIGNALS, (Known(per_s), Known(per_s * 500), Known(per_s * 120)), strict=True))
    return record(deployment_record(CHAT, snapshot=snapshot(at=at, demand=demand)), tick=int(at), at=at)


def history(start: float, step_s: float, per_s: float, bins: int):
    return [
        (CHAT, signal, History(start=start, step_s=step_s, values=(per_s * factor,) * bins))
        for signal, factor in zip(SIGNALS, (1, 500, 120), strict=True)
    ]


def minutes(per_s: float, bins: int):
    """Minutes as the loop keeps them."""
    foresight = Foresight(AdaptiveForecaster(), FitAtOnce())
    foresight.restore(history(0.0, 60.0, per_s, bins))
    return Learned(Perception(histories=DemandHistory()), foresight).pieces({})


def written(tmp_path, kept_beside):
    """A store with an hour of records, and what is kept beside them."""
    path = tmp_path / "foreserve.db"
    kept = SqliteStore(path)
    kept.load()
    for at in np.arange(86_410.0, 90_001.0, 10.0):
        kept.finish(tick(at, 4.0), PlannerState(), kept_beside)
    kept.close()
    return path


@pytest.fixture
def store(tmp_path):
    other = (EMBED, Signal.REQUESTS, History(start=89_400.0, step_s=5.0, values=(77.0,) * 120))
    return written(tmp_path, Kept([*history(89_400.0, 5.0, 9.0, 120), other]))


def test_the_store_gives_its_histories_and_else_its_records(store):
    shares = []
    deployment, rates = read_store(store, CHAT, last_s=HOUR, progress=shares.append)
    part, past = recent(rates, HOUR, source="store")
    requests = part.values[Signal.REQUESTS]
    assert (deployment, past) == (CHAT, None)
    assert (requests[-1], requests[100]) == (9.0, 4.0)
    assert part.end == 90_000.0
    assert shares[-1] == 1.0


def test_minutes_in_the_store_are_the_past(tmp_path):
    store = written(tmp_path, Kept(learned=minutes(2.0, 1490)))
    _, rates = read_store(store, None, last_s=HOUR, progress=lambda _: None)
    part, past = recent(rates, HOUR, source="store")
    assert part.values[Signal.REQUESTS][100] == 4.0
    assert past is not None
    assert past.length_s == pytest.approx(86_400.0, abs=120)
    assert past.rates[Signal.DECODE_TOKENS][5] == 240.0


def test_a_store_without_the_deployment_names_those_it_has(store):
    with pytest.raises(BadInputError, match="chat/Other is not recorded there; recorded: chat/LLMServer:tiny"):
        read_store(store, DeploymentId("chat", "Other"), last_s=HOUR, progress=lambda _: None)


def test_a_store_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadInputError, match="there is no such store"):
        read_store(tmp_path / "none.db", None, last_s=HOUR, progress=lambda _: None)


def test_queries_name_the_deployment_and_its_front_door():
    asked = queries(DeploymentId("chat", 'LLM"Server'))
    assert asked[Signal.REQUESTS].startswith('sum(rate(haproxy_backend_http_requests_total{proxy=~"http-chat|')
    assert 'deployment="LLM\\"Server"' in asked[Signal.PREFILL_TOKENS]
    assert "ray_vllm_prompt_tokens_total" in asked[Signal.PREFILL_TOKENS]


async def served(handler):
    application = web.Application()
    application.router.add_post("/api/v1/query_range", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"


async def test_a_range_is_read_in_pieces_with_the_token():
    asked = []

    async def answer(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append((form["query"], float(form["start"]), float(form["end"]), request.headers["Authorization"]))
        at = np.arange(float(form["start"]), float(form["end"]) + 1, STEP_S)
        values = [[one, "NaN" if one == 60.0 else str(one)] for one in at.tolist()]
        result = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
        return web.json_response({"status": "success", "data": result})

    runner, url = await served(answer)
    async with aiohttp.ClientSession() as session:
        rates = await read_prometheus(session, url, CHAT, token="secret", since=0.0, until=10_000 * STEP_S)
    await runner.cleanup()
    assert len(asked) == 6
    assert {one[3] for one in asked} == {"Bearer secret"}
    assert (asked[0][1], asked[0][2], asked[1][1], asked[1][2]) == (30.0, 240_000.0, 240_030.0, 300_000.0)
    requests = rates.values[Signal.REQUESTS]
    assert (requests[0], requests[-1]) == (30.0, 300_000.0)
    assert np.isnan(requests[1])
    assert np.count_nonzero(np.isnan(requests)) == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, "no", "HTTP 401.*check the token"),
        (200, "<html>", "not an answer of the Prometheus API"),
        (
            400,
            json.dumps({"status": "error", "errorType": "bad_data", "error": "parse error"}),
            "bad_data: parse error",
        ),
    ],
)
async def test_an_answer_that_is_none_is_told(status, body, said):
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    runner, url = await served(answer)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(UnavailableError, match=said):
            await read_prometheus(session, url, CHAT, token=None, since=0.0, until=3600.0)
    await runner.cleanup()


async def test_nothing_known_stays_unknown():
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": []}})

    runner, url = await served(answer)
    async with aiohttp.ClientSession() as session:
        rates = await read_prometheus(session, url, CHAT, token=None, since=0.0, until=HOUR)
    await runner.cleanup()
    assert rates.known.sum() == 0
    with pytest.raises(BadInputError, match="known for 0 min"):
        recent(rates, HOUR, source="prometheus")
    assert no_rates(0, 10, 10).bins == 1
