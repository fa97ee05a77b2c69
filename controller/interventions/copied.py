"""A shelf in memory, for a dry run that begins with what a store holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class CopiedShelf:
    """Begins with ``kept`` (bodies by kind); what is written is forgotten with the process."""

    def __init__(self, kept: Mapping[str, Sequence[bytes]] | None = None) -> None:
        self._kept = {
            (kind, str(index)): body for kind, bodies in (kept or {}).items() for index, body in enumerate(bodies)
        }

    def put(self, kind: str, name: str, body: bytes) -> None:
        """Keep one."""
        self._kept[kind, name] = body

    def drop(self, kind: str, name: str) -> None:
        """Remove one, if it is there."""
        self._kept.pop((kind, name), None)

    def everything(self, kind: str) -> Sequence[bytes]:
        """Return all of a kind."""
        return [body for (of, _), body in self._kept.items() if of == kind]
