"""The generator against a real server on loopback."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Iterable

import pytest
from aiohttp import web

from controller.clock import SystemClock
from controller.errors import BadInputError, UnavailableError
from controller.load.prompts import TokenScale
from controller.load.result import LoadResult
from controller.load.row import RequestRow
from controller.load.run import LoadPlan, run_load
from controller.load.schedule import Arrival
from controller.load.target import Target
from controller.load.tick import LoadTick

ONE_WORD_ONE_TOKEN = TokenScale(per_word=1.0)


def every(gap_s: float, count: int, *, output_tokens: int = 3) -> list[Arrival]:
    return [Arrival(index, index * gap_s, 10, output_tokens) for index in range(count)]


class Run:
    """One run and what it reported."""

    def __init__(self) -> None:
        self.rows: list[RequestRow] = []
        self.ticks: list[LoadTick] = []
        self.first_row = asyncio.Event()

    def on_row(self, row: RequestRow) -> None:
        self.rows.append(row)
        self.first_row.set()

    async def go(
        self,
        url: str,
        schedule: Iterable[Arrival],
        *,
        max_in_flight: int = 100,
        timeout_s: float = 20.0,
        drain_s: float = 10.0,
        scale: TokenScale | None = ONE_WORD_ONE_TOKEN,
        stop_signals: tuple[signal.Signals, ...] = (),
    ) -> LoadResult:
        plan = LoadPlan(
            target=Target(url=url, model="tiny", token="secret", timeout_s=timeout_s),
            schedule=schedule,
            token_scale=scale,
            max_in_flight=max_in_flight,
            drain_s=drain_s,
        )
        summary = await run_load(
            plan, clock=SystemClock(), on_row=self.on_row, on_tick=self.ticks.append, stop_signals=stop_signals
        )
        result = LoadResult.of(self.rows)
        assert result.summary == summary
        return result


async def test_a_stalled_server_does_not_delay_later_sends(serve, chat) -> None:
    everything_is_here = asyncio.Event()
    waiting = itertools.count(1)

    async def stall(request: web.Request) -> web.StreamResponse:
        if next(waiting) == 20:
            everything_is_here.set()
        await everything_is_here.wait()
        stream = await chat(request).open()
        await stream.token()
        return await stream.done()

    # Nothing is answered before all 20 have arrived: a closed loop would never end.
    result = await Run().go(await serve(stall), every(0.02, 20))

    assert result.summary.completed == 20
    assert result.summary.clean


async def test_latencies_are_those_the_server_took(serve, chat) -> None:
    taken: list[tuple[float, float]] = []

    async def paced(request: web.Request) -> web.StreamResponse:
        begun = time.monotonic()
        await asyncio.sleep(0.15)
        stream = await chat(request).open()
        await stream.token()
        first = time.monotonic()
        for _ in range(4):
            await asyncio.sleep(0.05)
            await stream.token()
        taken.append((first - begun, time.monotonic() - begun))
        await stream.usage(12, 5)
        return await stream.done()

    result = await Run().go(await serve(paced), every(0.03, 5))

    for row, (ttft_s, total_s) in zip(result.rows, taken, strict=True):
        assert row.ok
        assert ttft_s - 0.02 < row.ttft_s < ttft_s + 0.4
        assert total_s - 0.02 < row.total_s < total_s + 0.4
        assert sum(row.itl_s) == pytest.approx(total_s - ttft_s, abs=0.3)
        assert len(row.itl_s) == 4
        assert (row.chunks, row.prompt_tokens_measured, row.output_tokens_measured) == (5, 12, 5)
    assert result.summary.ttft.p50 == pytest.approx(sorted(row.ttft_s for row in result.rows)[2], rel=0.01)
    assert 0.04 < result.summary.itl.p50 < 0.2


async def test_a_late_send_counts_from_when_it_was_due(serve, chat) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = await chat(request).open()
        await stream.token()
        return await stream.done()

    # Due half a second before the run began: the sender cannot but be late.
    result = await Run().go(await serve(answer), [Arrival(0, -0.5, 10, 1)])

    row = result.rows[0]
    assert 0.5 <= row.lag_s < 1.0
    assert row.ttft_from_schedule_s == row.ttft_s + row.lag_s
    assert result.summary.ttft_from_schedule.p50 >= 0.5 * 0.995


async def test_requests_ask_for_exactly_what_the_trace_says(serve, chat) -> None:
    bodies, tokens = [], []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        tokens.append(request.headers["Authorization"])
        stream = await chat(request).open()
        return await stream.done()

    await Run().go(await serve(answer), [Arrival(0, 0.0, 40, 7)])

    body = bodies[0]
    assert (body["model"], body["max_tokens"], body["ignore_eos"], body["temperature"]) == ("tiny", 7, True, 0)
    assert body["stream_options"] == {"include_usage": True}
    assert len(body["messages"][0]["content"].split()) == 40
    assert tokens == ["Bearer secret"]


async def _half_then_nothing(chat, request):
    stream = await chat(request).open()
    await stream.token()
    return await stream.end_without_mark()


async def _half_then_dropped(chat, request):
    stream = await chat(request).open()
    await stream.token()
    return stream.drop()


async def _error_in_the_stream(chat, request):
    stream = await chat(request).open()
    await stream.token()
    await stream.event({"error": {"message": "engine died", "code": 500}})
    return await stream.done()


async def _busy(_chat, _request):
    return web.Response(status=503, text="Request dropped due to backpressure")


async def _json_instead(_chat, _request):
    return web.json_response({"choices": []})


async def _never(chat, request):
    await chat(request).open()
    await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize(
    ("behaviour", "status", "detail", "timeout_s"),
    [
        pytest.param(_half_then_nothing, "unfinished", "end mark", 20.0, id="ends-without-its-mark"),
        pytest.param(_half_then_dropped, "disconnected", "", 20.0, id="connection-drops"),
        pytest.param(_error_in_the_stream, "stream_error", "engine died", 20.0, id="error-in-the-stream"),
        pytest.param(_busy, "http_503", "backpressure", 20.0, id="503"),
        pytest.param(_json_instead, "not_a_stream", "application/json", 20.0, id="no-stream"),
        pytest.param(_never, "timeout", "0.3 s", 0.3, id="stalls"),
    ],
)
async def test_a_request_that_fails_is_counted_by_its_class(
    *, serve, chat, behaviour, status, detail, timeout_s
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await behaviour(chat, request)

    result = await Run().go(await serve(handler), every(0.01, 2), timeout_s=timeout_s)

    assert result.summary.errors == {status: 2}
    assert (result.summary.completed, result.summary.failed) == (0, 2)
    assert not result.summary.clean
    assert all(detail in row.detail for row in result.rows)


async def test_a_refused_connection_is_a_failed_request(unused_tcp_port_url) -> None:
    result = await Run().go(unused_tcp_port_url, every(0.01, 2))

    assert result.summary.errors == {"connect": 2}


@pytest.fixture
async def unused_tcp_port_url() -> str:
    """An address where something listened and nothing does any more."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"


async def test_requests_over_the_limit_are_dropped_and_counted_not_delayed(serve, chat) -> None:
    release = asyncio.Event()

    async def hold(request: web.Request) -> web.StreamResponse:
        await release.wait()
        stream = await chat(request).open()
        return await stream.done()

    run = Run()
    running = asyncio.create_task(run.go(await serve(hold), every(0.01, 10), max_in_flight=4))
    while len(run.rows) < 6:
        await run.first_row.wait()
        await asyncio.sleep(0.01)
    release.set()
    result = await running

    assert (result.summary.sent, result.summary.dropped, result.summary.completed) == (4, 6, 4)
    assert result.summary.failed == 0
    assert not result.summary.clean
    assert [row.status for row in result.rows] == ["ok"] * 4 + ["dropped"] * 6


async def test_a_signal_stops_sending_and_lets_open_streams_end(serve, chat) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        stream = await chat(request).open()
        await stream.token()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        return await stream.done()

    result = await Run().go(await serve(slow), every(30.0, 2), stop_signals=(signal.SIGTERM,))

    assert (result.summary.sent, result.summary.completed) == (1, 1)
    assert result.summary.clean


async def test_a_second_signal_ends_open_streams_too(serve, chat) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        await chat(request).open()
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0.05)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(30)
        return web.Response()

    result = await Run().go(await serve(endless), every(30.0, 2), stop_signals=(signal.SIGINT,))

    assert result.summary.errors == {"cancelled": 1}


async def test_streams_still_open_after_the_drain_time_are_cancelled(serve, chat) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        await chat(request).open()
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(30)
        return web.Response()

    result = await Run().go(await serve(endless), every(30.0, 2), drain_s=0.1, stop_signals=(signal.SIGINT,))

    assert result.summary.errors == {"cancelled": 1}


async def test_each_second_is_reported(serve, chat) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = await chat(request).open()
        for _ in range(3):
            await stream.token()
            await asyncio.sleep(0.01)
        return await stream.done()

    run = Run()
    await run.go(await serve(answer), every(0.1, 14))

    first, *_, last = run.ticks
    assert 1.0 <= first.t_s < 1.4
    assert (last.sent, last.completed, last.failed, last.in_flight) == (14, 14, 0, 0)
    assert last.rps == pytest.approx(14 / last.t_s, rel=0.01)
    assert last.output_tokens_per_s == pytest.approx(42 / last.t_s, rel=0.01)
    assert last.itl_p50_s >= 0.01


async def test_a_run_whose_numbers_nobody_takes_ends(serve, chat) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = await chat(request).open()
        return await stream.done()

    def closed(_: LoadTick) -> None:
        raise BrokenPipeError

    plan = LoadPlan(
        target=Target(url=await serve(answer), model="tiny"),
        schedule=every(0.5, 1000),
        token_scale=ONE_WORD_ONE_TOKEN,
    )

    with pytest.raises(BrokenPipeError):
        await run_load(plan, clock=SystemClock(), on_row=lambda _: None, on_tick=closed)


async def test_the_probe_learns_how_many_tokens_words_become(serve, chat) -> None:
    lengths = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        words = len(body["messages"][0]["content"].split())
        if not body["stream"]:
            return web.json_response({"usage": {"prompt_tokens": 7 + 4 * words}})
        lengths.append(words)
        stream = await chat(request).open()
        return await stream.done()

    await Run().go(await serve(answer), [Arrival(0, 0.0, 107, 1)], scale=None)

    assert lengths == [25]


async def test_a_model_that_is_not_served_is_bad_input(serve) -> None:
    async def unknown(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "Could not find base model"}, status=404)

    with pytest.raises(BadInputError, match=r"does not serve the model 'tiny'.*Could not find"):
        await Run().go(await serve(unknown), every(0.1, 1), scale=None)


async def test_a_service_that_is_not_there_is_unavailable(unused_tcp_port_url) -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        await Run().go(unused_tcp_port_url, every(0.1, 1), scale=None)
