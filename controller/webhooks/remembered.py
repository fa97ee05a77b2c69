"""What was taken before, for as long as it could come again; survives a restart."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from controller.ports import Clock, Shelf

_MOST = 10_000


class _Entry(BaseModel):
    name: str
    at: float
    value: str


class Remembered:
    """Values by name, each for ``for_s`` seconds after it was put; the newest 10,000."""

    def __init__(self, shelf: Shelf, kind: str, *, for_s: float, clock: Clock) -> None:
        """Take up what an earlier process left. Raises StoreError."""
        self._shelf = shelf
        self._kind = kind
        self._for_s = for_s
        self._clock = clock
        kept = sorted((one for one in map(_read, shelf.everything(kind)) if one), key=lambda one: one.at)
        self._entries = {one.name: one for one in kept}

    def get(self, name: str) -> str | None:
        """Return the value of a name that is still remembered."""
        found = self._entries.get(name)
        return None if found is None or found.at <= self._clock.now() - self._for_s else found.value

    def put(self, name: str, value: str) -> None:
        """Remember a value from now on; forget what is too old. Raises StoreError."""
        entry = _Entry(name=name, at=self._clock.now(), value=value)
        self._shelf.put(self._kind, name, entry.model_dump_json().encode())
        self._entries.pop(name, None)
        self._entries[name] = entry
        oldest = entry.at - self._for_s
        while self._entries and (len(self._entries) > _MOST or next(iter(self._entries.values())).at <= oldest):
            gone = next(iter(self._entries))
            self._shelf.drop(self._kind, gone)
            del self._entries[gone]


def _read(body: bytes) -> _Entry | None:
    try:
        return _Entry.model_validate_json(body)
    except ValidationError:
        return None
