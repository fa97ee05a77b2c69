"""Waiting for what a busy machine takes longer for."""

from __future__ import annotations

import time
from collections.abc import Callable

from controller.local.calls import RequestFailedError

PATIENCE = 3.0
"""How many times longer than a quiet machine a busy one may take."""


def awaited(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until ``condition`` holds; returns the seconds it took. Ask again what is not answered.

    ``seconds`` is what a quiet machine takes at most; a busy one may take ``PATIENCE`` times that.
    """
    began, unanswered = time.monotonic(), ""
    while True:
        try:
            if condition():
                return time.monotonic() - began
            unanswered = ""
        except RequestFailedError as error:
            unanswered = f"; {error}"
        taken = time.monotonic() - began
        assert taken < PATIENCE * seconds, f"{what}: not within {taken:.0f} s{unanswered}"
        time.sleep(0.3)
