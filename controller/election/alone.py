"""A controller without others beside it."""

from __future__ import annotations


class Alone:
    """Always leads. The lock on its store keeps a second controller from the same one."""

    term = 0
    standing = "alone"

    def may_act(self) -> bool:
        """Whether it may act: it may."""
        return True
