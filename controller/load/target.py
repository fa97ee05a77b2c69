"""Where requests go, and sending one of them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import aiohttp

from controller.load.prompts import PromptSource
from controller.load.row import CANCELLED, OK, UNFINISHED, RequestRow
from controller.load.schedule import Arrival
from controller.load.sse import BadStreamError, ChatStream
from controller.load.tick import Meter
from controller.ports import Clock

_SHOWN_BODY = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An OpenAI-compatible service and one of its models. ``timeout_s`` bounds a whole request."""

    url: str
    model: str
    token: str | None = None
    timeout_s: float = 300.0

    @property
    def chat_url(self) -> str:
        """Address of chat completions."""
        return f"{self.url.rstrip('/')}/v1/chat/completions"

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        bearer = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        return {"Content-Type": "application/json", **bearer}

    def chat_body(self, prompt: str, *, max_tokens: int, stream: bool = True) -> bytes:
        """Body that asks for exactly ``max_tokens`` tokens, greedily."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": stream,
        }
        if stream:
            body["stream_options"] = {"include_usage": True}
        return json.dumps(body).encode()


class ChatSender:
    """Sends one request at a time to a target and measures its stream."""

    def __init__(
        self,
        *,
        target: Target,
        session: aiohttp.ClientSession,
        prompts: PromptSource,
        clock: Clock,
        meter: Meter,
    ) -> None:
        self._target = target
        self._session = session
        self._prompts = prompts
        self._clock = clock
        self._meter = meter
        self._timeout = aiohttp.ClientTimeout(total=target.timeout_s)

    async def send(self, arrival: Arrival, *, started: float, started_at: float) -> RequestRow:
        """Send, read the stream to its end, and say what became of it. Never raises, not even when cancelled.

        ``started`` is the start of the run on the monotonic clock, ``started_at`` in Unix time.
        """
        prompt = self._prompts.prompt(arrival.index, arrival.prompt_tokens)
        body = self._target.chat_body(prompt, max_tokens=arrival.output_tokens)
        exchange = _Exchange(clock=self._clock, meter=self._meter)
        status, detail = await self._outcome(exchange, body)
        stream = exchange.stream
        return RequestRow(
            index=arrival.index,
            at=started_at + arrival.at_s,
            scheduled_s=arrival.at_s,
            prompt_tokens=arrival.prompt_tokens,
            output_tokens=arrival.output_tokens,
            status=status,
            lag_s=round(max(0.0, exchange.sent - started - arrival.at_s), 6),
            http_status=exchange.http_status,
            ttft_s=None if exchange.first is None else round(exchange.first - exchange.sent, 6),
            total_s=round(self._clock.monotonic() - exchange.sent, 6),
            itl_s=tuple(exchange.gaps),
            chunks=exchange.chunks,
            prompt_tokens_measured=stream.prompt_tokens,
            output_tokens_measured=stream.output_tokens,
            detail=detail,
        )

    async def _outcome(self, exchange: _Exchange, body: bytes) -> tuple[str, str]:
        """Status and detail; what the client library raises is turned into a class of failure here."""
        try:
            async with self._session.post(
                self._target.chat_url, data=body, headers=self._target.headers, timeout=self._timeout
            ) as response:
                return await exchange.read(response)
        except TimeoutError:
            return "timeout", f"no end within {self._target.timeout_s:g} s"
        except aiohttp.ClientConnectorError as exc:
            return "connect", str(exc)
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as exc:
            return "disconnected", str(exc) or type(exc).__name__
        except (aiohttp.ClientError, BadStreamError) as exc:
            return "bad_answer", str(exc) or type(exc).__name__
        except asyncio.CancelledError:
            return CANCELLED, "stopped before the stream came to its end"


class _Exchange:
    """One request under way: what was measured so far."""

    __slots__ = ("_clock", "_last", "_meter", "chunks", "first", "gaps", "http_status", "sent", "stream")

    def __init__(self, *, clock: Clock, meter: Meter) -> None:
        self._clock = clock
        self._meter = meter
        self._last = 0.0
        self.sent = clock.monotonic()
        self.first: float | None = None
        self.gaps: list[float] = []
        self.chunks = 0
        self.http_status: int | None = None
        self.stream = ChatStream()

    async def read(self, response: aiohttp.ClientResponse) -> tuple[str, str]:
        """Follow the answer to its end; return its status and a detail."""
        self.http_status = response.status
        if response.status != 200:  # noqa: PLR2004
            return f"http_{response.status}", await _shown_body(response)
        if response.content_type != "text/event-stream":
            return "not_a_stream", f"the content type is {response.content_type}"
        async for data in response.content.iter_any():
            chunks = self.stream.feed(data)
            if chunks:
                self._count(chunks)
        if self.stream.error is not None:
            return "stream_error", self.stream.error
        if not self.stream.done:
            return UNFINISHED, "the stream ended without its end mark"
        return OK, ""

    def _count(self, chunks: int) -> None:
        """Chunks that came in one read have no measurable gap between them: 0."""
        now = self._clock.monotonic()
        if self.first is None:
            self.first = now
            self._meter.on_first_token(now - self.sent, chunks)
        else:
            gap = round(now - self._last, 6)
            self.gaps.append(gap)
            self._meter.on_token(gap, chunks)
        self.gaps.extend([0.0] * (chunks - 1))
        self.chunks += chunks
        self._last = now


async def _shown_body(response: aiohttp.ClientResponse) -> str:
    body = await response.content.read(_SHOWN_BODY)
    return body.decode("utf-8", errors="replace").strip()
