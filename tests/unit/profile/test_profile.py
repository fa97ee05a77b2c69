"""A live endpoint that follows the iteration-time model, profiled from outside."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web
from ruamel.yaml import YAML
from typer.testing import CliRunner

from controller.cli.main import app
from controller.clock import SystemClock
from controller.domain.capacity import IterationTime
from controller.load.row import OK, RequestRow
from controller.load.schedule import Arrival
from controller.load.target import Target
from controller.policy.model import CapacityPrior
from controller.profile.measure import measure
from controller.profile.ramp import RampPlan, climb
from controller.profile.result import policy_section, profile_of
from controller.profile.timeline import observed_batches

TRUTH = IterationTime(base_s=0.008, per_sequence_s=0.002, per_context_token_s=2e-6, per_prefill_token_s=4e-5)
PLAN = RampPlan(
    prompt_tokens=200, output_tokens=20, ttft_s=1.0, tpot_s=0.04, first_rps=16.0, most_rps=400.0, step_s=1.0
)


@dataclass
class _Stream:
    prompt: int
    left: int
    context: int = 0
    tokens: asyncio.Queue[bool] = field(default_factory=asyncio.Queue)


class StreamingEngine:
    """Continuous batching in real time. One word is one prompt token."""

    def __init__(self) -> None:
        self.waiting: list[_Stream] = []
        self.decoding: list[_Stream] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if not (self.waiting or self.decoding):
                await asyncio.sleep(0.001)
                due = loop.time()
                continue
            fresh, self.waiting = self.waiting, []
            due += TRUTH.seconds(
                sequences=len(self.decoding),
                context_tokens=sum(one.context for one in self.decoding),
                prefill_tokens=sum(one.prompt for one in fresh),
            )
            await asyncio.sleep(max(0.0, due - loop.time()))
            for one in fresh:
                one.context = one.prompt
            self.decoding += fresh
            for one in self.decoding:
                one.context += 1
                one.left -= 1
                one.tokens.put_nowait(one.left > 0)
            self.decoding = [one for one in self.decoding if one.left > 0]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        words = len(asked["messages"][0]["content"].split())
        usage = {"prompt_tokens": words, "completion_tokens": asked["max_tokens"]}
        if not asked["stream"]:
            return web.json_response({"choices": [], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        stream = _Stream(prompt=words, left=asked["max_tokens"])
        self.waiting.append(stream)
        more = True
        while more:
            more = await stream.tokens.get()
            await response.write(b'data: {"choices": [{"delta": {"content": " x"}}]}\n\n')
        await response.write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture(scope="module")
def engine_url() -> Iterator[str]:
    """Serve from a thread of its own, so that the client's work does not stop the engine's clock."""
    ready: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []
    started = threading.Event()

    async def serve() -> None:
        engine = StreamingEngine()
        application = web.Application()
        application.router.add_post("/v1/chat/completions", engine.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stop = asyncio.Event()
        ready.append((f"http://127.0.0.1:{runner.addresses[0][1]}", asyncio.get_running_loop(), stop))
        running = asyncio.create_task(engine.run())
        started.set()
        await stop.wait()
        running.cancel()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait(5)
    url, loop, stop = ready[0]
    yield url
    loop.call_soon_threadsafe(stop.set)
    thread.join(5)


async def test_a_live_endpoint_is_measured_up_to_its_objective(engine_url):
    steps = []

    found = await measure(Target(url=engine_url, model="m"), PLAN, clock=SystemClock(), on_step=steps.append)

    assert found.steps == tuple(steps)
    assert found.best is not None
    assert found.best.requests_per_s > 4.0
    assert "time per output token" in found.stopped_by
    assert found.iteration is not None
    heavy = {"sequences": 12, "context_tokens": 2600, "prefill_tokens": 100}
    assert found.iteration.seconds(**heavy) == pytest.approx(TRUTH.seconds(**heavy), rel=0.3)
    section = YAML(typ="safe").load(policy_section(found, PLAN))["capacity"]
    assert CapacityPrior.model_validate(section).iteration is not None


def test_the_command_prints_a_section_or_json(engine_url):
    asked = [engine_url, "--model", "m", "--prompt-tokens", "100", "--output-tokens", "8", "--step", "1"]

    written = CliRunner().invoke(app, ["profile", *asked, "--start", "4", "--most", "5", "--json"])

    assert written.exit_code == 0, written.output
    report = json.loads(written.stdout.splitlines()[-1])
    assert report["best"]["problem"] is None
    assert [step["offered_rps"] for step in report["steps"]] == [4.0, 5.0]


def row(arrival: Arrival, *, ttft_s: float, gap_s: float) -> RequestRow:
    gaps = (gap_s,) * (arrival.output_tokens - 1)
    return RequestRow(
        index=arrival.index,
        at=0.0,
        scheduled_s=arrival.at_s,
        prompt_tokens=arrival.prompt_tokens,
        output_tokens=arrival.output_tokens,
        status=OK,
        ttft_s=ttft_s,
        total_s=ttft_s + sum(gaps),
        itl_s=gaps,
        chunks=arrival.output_tokens,
    )


async def climbed(limit_rps: float, **changes: float):
    plan = replace(PLAN, step_s=60.0, **changes)

    async def send(arrivals):
        gap_s = 0.01 if len(arrivals) / plan.step_s <= limit_rps else 0.2
        return [row(one, ttft_s=0.1, gap_s=gap_s) for one in arrivals]

    return await climb(plan, send, on_step=lambda _: None)


@pytest.mark.parametrize("limit_rps", [3.0, 20.0, 100.0])
async def test_the_ramp_closes_in_on_the_largest_rate_that_is_kept(limit_rps):
    ramp = await climbed(limit_rps)

    assert ramp.best is not None
    assert ramp.best.offered_rps == pytest.approx(limit_rps, rel=0.15)
    assert "time per output token" in ramp.stopped_by


async def test_a_service_that_keeps_nothing_has_no_best_load():
    ramp = await climbed(0.0)

    assert ramp.best is None
    assert policy_section(profile_of(ramp), PLAN).startswith("# no load was sustained: time per output token")


async def test_the_ramp_ends_at_the_largest_rate():
    ramp = await climbed(1000.0, most_rps=20.0)

    assert [step.offered_rps for step in ramp.steps] == [16.0, 20.0]
    assert ramp.stopped_by == "nothing broke up to the largest rate"


async def test_failed_requests_end_the_ramp():
    async def send(arrivals):
        return [replace(row(one, ttft_s=0.1, gap_s=0.01), status="http_503") for one in arrivals]

    ramp = await climb(PLAN, send, on_step=lambda _: None)

    assert ramp.best is None
    assert "failed (http_503)" in ramp.stopped_by


def test_what_was_in_the_batch_is_read_off_the_streams():
    together = [row(Arrival(index, 0.0, 100, 101), ttft_s=1.0, gap_s=0.05) for index in range(8)]

    batches = observed_batches(together, bin_s=1.0)

    assert all(batch.seconds == pytest.approx(0.05) for batch in batches)
    assert all(batch.sequences == pytest.approx(8.0, rel=0.01) for batch in batches)
    assert batches[0].context_tokens == pytest.approx(8 * 110, rel=0.02)
    assert all(batch.prefill_tokens == 0.0 for batch in batches)


def test_a_prompt_that_joins_is_prefilled_in_the_gap_of_the_others():
    long = [row(Arrival(index, 0.0, 100, 201), ttft_s=1.0, gap_s=0.05) for index in range(8)]
    joining = row(Arrival(9, 4.0, 4000, 2), ttft_s=1.02, gap_s=0.05)

    batches = observed_batches([*long, joining], bin_s=1.0)

    # 4000 tokens in the one gap of 20 in that second.
    assert [round(batch.prefill_tokens) for batch in batches if batch.prefill_tokens] == [pytest.approx(200, rel=0.05)]


def test_failed_requests_teach_nothing():
    broken = [replace(row(Arrival(0, 0.0, 100, 50), ttft_s=1.0, gap_s=0.05), status="timeout")]

    assert observed_batches(broken) == ()
