"""How much traffic `foreserve load` makes before it is itself the bottleneck.

Runs the generator at rising rates against a server in its own process that does next to nothing:
canned bytes, one write per token. A rate is carried when every stream ends and 99 of 100 requests
go out within 20 ms of their time. Prints a table and the highest rate carried. On a machine that is
busy with other things the lag is theirs too; the CPU column is the generator's own share of one core.

    python benchmarks/load_ceiling.py [--tokens 32] [--gap-ms 10] [--seconds 5] [--rates 25,50,100,200,400,800]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from multiprocessing.connection import Connection

from controller.clock import SystemClock
from controller.load.prompts import TokenScale
from controller.load.run import LoadPlan, run_load
from controller.load.schedule import ScheduleOptions, arrivals
from controller.load.stages import Stage, staged_trace
from controller.load.summary import LoadSummary
from controller.load.target import Target

LAG_LIMIT_S = 0.020
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
_COMMON = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":['


def _chunked(event: bytes) -> bytes:
    return b"%x\r\n%b\n\n\r\n" % (len(event) + 2, event)


_TOKEN = _chunked(_COMMON + b'{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}')
_USAGE = b',"usage":{"prompt_tokens":1,"total_tokens":%d,"completion_tokens":%d}}'
_END = _chunked(b"data: [DONE]") + b"0\r\n\r\n"


class CannedStream(asyncio.Protocol):
    """Answers every request with the same stream."""

    def __init__(self, tokens: int, gap_s: float) -> None:
        self._tokens = tokens
        self._gap_s = gap_s
        self._loop = asyncio.get_running_loop()
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Start the stream when the whole request is here."""
        if self._missing == 0:
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            self._missing = length - len(body)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._transport.write(_HEAD)
            self._send(self._tokens)

    def _send(self, left: int) -> None:
        if left == 0:
            self._transport.write(_chunked(_COMMON + b"]" + _USAGE % (self._tokens + 1, self._tokens)) + _END)
            return
        self._transport.write(_TOKEN)
        self._loop.call_later(self._gap_s, self._send, left - 1)


def serve(tokens: int, gap_s: float, ready: Connection) -> None:
    """Serve until killed; tells its port first."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: CannedStream(tokens, gap_s), "127.0.0.1", 0, backlog=4096)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def measure(port: int, *, rate: float, seconds: float, tokens: int) -> LoadSummary:
    """One rate for some seconds."""
    trace = staged_trace([Stage(rate, seconds)], prompt_tokens=256, output_tokens=tokens)
    plan = LoadPlan(
        target=Target(url=f"http://127.0.0.1:{port}", model="tiny"),
        schedule=arrivals(trace, ScheduleOptions()),
        token_scale=TokenScale(per_word=1.0),
    )
    return asyncio.run(run_load(plan, clock=SystemClock(), on_row=lambda _: None, on_tick=lambda _: None))


def main() -> None:
    """Try each rate in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=32, help="tokens per answer, each a chunk of its own")
    parser.add_argument("--gap-ms", type=float, default=10.0, help="time between tokens")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each rate is held")
    parser.add_argument("--rates", default="25,50,100,200,400,800", help="requests per second, tried in turn")
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(options.tokens, options.gap_ms / 1000, there), daemon=True)
    server.start()
    port = here.recv()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"{options.tokens} tokens per answer, {options.gap_ms:g} ms apart; each rate for {options.seconds:g} s")
    print(f"{'asked':>7} {'completed':>10} {'tokens':>8} {'send lag':>18} {'TTFT':>9} {'CPU':>6} {'failed':>7}")
    print(f"{'1/s':>7} {'1/s':>10} {'1/s':>8} {'p50 ms':>9}{'p99 ms':>9} {'p99 ms':>9} {'%':>6} {'':>7}")
    ceiling = 0.0
    for rate in (float(text) for text in options.rates.split(",")):
        cpu = time.process_time()
        summary = measure(port, rate=rate, seconds=options.seconds, tokens=options.tokens)
        cpu_share = (time.process_time() - cpu) / summary.elapsed_s
        lag, ttft = summary.send_lag, summary.ttft
        print(
            f"{rate:7.0f} {summary.rps:10.1f} {summary.output_tokens_per_s:8.0f} {1000 * (lag.p50 or 0):9.1f}"
            f"{1000 * (lag.p99 or 0):9.1f} {1000 * (ttft.p99 or 0):9.1f} {100 * cpu_share:6.0f}"
            f" {summary.failed + summary.dropped:7d}"
        )
        if summary.clean and (lag.p99 or 0.0) < LAG_LIMIT_S:
            ceiling = rate
    server.kill()
    server.join()
    print(f"highest rate carried with every stream complete and send lag p99 under 20 ms: {ceiling:.0f} requests/s")


if __name__ == "__main__":
    main()
