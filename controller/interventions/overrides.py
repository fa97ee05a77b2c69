"""The overrides in force: begun, renewed and ended by people and alerts, kept in the store."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from controller.codec import dump_override, load_override
from controller.domain.identity import DeploymentId
from controller.domain.override import Override, OverrideAction
from controller.errors import BadInputError
from controller.policy.model import Policy
from controller.ports import Clock, Shelf, StoreError

KIND = "override"
"""What overrides are called on a shelf."""

_MOST_REASON_CHARACTERS = 500
_LEAST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asks for. ``for_s`` seconds from now; ``key`` tells a renewal from a second one."""

    action: OverrideAction
    deployment: DeploymentId | None
    for_s: float
    owner: str
    reason: str
    replicas: int = 0
    key: str = ""


class OverrideBoard:
    """Holds what is in force. A change is stored before it counts, and what is over is forgotten."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        clock: Clock,
        policy: Callable[[], Policy],
        new_id: Callable[[], str] = lambda: f"ov-{secrets.token_hex(4)}",
    ) -> None:
        """Take up what an earlier process left. Raises StoreError."""
        self._shelf = shelf
        self._clock = clock
        self._policy = policy
        self._new_id = new_id
        kept = [load_override(body) for body in shelf.everything(KIND)]
        self._held = {one.id: one for one in kept if one is not None}

    def in_force(self, now: float, /) -> tuple[Override, ...]:
        """Return what is in force at a time, oldest first; forget what is over."""
        for over in [one for one in self._held.values() if one.until <= now]:
            self._forget(over)
        return tuple(sorted(self._held.values(), key=lambda one: one.began_at))

    def begin(self, asked: Request) -> Override:
        """Begin one, or renew the one of the same key.

        Raises:
            BadInputError: it is not within the policy's bounds; says what would be.
            StoreError: it cannot be kept; nothing has begun.

        """
        now, policy = self._clock.now(), self._policy()
        standing = self.in_force(now)
        renewed = next((one for one in standing if asked.key and one.key == asked.key), None)
        problem = _problem(asked, policy) or (None if renewed else _too_many(standing, policy))
        if problem is not None:
            raise BadInputError(problem)
        began_at = now if renewed is None else renewed.began_at
        begun = Override(
            id=self._new_id() if renewed is None else renewed.id,
            action=asked.action,
            deployment=asked.deployment,
            began_at=began_at,
            until=min(now + asked.for_s, began_at + policy.overrides.max_duration_s),
            owner=asked.owner,
            reason=asked.reason,
            replicas=asked.replicas,
            key=asked.key,
        )
        if begun.until <= now:
            msg = f"{begun.id} has been renewed for overrides.max_duration_s ({policy.overrides.max_duration_s:g} s)"
            raise BadInputError(msg)
        self._shelf.put(KIND, begun.id, dump_override(begun))
        self._held[begun.id] = begun
        return begun

    def end(self, name: str) -> Override | None:
        """End one now and return it; None when none of that id is in force. Raises StoreError; then it goes on."""
        found = next((one for one in self.in_force(self._clock.now()) if one.id == name), None)
        if found is None:
            return None
        self._shelf.drop(KIND, found.id)
        del self._held[found.id]
        return replace(found, until=self._clock.now())

    def end_all(self, prefix: str) -> tuple[Override, ...]:
        """End those whose key begins so; see ``end``."""
        found = [one.id for one in self.in_force(self._clock.now()) if one.key.startswith(prefix)]
        return tuple(ended for one in found if (ended := self.end(one)) is not None)

    def bodies(self) -> tuple[bytes, ...]:
        """Return all that are held, as they are stored."""
        return tuple(dump_override(one) for _, one in sorted(self._held.items()))

    def adopt(self, bodies: Sequence[bytes]) -> None:
        """Hold these in place of those held until now, also while they cannot be stored."""
        found = [one for body in bodies if (one := load_override(body)) is not None]
        for gone in set(self._held) - {one.id for one in found}:
            self._forget(self._held[gone])
        self._held = {one.id: one for one in found}
        for one in found:
            with contextlib.suppress(StoreError):
                self._shelf.put(KIND, one.id, dump_override(one))

    def _forget(self, over: Override) -> None:
        """What is over counts no more, whether or not the store can be tidied now."""
        del self._held[over.id]
        try:
            self._shelf.drop(KIND, over.id)
        except StoreError:
            return


def _problem(asked: Request, policy: Policy) -> str | None:
    return _wrong_place(asked, policy) or _wrong_time(asked, policy) or _wrong_amount(asked) or _wrong_words(asked)


def _wrong_place(asked: Request, policy: Policy) -> str | None:
    known = [deployment.id for deployment in policy.deployments]
    if asked.deployment is None or asked.deployment in known:
        return None
    return f"deployment {asked.deployment} is not in the policy; there are {', '.join(map(str, known))}"


def _wrong_time(asked: Request, policy: Policy) -> str | None:
    most = policy.overrides.max_duration_s
    if _LEAST_S <= asked.for_s <= most:
        return None
    return f"for_s is {asked.for_s:g}; expected {_LEAST_S:g} to {most:g} (overrides.max_duration_s in the policy)"


def _wrong_amount(asked: Request) -> str | None:
    raises = asked.action is OverrideAction.RAISE_FLOOR
    if raises and not 1 <= asked.replicas <= 10_000:  # noqa: PLR2004 - the most of limits.max_replicas
        return f"replicas is {asked.replicas}; {asked.action.value} needs 1 to 10000 more than the policy's least"
    if not raises and asked.replicas:
        return f"replicas is given; only {OverrideAction.RAISE_FLOOR.value} takes it"
    return None


def _wrong_words(asked: Request) -> str | None:
    if 1 <= len(asked.reason) <= _MOST_REASON_CHARACTERS and asked.reason.isprintable():
        return None
    return f"reason has {len(asked.reason)} characters; expected one line of 1 to {_MOST_REASON_CHARACTERS}"


def _too_many(standing: Sequence[Override], policy: Policy) -> str | None:
    most = policy.overrides.max_active
    return (
        f"{most} overrides are in force (overrides.max_active in the policy); end one first"
        if len(standing) >= most
        else None
    )
