"""So many users, each sending its next request when the last answer is complete: streamed chat completions.

Made to be lighter than what it measures: raw bytes, no HTTP library, no JSON on the way. A request counts when its
stream ended properly and its usage names all its tokens. Prints one JSON object.

    python benchmarks/closed_loop.py --urls http://127.0.0.1:8000 --model tiny --users 24 --seconds 10
    python benchmarks/closed_loop.py --ceiling --users 64      # against a server that does next to nothing
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

WARM_UP_S = 2.0
_EVENT = b"data: {"
_ROLE = b'"role"'
_USAGE = re.compile(rb'"completion_tokens":\s*(\d+)')
_END = b"data: [DONE]"
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(slots=True)
class Seen:
    """What all users together saw after the warm-up. Seconds."""

    ttft_s: list[float] = field(default_factory=list)
    itl_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    tokens: int = 0
    failed: int = 0
    problems: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run. Times are quantiles in milliseconds."""

    users: int
    seconds: float
    requests: int
    failed: int
    rps: float
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    total_p99_ms: float
    client_cpu: float
    problems: dict[str, int]


class Stream(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._over: asyncio.Future[str] | None = None
        self._arrived: list[tuple[float, int]] = []
        self._rest = b""
        self._ended = self._last_here = False
        self.tokens = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, _: Exception | None) -> None:
        """End what is open."""
        self.transport = None
        self._finish("stream broken" if self._arrived or self._rest else "closed before an answer")

    async def ask(self, request: bytes) -> tuple[str, list[tuple[float, int]]]:
        """Send one request; return what went wrong ("" when nothing) and when how many tokens came."""
        self._arrived, self._rest, self._ended, self.tokens = [], b"", False, 0
        self._over = asyncio.get_running_loop().create_future()
        if self.transport is None:
            return "not connected", []
        self.transport.write(request)
        problem = await self._over
        return problem, self._arrived

    def data_received(self, data: bytes) -> None:
        """Count the tokens in what came; no JSON is read."""
        if self._over is None:
            return
        if not self._arrived and not self._rest and not data.startswith(b"HTTP/1.1 200"):
            self._finish(data.split(b"\r\n", 1)[0].decode(errors="replace"))
            return
        if not self._arrived and not self._rest:
            # A server that is about to leave says so with its last answer on a connection.
            self._last_here = b"\r\nconnection: close\r\n" in data[:2000].lower()
        data = self._rest + data if self._rest else data
        cut = data.rfind(b"\n\n")
        whole, self._rest = (data[: cut + 2], data[cut + 2 :]) if cut >= 0 else (b"", data)
        # Every event but the one that names the role stands for one token or more; the last ones for none.
        count = whole.count(_EVENT) - whole.count(_ROLE)
        if usage := _USAGE.search(whole):
            self.tokens = int(usage[1])
            count -= 1
        if count > 0:
            self._arrived.append((time.perf_counter(), count))
        # The body's end comes after the last event, perhaps on its own; only then may the next request go out.
        self._ended = self._ended or _END in whole or _END in self._rest
        if self._ended and data.endswith(_LAST_CHUNK):
            if self._last_here and self.transport is not None:
                self.transport.close()
                self.transport = None
            self._finish("")

    def _finish(self, problem: str) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(problem)


async def run(
    urls: Sequence[str],
    *,
    model: str,
    users: int,
    seconds: float,
    tokens: int,
    prompt: int,
    over: Callable[[], bool] = lambda: False,
) -> Result:
    """Run ``users`` users for ``seconds`` after a short warm-up; user i takes address i modulo their number.

    Once ``over`` says so, each leaves when it has its answer.
    """
    seen, start = Seen(), time.perf_counter()
    began, until = start + WARM_UP_S, start + WARM_UP_S + seconds
    turns = itertools.count()
    cpu = time.process_time()
    await asyncio.gather(
        *(
            _user(
                urls[index % len(urls)],
                turns,
                seen,
                model=model,
                tokens=tokens,
                prompt=prompt,
                span=(began, until),
                over=over,
            )
            for index in range(users)
        )
    )
    taken = time.perf_counter() - start
    return Result(
        users=users,
        seconds=seconds,
        requests=len(seen.ttft_s),
        failed=seen.failed,
        rps=len(seen.ttft_s) / seconds,
        tokens_per_s=seen.tokens / seconds,
        ttft_p50_ms=_ms(seen.ttft_s, 0.5),
        ttft_p99_ms=_ms(seen.ttft_s, 0.99),
        itl_p50_ms=_ms(seen.itl_s, 0.5),
        itl_p99_ms=_ms(seen.itl_s, 0.99),
        total_p99_ms=_ms(seen.total_s, 0.99),
        client_cpu=(time.process_time() - cpu) / taken,
        problems=seen.problems,
    )


async def _user(  # noqa: C901 - one loop, read from top to bottom
    url: str,
    turns: itertools.count[int],
    seen: Seen,
    *,
    model: str,
    tokens: int,
    prompt: int,
    span: tuple[float, float],
    over: Callable[[], bool],
) -> None:
    parts = urlsplit(url)
    began, until = span
    stream = Stream()
    while time.perf_counter() < until and not over():
        if stream.transport is None:
            try:
                _, stream = await asyncio.get_running_loop().create_connection(Stream, parts.hostname, parts.port)
            except OSError as error:
                _note(seen, str(error))
                await asyncio.sleep(0.2)
                continue
        request = _request(parts.netloc, parts.path, next(turns), model=model, tokens=tokens, prompt=prompt)
        sent = time.perf_counter()
        try:
            problem, arrived = await asyncio.wait_for(stream.ask(request), 60)
        except TimeoutError:
            problem, arrived = "no end within 60 s", []
        ended = time.perf_counter()
        got = stream.tokens
        if not problem and (got != tokens or not arrived):
            problem = f"{got} of {tokens} tokens"
        if problem:
            if stream.transport is not None:
                stream.transport.abort()
            if ended >= began:
                _note(seen, problem)
            await asyncio.sleep(0.05)
            continue
        if sent < began or ended > until:
            continue
        seen.ttft_s.append(arrived[0][0] - sent)
        seen.total_s.append(ended - sent)
        seen.tokens += got
        for (before, _), (at, count) in itertools.pairwise(arrived):
            seen.itl_s.append(at - before)
            # Events that came together came without a wait between them.
            seen.itl_s.extend([0.0] * (count - 1))


def _request(host: str, path: str, turn: int, *, model: str, tokens: int, prompt: int) -> bytes:
    words = f"request {turn} " + "lazy dog " * (prompt * 4 // 9)
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": words}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = f"POST {path}/v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _note(seen: Seen, problem: str) -> None:
    seen.failed += 1
    seen.problems[problem[:100]] = seen.problems.get(problem[:100], 0) + 1


def _ms(values: list[float], q: float) -> float:
    if not values:
        return float("nan")
    return 1000 * sorted(values)[min(len(values) - 1, int(q * len(values)))]


def ceiling(*, users: int, seconds: float, tokens: int) -> Result:
    """Measure against a server of its own that writes canned bytes without a pause."""
    from benchmarks.load_ceiling import serve  # noqa: PLC0415 - a script of its own

    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(tokens, 0.0, there), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{here.recv()}"
        return _runner(run([url], model="tiny", users=users, seconds=seconds, tokens=tokens, prompt=64))
    finally:
        server.kill()
        server.join()


def _runner(work: object) -> Result:
    try:
        import uvloop  # noqa: PLC0415 - comes with vLLM; the plain loop will do
    except ImportError:
        return asyncio.run(work)  # type: ignore[arg-type]
    return uvloop.run(work)  # type: ignore[arg-type, no-any-return]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--urls", default="http://127.0.0.1:8000", help="addresses, comma-separated; users take turns")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--users", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=64, help="about so many tokens of prompt")
    parser.add_argument("--ceiling", action="store_true", help="measure the client itself")
    wanted = parser.parse_args()
    if wanted.ceiling:
        result = ceiling(users=wanted.users, seconds=wanted.seconds, tokens=wanted.tokens)
    else:
        result = _runner(
            run(
                wanted.urls.split(","),
                model=wanted.model,
                users=wanted.users,
                seconds=wanted.seconds,
                tokens=wanted.tokens,
                prompt=wanted.prompt,
            )
        )
    print(json.dumps(asdict(result) | {"load_average": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
