"""Stands for election by a Lease (``coordination.k8s.io/v1``), as long as it runs."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from structlog.typing import FilteringBoundLogger

from controller.clients.kubernetes import Json, KubernetesClient, KubernetesRefusedError
from controller.election.terms import (
    Election,
    Lease,
    Moment,
    Move,
    Rules,
    certain_s,
    next_move,
    overtaken,
    see,
    term,
    written,
)
from controller.errors import UnavailableError
from controller.ports import Clock

_JITTER = 0.2
_RELEASED_S = 1


def identity() -> str:
    """Name this process among candidates: its host, which in a pod is the pod's name, and a random part."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


class LeaseElector:
    """Leads while it holds the lease ``namespace/name``; ``me`` must be another one in every process.

    It asks in the background. ``may_act`` only looks at what is known, so that the loop can ask before each write.
    """

    def __init__(
        self,
        *,
        client: KubernetesClient,
        namespace: str,
        name: str,
        me: str,
        clock: Clock,
        rng: random.Random,
        log: FilteringBoundLogger,
        rules: Rules | None = None,
    ) -> None:
        self._client = client
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._clock = clock
        self._rng = rng
        self._log = log
        self._election = Election(me=me, rules=rules or Rules())
        self._document: Json | None = None
        self._problem: str | None = None
        self._led = False

    def may_act(self) -> bool:
        """Whether the lease is held, and will be until what is begun now has ended."""
        return certain_s(self._election, self._now()) > 0.0

    @property
    def term(self) -> int:
        """How often the lease changed hands."""
        return term(self._election)

    @property
    def standing(self) -> str:
        """Who leads, and what is wrong, in one sentence."""
        lease = self._election.lease
        if self.may_act():
            return f"leads (term {self.term})"
        trouble = f"; {self._problem}" if self._problem else ""
        if lease is None or not lease.holder:
            return f"nobody leads{trouble}"
        if lease.holder == self._election.me:
            return f"led, and could not renew in time{trouble}"
        return f"{lease.holder} leads (term {self.term}){trouble}"

    async def run(self, stop: asyncio.Event) -> None:
        """Seek, keep and in the end give up the lease, until ``stop`` is set."""
        while not stop.is_set():
            await self.attempt()
            pause = self._election.rules.renew_s * (1 + self._rng.uniform(-_JITTER, _JITTER))
            waiting = asyncio.ensure_future(stop.wait())
            await asyncio.wait(
                {waiting, asyncio.ensure_future(self._clock.sleep(pause))}, return_when="FIRST_COMPLETED"
            )
            waiting.cancel()
        await self.release()

    async def attempt(self) -> None:
        """Look at the lease once, and do what is to be done about it. Never raises but for cancellation."""
        try:
            await self._move()
            self._problem = None
        except UnavailableError as error:
            self._problem = str(error)
        self._note()

    async def release(self) -> None:
        """Let somebody else begin at once. Nothing is to be begun any more when this is called."""
        if self._document is None or self._election.renewed_at is None:
            return
        self._election = replace(self._election, renewed_at=None)
        try:
            await self._write(holder="", duration_s=_RELEASED_S)
        except UnavailableError as error:
            self._problem = str(error)
        self._note()

    async def _move(self) -> None:
        self._document = await self._client.find(f"{self._leases}/{self._name}")
        now = self._now()
        self._election = see(self._election, _lease(self._document) if self._document else None, now)
        move = next_move(self._election, now)
        if move is Move.WAIT:
            return
        asked_at = self._now()
        try:
            answer = await self._write(holder=self._election.me, duration_s=round(self._election.rules.duration_s))
        except KubernetesRefusedError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            self._election = overtaken(self._election)
            return
        self._document = answer
        self._election = written(self._election, _lease(answer), asked_at=asked_at, now=self._now())

    async def _write(self, *, holder: str, duration_s: int) -> Json:
        """Write over the version that was read, so that of two who try one fails."""
        before = self._document
        spec: dict[str, Any] = dict((before or {}).get("spec") or {})
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if holder and spec.get("holderIdentity") != holder:
            spec["acquireTime"] = stamp
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec |= {"holderIdentity": holder, "leaseDurationSeconds": duration_s, "renewTime": stamp}
        if before is None:
            kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            return await self._client.create(self._leases, {**kind, "metadata": {"name": self._name}, "spec": spec})
        return await self._client.replace(f"{self._leases}/{self._name}", {**before, "spec": spec})

    def _note(self) -> None:
        leads = self.may_act()
        if leads != self._led:
            self._log.info("leadership", leads=leads, standing=self.standing)
        self._led = leads

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.now())


def _lease(document: Json) -> Lease:
    spec = document.get("spec") or {}
    return Lease(
        version=str(document["metadata"]["resourceVersion"]),
        holder=spec.get("holderIdentity") or None,
        duration_s=float(spec.get("leaseDurationSeconds") or 0.0),
        transitions=int(spec.get("leaseTransitions") or 0),
    )
