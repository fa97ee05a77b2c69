"""Reads a chat completion stream (server-sent events) at little cost per chunk."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

# Only a quote that opens a key can precede the name: inside generated text it would be escaped.
_TEXT = re.compile(rb'"(?:content|reasoning_content|reasoning)"\s*:\s*"(?!")')
_EMPTY_TEXT = re.compile(rb'"content"\s*:\s*""')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_MAX_LINE_BYTES = 1_000_000
_SHOWN_CHARACTERS = 200


class BadStreamError(Exception):
    """The body is no stream of server-sent events."""


@dataclass(slots=True)
class ChatStream:
    """What a stream has said so far. Feed it bytes as they come, cut anywhere."""

    done: bool = False
    error: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    _rest: bytes = field(default=b"", repr=False)

    def feed(self, data: bytes) -> int:
        """Take in bytes; return how many chunks with a token were in the lines they completed.

        Raises:
            BadStreamError: a line grows beyond 1 MB.

        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _MAX_LINE_BYTES:
            msg = "a line of the stream is longer than 1 MB"
            raise BadStreamError(msg)
        return sum(self._event(line[5:].strip()) for line in lines if line.startswith(b"data:"))

    def _event(self, payload: bytes) -> bool:
        if payload == b"[DONE]":
            self.done = True
            return False
        if b'"error"' in payload and b'"choices"' not in payload:
            self.error = payload.decode("utf-8", errors="replace")[:_SHOWN_CHARACTERS]
            return False
        if b'"prompt_tokens"' in payload:
            self._usage(payload)
        return carries_token(payload)

    def _usage(self, payload: bytes) -> None:
        try:
            usage = json.loads(payload).get("usage") or {}
            self.prompt_tokens = int(usage["prompt_tokens"])
            self.output_tokens = int(usage["completion_tokens"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # usage is a courtesy of the server; chunks are counted anyway


def carries_token(payload: bytes) -> bool:
    """Whether a chunk stands for generated text.

    Text may be empty although a token was generated (half of a multi-byte character). The opening
    chunk, which only names the role, and a closing one without text do not count.
    """
    if _TEXT.search(payload):
        return True
    return bool(_EMPTY_TEXT.search(payload)) and b'"role"' not in payload and not _FINISHED.search(payload)
