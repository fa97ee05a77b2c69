"""One's own class around the engine: what comes in and what goes out passes through one's own code.

Import path ``serving.patterns.custom:build``; the arguments are those of ``serving.llm:build`` and ``instructions``,
a text that stands before every conversation. The engine, direct streaming, metrics and the gate stay as they are: the
class wraps the engine's HTTP application and changes the messages on their way in, and marks the answer.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.args import LLMArgs
from serving.gate import inner_path
from serving.llm import llm_deployment

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class WithInstructions:
    """Puts a system message first, and names itself in the answer's headers."""

    def __init__(self, app: Any, instructions: str) -> None:
        self._app = app
        self._instructions = instructions

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or inner_path(scope) != "/v1/chat/completions":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        body = self.prepared(body)
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        told = False

        async def prepared_body() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-prepared-by", b"serving.patterns.custom")]}
            await send(message)

        await self._app(scope, prepared_body, marked)

    def prepared(self, body: bytes) -> bytes:
        """Return the request with the instructions first; what is no chat is left for the engine to refuse."""
        try:
            wanted = json.loads(body)
            wanted["messages"] = [{"role": "system", "content": self._instructions}, *wanted["messages"]]
        except (ValueError, KeyError, TypeError):
            return body
        return json.dumps(wanted).encode()


def build(args: dict[str, Any]) -> Any:
    """Build the application. Called by Serve with the config's ``args``."""
    instructions = str(args.pop("instructions", "Answer briefly."))
    return llm_deployment(LLMArgs.model_validate(args), around=lambda app: WithInstructions(app, instructions))
