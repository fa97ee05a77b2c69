"""The planner's state as the next leader finds it: one ConfigMap, written before anything is done.

Each controller keeps its own records and histories in its own file, and goes on measuring while it does not lead. What
only the leader knows is what it decided: this state, and the ledger in it. It is small, and must not be lost between an
order and its record; so it lies where every controller can read it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import TypeAdapter, ValidationError

from controller.clients.kubernetes import Json, KubernetesClient, KubernetesRefusedError
from controller.codec import dump_state, load_state
from controller.domain.state import PlannerState
from controller.errors import UnavailableError
from controller.ports import Leadership

TERM, TICK = "foreserve.dev/term", "foreserve.dev/tick"

_KEYS = "state", "words"
_WORDS: TypeAdapter[dict[str, tuple[str, ...]]] = TypeAdapter(dict[str, tuple[str, ...]])
_FORMAT, _FORMAT_KEY = "1", "foreserve.dev/format"
_MOST_BYTES = 900_000
"""A ConfigMap holds 1 MiB, with its names."""
_MOST_STATE_BYTES = 64_000_000


class HandOverError(UnavailableError):
    """The state could not be handed over, or what was handed over is not understood."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a leader left: its state as of a tick of its term."""

    state: PlannerState
    term: int
    tick: int
    words: Mapping[str, tuple[bytes, ...]] | None = None
    """What people had said to it, by kind; None where an older version wrote it."""


class ConfigMapHandOver:
    """State in the ConfigMap ``namespace/name``. Of an older term nothing is written over a newer one's."""

    def __init__(self, *, client: KubernetesClient, namespace: str, name: str, leadership: Leadership) -> None:
        self._client = client
        self._namespace = namespace
        self._maps = f"/api/v1/namespaces/{namespace}/configmaps"
        self._name = name
        self._leadership = leadership
        self._last: tuple[bytes, bytes] | None = None
        self._tick = 0
        self._version: str | None = None
        self._one_at_a_time = asyncio.Lock()

    async def publish(self, state: PlannerState, words: Mapping[str, Sequence[bytes]], *, tick: int) -> None:
        """Write the state, and what people said (JSON texts by kind); what is there already is not written again.

        Raises:
            HandOverError: this process does not lead any more, another leader has written since, or it is too large.
            UnavailableError: the API server gives no answer, or refuses.

        """
        async with self._one_at_a_time:
            await self._publish(dump_state(state), _dump_words(words), tick)

    async def leave_words(self, words: Mapping[str, Sequence[bytes]]) -> None:
        """Write what people said since, beside the state as it was last left; raises like ``publish``.

        Where that state is not certain (nothing was left in this term, or the last write failed) nothing is written:
        a state that is too old would do more harm, and the next tick writes both.
        """
        async with self._one_at_a_time:
            if self._last is not None:
                await self._publish(self._last[0], _dump_words(words), self._tick)

    async def _publish(self, state: bytes, words: bytes, tick: int) -> None:
        plain = state, words
        if plain == self._last:
            return
        if not self._leadership.may_act():
            msg = f"this process does not lead: {self._leadership.standing}"
            raise HandOverError(msg)
        packed = {key: zlib.compress(body, 6) for key, body in zip(_KEYS, plain, strict=True)}
        size = sum(map(len, packed.values()))
        if size > _MOST_BYTES:
            msg = (
                f"the state has {size} bytes, and a ConfigMap takes {_MOST_BYTES}; "
                "let a second controller take some of the deployments"
            )
            raise HandOverError(msg)
        body = self._body(packed, tick)
        self._last = None
        try:
            written = await (self._create(body) if self._version is None else self._replace(body))
        except KubernetesRefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                self._version = None
            if error.status != HTTPStatus.CONFLICT:
                raise
            written = await self._write_again(body)
        self._version, self._last, self._tick = str(written["metadata"]["resourceVersion"]), plain, tick

    async def take(self) -> HandedOver | None:
        """Read what the last leader left; None where nobody led yet. To be called once a term, before deciding.

        Raises:
            HandOverError: it is not understood, or belongs to a newer term than ours.
            UnavailableError: the API server gives no answer, or refuses.

        """
        async with self._one_at_a_time:
            return await self._take()

    async def _take(self) -> HandedOver | None:
        found = await self._client.find(f"{self._maps}/{self._name}")
        if found is None:
            self._version = self._last = None
            return None
        self._version, self._last = str(found["metadata"]["resourceVersion"]), None
        if not found.get("binaryData"):
            return None
        left = self._read(found)
        if left.term > self._leadership.term:
            msg = f"the state is of term {left.term}, and ours is {self._leadership.term}: somebody else leads by now"
            self._version = None
            raise HandOverError(msg)
        return left

    async def _write_again(self, body: Json) -> Json:
        """Write over our own write of this term, whose answer was lost; nobody else's. Raises HandOverError."""
        found = await self._client.find(f"{self._maps}/{self._name}")
        notes = {} if found is None else found["metadata"].get("annotations") or {}
        if found is None or notes.get(TERM) != str(self._leadership.term):
            msg = f"ConfigMap {self._namespace}/{self._name} was written by somebody else since: term {notes.get(TERM)}"
            raise HandOverError(msg)
        self._version = str(found["metadata"]["resourceVersion"])
        return await self._replace(body)

    async def _create(self, body: Json) -> Json:
        return await self._client.create(self._maps, body)

    async def _replace(self, body: Json) -> Json:
        versioned = {**body, "metadata": {**body["metadata"], "resourceVersion": self._version}}
        return await self._client.replace(f"{self._maps}/{self._name}", versioned)

    def _body(self, packed: Mapping[str, bytes], tick: int) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self._name,
                "labels": {"app.kubernetes.io/managed-by": "foreserve"},
                "annotations": {TERM: str(self._leadership.term), TICK: str(tick), _FORMAT_KEY: _FORMAT},
            },
            "binaryData": {key: base64.b64encode(body).decode() for key, body in packed.items()},
        }

    def _read(self, found: Json) -> HandedOver:
        notes = found["metadata"].get("annotations") or {}
        if notes.get(_FORMAT_KEY) != _FORMAT:
            reason = f"its format is {notes.get(_FORMAT_KEY)}, not {_FORMAT}"
            raise self._not_understood(reason)
        try:
            plain, *words = [_unpacked(found["binaryData"][key]) for key in _KEYS if key in found["binaryData"]]
            return HandedOver(
                state=load_state(plain),
                term=int(notes[TERM]),
                tick=int(notes[TICK]),
                words=_load_words(words[0]) if words else None,
            )
        except (KeyError, ValueError, TypeError, binascii.Error, zlib.error, ValidationError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise self._not_understood(reason) from None

    def _not_understood(self, reason: str) -> HandOverError:
        where = f"ConfigMap {self._namespace}/{self._name}"
        return HandOverError(f"{where} is not understood ({reason}); delete it to begin from our own memory")


def _unpacked(encoded: str) -> bytes:
    return zlib.decompressobj().decompress(base64.b64decode(encoded, validate=True), _MOST_STATE_BYTES)


def _dump_words(words: Mapping[str, Sequence[bytes]]) -> bytes:
    return _WORDS.dump_json({kind: tuple(body.decode() for body in bodies) for kind, bodies in words.items()})


def _load_words(plain: bytes) -> dict[str, tuple[bytes, ...]]:
    found = _WORDS.validate_json(plain)
    return {kind: tuple(body.encode() for body in bodies) for kind, bodies in found.items()}
