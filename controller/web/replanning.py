"""Runs what-if plans beside the loop, one at a time, within bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.decisions.what_if import WhatIf, what_if
from controller.loop.thinking import Considered
from controller.policy.load import LoadedPolicy, parse_policy

LONGEST_S = 10.0

_NAME = Path("policy")


class BusyError(Exception):
    """Another plan is being made, or this one takes too long."""


class Replanning:
    """One plan at a time. One that takes too long is not waited for, and keeps the place until it ends."""

    def __init__(self, *, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._under_way: asyncio.Future[tuple[LoadedPolicy, WhatIf]] | None = None

    async def plan(self, considered: Considered, text: bytes) -> tuple[LoadedPolicy, WhatIf]:
        """Plan with the policy that ``text`` is.

        Raises:
            BadInputError: it is no valid policy.
            BusyError: another one is under way, or this one took too long.

        """
        if self._under_way is not None and not self._under_way.done():
            msg = "another plan is being made; try again in a few seconds"
            raise BusyError(msg)
        self._under_way = asyncio.ensure_future(asyncio.to_thread(_plan, considered, text))
        try:
            return await asyncio.wait_for(asyncio.shield(self._under_way), self._longest_s)
        except TimeoutError:
            msg = f"planning with this policy takes longer than {self._longest_s:g} s and was not waited for"
            raise BusyError(msg) from None


def _plan(considered: Considered, text: bytes) -> tuple[LoadedPolicy, WhatIf]:
    loaded = parse_policy(_NAME, text)
    return loaded, what_if(considered, loaded.policy)
