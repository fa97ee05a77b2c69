"""One thing that is wrong in a policy file, and how a list of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Where a value stands: mapping keys and list positions from the top of the file."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault. ``line`` and ``column`` count from 1; both are 0 when the fault has no place in the file."""

    line: int
    column: int
    where: str
    wrong: str
    right: str

    def describe(self, source: object) -> str:
        """Say it in one line, with the place in ``source``, as ``file:line:column: key: wrong; right``."""
        place = f"{source}:{self.line}:{self.column}" if self.line else str(source)
        where = f"{self.where}: " if self.where else ""
        return f"{place}: {where}{self.wrong}; {self.right}"


class DocumentError(Exception):
    """A file that holds no usable YAML, with every fault that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.wrong for problem in problems))
        self.problems = tuple(problems)


def dotted(path: KeyPath) -> str:
    """Write a path the way people do: ``deployments[0].limits.max_replicas``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
