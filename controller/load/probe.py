"""Two tiny requests before a run: is the model there, and how many tokens do words become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from controller.errors import BadInputError, UnavailableError
from controller.load.prompts import PromptSource, TokenScale
from controller.load.target import Target

_WORDS = (16, 80)
_MAX_BODY = 1_000_000


async def probe(target: Target, session: aiohttp.ClientSession, *, seed: int) -> TokenScale | None:
    """Send two tiny requests and read the server's token counts off them; None if it gives none.

    Raises:
        UnavailableError: nothing answers, or it refuses.
        BadInputError: the model is not served there.

    """
    prompts = PromptSource(seed=seed, scale=TokenScale(per_word=1.0))
    counts = [await _prompt_tokens(target, session, prompts.prompt(index, words)) for index, words in enumerate(_WORDS)]
    few, many = counts
    if few is None or many is None or many <= few:
        return None
    per_word = (many - few) / (_WORDS[1] - _WORDS[0])
    return TokenScale(per_word=per_word, overhead=max(0.0, few - per_word * _WORDS[0]))


async def _prompt_tokens(target: Target, session: aiohttp.ClientSession, prompt: str) -> int | None:
    body = target.chat_body(prompt, max_tokens=1, stream=False)
    timeout = aiohttp.ClientTimeout(total=min(60.0, target.timeout_s))
    try:
        async with session.post(target.chat_url, data=body, headers=target.headers, timeout=timeout) as response:
            answer = await response.content.read(_MAX_BODY)
    except (aiohttp.ClientError, TimeoutError) as exc:
        msg = f"{target.chat_url} does not answer: {exc or type(exc).__name__}"
        raise UnavailableError(msg) from exc
    text = answer[:300].decode("utf-8", errors="replace")
    if response.status == 404:  # noqa: PLR2004
        msg = f"{target.chat_url} does not serve the model {target.model!r}: {text}"
        raise BadInputError(msg)
    if response.status != 200:  # noqa: PLR2004
        msg = f"{target.chat_url} answered {response.status} to a first request: {text}"
        raise UnavailableError(msg)
    return _usage(answer)


def _usage(answer: bytes) -> int | None:
    try:
        usage: Mapping[str, Any] = json.loads(answer)["usage"]
        return int(usage["prompt_tokens"])
    except (ValueError, KeyError, TypeError):
        return None
