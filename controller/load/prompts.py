"""Prompts of a wanted length, made of common words, no two with the same beginning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_COMMON_WORDS = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by "
    "word but not what all were we when your can said there use an each which she do how their if will up "
    "other about out many then them these so some her would make like him into time has look two more write go "
    "see number no way could people my than first water been call who oil its now find long down day did get "
    "come made may part over new sound take only little work know place year live me back give most very after "
    "thing our just name good sentence man think say great where help through much before line right too mean "
    "old any same tell boy follow came want show also around form three small set put end does another well "
    "large must big even such because turn here why ask went men read need land different home us move try "
    "kind hand picture again change off play spell air away animal house "
)
_WORDS = tuple(_COMMON_WORDS.split())
_POOL_WORDS = 1 << 16
DEFAULT_TOKENS_PER_WORD = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScale:
    """How many prompt tokens words become: ``overhead + per_word * words``.

    Word counts only approximate tokens, because tokenizers differ: with these words most large
    models need 1.0 to 1.4 tokens per word, and the chat template adds some. ``foreserve load``
    measures both on the server before it starts; the server's own count is in the results.
    """

    per_word: float = DEFAULT_TOKENS_PER_WORD
    overhead: float = 0.0

    def words(self, prompt_tokens: int) -> int:
        """How many words come closest to ``prompt_tokens``, at least one."""
        return max(1, round((prompt_tokens - self.overhead) / self.per_word))


class PromptSource:
    """Makes prompts. The same seed and index always give the same text."""

    def __init__(self, *, seed: int, scale: TokenScale) -> None:
        rng = np.random.default_rng(seed)
        self._pool = [_WORDS[i] for i in rng.integers(len(_WORDS), size=_POOL_WORDS)]
        self._offset = int(rng.integers(_POOL_WORDS))
        self._scale = scale

    def prompt(self, index: int, prompt_tokens: int) -> str:
        """Text of about ``prompt_tokens`` tokens.

        The first words spell ``index``, so that no prompt is a prefix of another and a prefix cache
        has nothing to give; the rest is a slice of a fixed pool of random words.
        """
        words = self._scale.words(prompt_tokens)
        head = _spelled(index)[:words]
        rest = words - len(head)
        start = (self._offset + index * 7919) % _POOL_WORDS
        body = self._pool[start : start + rest]
        while len(body) < rest:
            body = body + self._pool[: rest - len(body)]
        return " ".join(head + body)


def _spelled(index: int) -> list[str]:
    """Write ``index`` in words, least significant digit first: consecutive prompts differ at once."""
    digits = [_WORDS[index % len(_WORDS)]]
    while index := index // len(_WORDS):
        digits.append(_WORDS[index % len(_WORDS)])
    return digits
