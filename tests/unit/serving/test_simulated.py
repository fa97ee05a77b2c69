"""The simulated engine: time as a GPU would take, tokens as asked, and the load as it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.simulated.batcher import Batcher, Load, Sequence, Silent
from serving.simulated.openai_api import FINGERPRINT, application
from serving.simulated.timing import GPUS, SimulatedModel, timing_of


class Noting(Silent):
    def __init__(self) -> None:
        self.loads: list[Load] = []
        self.tokens = 0
        self.reasons: list[str] = []
        self.preemptions = 0

    def stepped(self, load: Load, **_: int) -> None:
        self.loads.append(load)

    def token(self, _: Sequence, **__: object) -> None:
        self.tokens += 1

    def finished(self, _: Sequence, reason: str) -> None:
        self.reasons.append(reason)

    def preempted(self) -> None:
        self.preemptions += 1


class Time:
    """Goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def batcher(noting: Noting, **model: object) -> tuple[Batcher, Time]:
    time = Time()
    return Batcher(SimulatedModel.model_validate(model), noting, clock=time, sleep=time.sleep), time


async def ask(engine: Batcher, prompt: int, output: int) -> int:
    return sum([new async for new in engine.generate(prompt_tokens=prompt, output_tokens=output)])


@given(st.sampled_from(sorted(GPUS)), st.integers(0, 256), st.integers(0, 100_000), st.integers(0, 8192))
def test_more_work_never_takes_less_time(gpu: str, decoding: int, context: int, prefill: int) -> None:
    timing = timing_of(SimulatedModel(gpu=gpu))
    here = timing.iteration_s(decoding=decoding, context_tokens=context, prefill_tokens=prefill)

    assert here >= timing.base_s + timing.read_s
    assert timing.iteration_s(decoding=decoding + 1, context_tokens=context + 9, prefill_tokens=prefill + 9) >= here


def test_a_token_of_an_8b_model_on_an_h100_takes_as_long_as_its_weights_take_to_read() -> None:
    timing = timing_of(SimulatedModel(gpu="H100"))

    # 16 GB at three quarters of 3.35 TB/s.
    assert timing.read_s == pytest.approx(16.06e9 / (0.75 * 3.35e12), rel=0.01)
    assert timing.kv_cache_tokens == int((0.9 * 80e9 - 16.06e9) / 131_072)


@pytest.mark.parametrize(
    ("model", "said"),
    [({"gpu": "H1000"}, "not known; known are L4"), ({"gpu": "L4", "parameters": 70e9}, "raise gpus_per_replica")],
)
def test_what_cannot_be_simulated_is_refused(model: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        timing_of(SimulatedModel.model_validate(model))


async def test_every_token_comes_once_and_the_prompt_first() -> None:
    noting = Noting()
    engine, time = batcher(noting, gpu="H100")

    assert await ask(engine, 500, 20) == 20
    assert noting.tokens == 20
    assert noting.reasons == ["length"]
    step = engine.timing.read_s + engine.timing.base_s
    assert time.now == pytest.approx(20 * step, rel=0.2)


async def test_no_more_than_max_num_seqs_run_and_the_rest_wait() -> None:
    noting = Noting()
    engine, _ = batcher(noting, gpu="H100", max_num_seqs=4)

    assert await asyncio.gather(*(ask(engine, 10, 10) for _ in range(10))) == [10] * 10
    assert max(load.running for load in noting.loads) == 4
    assert max(load.waiting for load in noting.loads) == 6


async def test_a_full_cache_takes_the_youngest_out_and_still_ends_every_request() -> None:
    noting = Noting()
    engine, _ = batcher(noting, gpu="L4")
    engine.timing = engine.timing.model_copy(update={"kv_cache_tokens": 250})

    assert await asyncio.gather(*(ask(engine, 50, 100) for _ in range(4))) == [100] * 4
    assert noting.preemptions > 0


async def test_a_client_that_leaves_frees_its_place() -> None:
    noting = Noting()
    engine, _ = batcher(noting, gpu="H100")
    generating: AsyncIterator[int] = engine.generate(prompt_tokens=10, output_tokens=1000)
    await anext(generating)
    await generating.aclose()  # type: ignore[attr-defined]

    assert engine.load().running == 0
    assert noting.reasons == ["abort"]


@pytest.fixture
def client() -> httpx.AsyncClient:
    engine, _ = batcher(Noting(), gpu="H100")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=application(engine, "m")), base_url="http://t")


async def test_a_chat_streams_event_by_event_and_says_what_it_is(client: httpx.AsyncClient) -> None:
    body = {"model": "m", "stream": True, "max_tokens": 5, "stream_options": {"include_usage": True}}
    answer = await client.post(
        "/v1/chat/completions", json=body | {"messages": [{"role": "user", "content": "x" * 40}]}
    )

    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(event) for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert sum(bool(chunk["choices"] and chunk["choices"][0]["delta"].get("content")) for chunk in chunks) == 5
    assert chunks[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert {chunk["system_fingerprint"] for chunk in chunks} == {FINGERPRINT}


async def test_it_tells_how_many_requests_it_holds() -> None:
    engine, _ = batcher(Noting(), gpu="H100")
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=application(engine, "m")), base_url="http://t")
    streams = [engine.generate(prompt_tokens=10, output_tokens=1000) for _ in range(3)]
    for stream in streams:
        await anext(stream)

    assert (await client.get("/load")).json() == {"server_load": 3}
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    assert (await client.get("/load")).json() == {"server_load": 0}


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}, "chat.completion"),
        ("completions", {"prompt": "hi", "max_tokens": 3}, "text_completion"),
        ("embeddings", {"input": ["a", "b"]}, "list"),
    ],
)
async def test_the_other_ways_to_ask_answer_too(client: httpx.AsyncClient, path: str, body: dict, found: str) -> None:
    answer = await client.post(f"/v1/{path}", json=body)

    assert answer.status_code == 200
    assert answer.json()["object"] == found


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "other", "messages": [{"role": "user", "content": "x"}]}, "'other' is not served here"),
        ({}, "messages is missing"),
        ({"messages": [{"role": "user", "content": "x"}], "max_tokens": "7"}, "whole number"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(client: httpx.AsyncClient, body: dict, said: str) -> None:
    answer = await client.post("/v1/chat/completions", json=body)

    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
