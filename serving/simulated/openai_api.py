"""The OpenAI-compatible face of the simulated engine, as a plain ASGI application."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.simulated.batcher import Batcher

FINGERPRINT = "foreserve-simulated"

_CHARS_PER_TOKEN = 4
_DEFAULT_TOKENS = 16
_EMBEDDING_SIZE = 64


def application(batcher: Batcher, model_id: str) -> Starlette:
    """Build the application that serves ``batcher`` under the name ``model_id``."""
    return Starlette(routes=_Api(batcher, model_id).routes())


async def answer_of(batcher: Batcher, model_id: str, wanted: dict[str, Any], *, chat: bool) -> AsyncIterator[Any]:
    """Answer a parsed request: events as text when it streams, else one dictionary, as Ray's ingress takes them."""
    prompt = prompt_tokens(wanted, chat=chat)
    envelope = _Envelope(chat=chat, model=model_id, prompt_tokens=prompt, wanted=wanted)
    generating = batcher.generate(prompt_tokens=prompt, output_tokens=_tokens_wanted(wanted))
    if wanted.get("stream"):
        async for event in envelope.stream(generating):
            yield event.decode()
        return
    produced = 0
    async for new in generating:
        produced += new
    yield envelope.whole(produced)


class BadRequestError(ValueError):
    """The request is wrong; the message says what would be right."""


class _Api:
    def __init__(self, batcher: Batcher, model_id: str) -> None:
        self._batcher = batcher
        self._model_id = model_id

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/health", self._health),
            Route("/load", self._load),
        ]

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, chat=True)

    async def _completions(self, request: Request) -> Response:
        return await self._answer(request, chat=False)

    async def _answer(self, request: Request, *, chat: bool) -> Response:
        try:
            wanted = await self._read(request)
            prompt = prompt_tokens(wanted, chat=chat)
            tokens = _tokens_wanted(wanted)
        except BadRequestError as error:
            return _error(400, str(error))
        if self._batcher.model.failing and random.random() < self._batcher.model.failing:  # noqa: S311 - no secret
            return _error(500, "failing on purpose, as this build was told to")
        envelope = _Envelope(chat=chat, model=self._model_id, prompt_tokens=prompt, wanted=wanted)
        generating = self._batcher.generate(prompt_tokens=prompt, output_tokens=tokens)
        if wanted.get("stream"):
            return StreamingResponse(envelope.stream(generating), media_type="text/event-stream")
        produced = 0
        async for new in generating:
            produced += new
        return JSONResponse(envelope.whole(produced))

    async def _embeddings(self, request: Request) -> Response:
        try:
            wanted = await self._read(request)
        except BadRequestError as error:
            return _error(400, str(error))
        given = wanted.get("input", "")
        texts = given if isinstance(given, list) else [given]
        counted = sum(_count(str(text)) for text in texts)
        async for _ in self._batcher.generate(prompt_tokens=max(1, counted), output_tokens=1):
            pass
        data = [{"object": "embedding", "index": i, "embedding": _vector(str(text))} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": counted, "total_tokens": counted}
        return JSONResponse({"object": "list", "data": data, "model": self._model_id, "usage": usage})

    async def _models(self, _: Request) -> Response:
        card = {"id": self._model_id, "object": "model", "created": 0, "owned_by": FINGERPRINT}
        return JSONResponse({"object": "list", "data": [card]})

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("simulated")

    async def _load(self, _: Request) -> Response:
        """Answer as vLLM does: requests in the engine."""
        load = self._batcher.load()
        return JSONResponse({"server_load": load.running + load.waiting})

    async def _read(self, request: Request) -> dict[str, Any]:
        try:
            wanted = json.loads(await request.body())
        except ValueError:
            msg = "the body is no JSON"
            raise BadRequestError(msg) from None
        if not isinstance(wanted, dict):
            msg = "the body is no JSON object"
            raise BadRequestError(msg)
        model = wanted.get("model", self._model_id)
        if model != self._model_id:
            msg = f"model {model!r} is not served here; {self._model_id!r} is"
            raise BadRequestError(msg)
        return wanted


class _Envelope:
    """OpenAI's JSON around filler words."""

    def __init__(self, *, chat: bool, model: str, prompt_tokens: int, wanted: dict[str, Any]) -> None:
        self._chat = chat
        self._prompt_tokens = prompt_tokens
        self._with_usage = bool((wanted.get("stream_options") or {}).get("include_usage"))
        self._id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        self._common = {"created": int(time.time()), "model": model, "system_fingerprint": FINGERPRINT}  # noqa: TID251
        kind = "chat.completion.chunk" if chat else "text_completion"
        self._chunk = {"id": self._id, "object": kind, **self._common}

    async def stream(self, generating: AsyncIterator[int]) -> AsyncIterator[bytes]:
        head, tail = self._around_the_word()
        produced = 0
        async for new in generating:
            produced += new
            yield head + " ".join(["token"] * new).encode() + tail
        yield self._event([self._choice("", "length")])
        if self._with_usage:
            yield self._event([], usage=self._usage(produced))
        yield b"data: [DONE]\n\n"

    def whole(self, produced: int) -> dict[str, Any]:
        text = "token " * produced
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length", "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        kind = "chat.completion" if self._chat else "text_completion"
        body = {"id": self._id, "object": kind, **self._common, "choices": [choice]}
        return body | {"usage": self._usage(produced)}

    def _around_the_word(self) -> tuple[bytes, bytes]:
        """Serialise a chunk once; only the word in it differs from token to token."""
        head, _, tail = self._event([self._choice("\x00 ", None)]).partition(b"\\u0000")
        return head, tail

    def _choice(self, text: str, reason: str | None) -> dict[str, Any]:
        content: dict[str, Any] = {"delta": {"content": text}} if self._chat else {"text": text}
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return f"data: {json.dumps(self._chunk | {'choices': choices} | more)}\n\n".encode()

    def _usage(self, produced: int) -> dict[str, int]:
        prompt = self._prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": produced, "total_tokens": prompt + produced}


def prompt_tokens(wanted: dict[str, Any], *, chat: bool) -> int:
    """Count the prompt's tokens, four characters each. Raises BadRequestError when there is none."""
    if not chat:
        return max(1, _count(str(wanted.get("prompt", ""))))
    messages = wanted.get("messages")
    if not isinstance(messages, list) or not messages:
        msg = "messages is missing; give a list of {role, content}"
        raise BadRequestError(msg)
    return max(1, sum(_count(str(message.get("content", ""))) for message in messages if isinstance(message, dict)))


def _tokens_wanted(wanted: dict[str, Any]) -> int:
    given = wanted.get("max_completion_tokens") or wanted.get("max_tokens") or _DEFAULT_TOKENS
    if not isinstance(given, int) or given < 1:
        msg = f"max_tokens is {given!r}; give a whole number from 1"
        raise BadRequestError(msg)
    return given


def _count(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)


def _vector(text: str) -> list[float]:
    source = random.Random(text)  # noqa: S311 - no secret: the same text gives the same vector
    return [source.gauss(0.0, 1.0) for _ in range(_EMBEDDING_SIZE)]


def _error(status: int, message: str) -> JSONResponse:
    body = {"error": {"message": message, "type": "invalid_request_error" if status < 500 else "server_error"}}  # noqa: PLR2004
    return JSONResponse(body, status_code=status)
