"""Users of a cluster with simulated engines, for as long as a test wants them."""

from __future__ import annotations

import asyncio
import threading

from benchmarks.closed_loop import Result, run

_LONGEST_S = 1200
_LAST_ANSWERS_S = 150


class Users:
    """So many clients that each send their next request when the last is answered, until they are told to leave."""

    def __init__(self, url: str, users: int, *, tokens: int = 32) -> None:
        self._over = threading.Event()
        self._found: list[Result] = []
        self._thread = threading.Thread(target=self._ask, args=(url, users, tokens), daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Send no more; each one still reads its answer to the end."""
        self._over.set()

    def answered(self) -> Result:
        """Let them leave, and tell what they saw. Rates in it are meaningless: nobody knew how long they would stay."""
        self.leave()
        self._thread.join(_LAST_ANSWERS_S)
        return self._found[0]

    def _ask(self, url: str, users: int, tokens: int) -> None:
        asking = run(
            [url], model="llama", users=users, seconds=_LONGEST_S, tokens=tokens, prompt=64, over=self._over.is_set
        )
        self._found.append(asyncio.run(asking))
