"""Sets GKE node pools: the bounds of those with autoscaling, the size of those without.

Slow levers: an operation takes minutes, and only one is in flight on the cluster. What an operation comes to is
followed in the background, so that other decisions do not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from controller.actuators.pool_levers import (
    Lever,
    SetBounds,
    bounds_text,
    changed,
    lever_for,
    untouchable,
    would_remove_used,
)
from controller.actuators.pool_operations import PoolOperations
from controller.clients.gke import GkeBusyError, GkeClient, GkeRefusedError, GkeUnavailableError
from controller.clients.gke_answer import OperationAnswer, PoolAnswer
from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep, PoolFound
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.domain.pools import NodePool
from controller.errors import UnavailableError
from controller.policy.cluster import FloorOf
from controller.ports import Clock, Leadership

Pools = Callable[[str], NodePool | None]
"""The policy's pool by name; None when the policy does not name it."""

BOUNDS, SIZE = "pool_bounds", "pool_size"


@dataclass(frozen=True, slots=True)
class _Result:
    status: OutcomeStatus
    detail: str
    lever: str = ""
    attempts: int = 0


class _StoppedError(Exception):
    """Nothing is written; carries what came of it."""

    def __init__(self, status: OutcomeStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class NodePoolActuator:
    """Sets one pool after the other; a pool whose turn it is not is left for the next plan.

    ``settle_s`` is how long a step waits for its own operation; one that takes longer counts as applied once GKE
    accepted it, and its end is seen by what is read of the cluster.
    """

    def __init__(
        self,
        *,
        client: GkeClient,
        clock: Clock,
        leadership: Leadership,
        pools: Pools,
        operations: PoolOperations,
        floor: FloorOf = FloorOf.POLICY,
        settle_s: float = 3.0,
        deadline_s: float = 30.0,
    ) -> None:
        self._client = client
        self._clock = clock
        self._leadership = leadership
        self._pools = pools
        self._operations = operations
        self._floor = floor
        self._settle_s = settle_s
        self._deadline_s = deadline_s
        self._turn = asyncio.Lock()
        self._set: dict[str, Lever] = {}

    async def apply(self, step: LayerStep, found: ClusterFound) -> LayerOutcome:
        """Set one pool. Failures are returned; only cancellation is raised."""
        started = self._clock.monotonic()
        result = await self._bounded(step, found)
        return LayerOutcome(
            layer=step.layer,
            name=step.name,
            status=result.status,
            lever=result.lever,
            detail=result.detail,
            attempts=result.attempts,
            duration_s=self._clock.monotonic() - started,
        )

    async def close(self) -> None:
        """Stop following the operation in flight. The client belongs to the caller."""
        await self._operations.close()

    async def _bounded(self, step: LayerStep, found: ClusterFound) -> _Result:
        if step.layer is not Layer.NODE:
            return _Result(OutcomeStatus.NOTHING_TO_DO, f"a {step.layer.value} is not a pool's nodes")
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._applied(step, found)
        except TimeoutError:
            return _Result(OutcomeStatus.FAILED, f"not confirmed within {self._deadline_s:g} s")
        except _StoppedError as stopped:
            return _Result(stopped.status, str(stopped))
        except UnavailableError as error:
            refused = isinstance(error, GkeBusyError | GkeRefusedError)
            return _Result(OutcomeStatus.REFUSED if refused else OutcomeStatus.FAILED, str(error))
        # A mistake in one pool must not keep the others from being set.
        except Exception as error:  # noqa: BLE001
            return _Result(OutcomeStatus.FAILED, f"unexpected {type(error).__name__}: {error}")

    async def _applied(self, step: LayerStep, found: ClusterFound) -> _Result:
        pool, seen = self._known(step, found)
        if objection := self._operations.objection(step.name) or untouchable(seen):
            raise _StoppedError(OutcomeStatus.REFUSED, objection)
        async with self._turn:
            # Somebody else's turn may have started an operation meanwhile.
            if objection := self._operations.objection(step.name):
                raise _StoppedError(OutcomeStatus.REFUSED, objection)
            live = await self._live(step.name)
            if objection := untouchable(live.found) or changed(seen, live.found):
                raise _StoppedError(OutcomeStatus.REFUSED, objection)
            lever = lever_for(step, pool, live.found, self._floor)
            if isinstance(lever, str):
                raise _StoppedError(OutcomeStatus.REFUSED, lever)
            self._check(step, lever, live.found, found)
            return await self._write(step, lever, live)

    def _known(self, step: LayerStep, found: ClusterFound) -> tuple[NodePool, PoolFound]:
        pool = self._pools(step.name)
        if pool is None:
            raise _StoppedError(OutcomeStatus.REFUSED, f"the policy names no pool {step.name}")
        if found.pools is None:
            raise _StoppedError(OutcomeStatus.REFUSED, "the cluster's node pools are not known")
        seen = next((one for one in found.pools if one.name == step.name), None)
        if seen is None:
            raise _StoppedError(OutcomeStatus.REFUSED, f"the cluster has no pool {step.name}")
        return pool, seen

    async def _live(self, name: str) -> PoolAnswer:
        """Read the pool and what is in flight right now."""
        pool, listed = await asyncio.gather(self._client.pool(name), self._client.operations())
        flying = next((one.name for one in listed if not one.done), None)
        return replace(pool, found=replace(pool.found, operation=flying))

    def _check(self, step: LayerStep, lever: Lever, live: PoolFound, found: ClusterFound) -> None:
        if _is_so(lever, live, step):
            detail = f"bounds are {lever.text} already" if isinstance(lever, SetBounds) else f"there are {step.found}"
            raise _StoppedError(OutcomeStatus.NOTHING_TO_DO, detail)
        if isinstance(lever, SetBounds):
            if self._set.get(step.name) == lever and step.name not in self._operations.failures():
                detail = (
                    f"bounds were set to {lever.text} and are {bounds_text(live.bounds)}: somebody else sets them "
                    "too; change them back, or the policy"
                )
                raise _StoppedError(OutcomeStatus.REFUSED, detail)
        elif objection := would_remove_used(step, lever, found.nodes):
            raise _StoppedError(OutcomeStatus.REFUSED, f"not made smaller: {objection}")

    async def _write(self, step: LayerStep, lever: Lever, live: PoolAnswer) -> _Result:
        if not self._leadership.may_act():
            raise _StoppedError(OutcomeStatus.REFUSED, f"not the one that acts: {self._leadership.standing}")
        name = BOUNDS if isinstance(lever, SetBounds) else SIZE
        try:
            if isinstance(lever, SetBounds):
                operation = await self._client.set_bounds(live, lever.bounds)
            else:
                operation = await self._client.set_size(step.name, lever.per_zone)
        except GkeBusyError as error:
            self._operations.busy(error)
            return _Result(OutcomeStatus.REFUSED, str(error), name, 1)
        except GkeRefusedError as error:
            self._operations.refused(step.name, str(error))
            return _Result(OutcomeStatus.REFUSED, str(error), name, 1)
        except GkeUnavailableError as error:
            return await self._after_lost_answer(step, lever, name, error)
        return await self._settled(step, lever, name, operation)

    async def _after_lost_answer(self, step: LayerStep, lever: Lever, name: str, lost: GkeUnavailableError) -> _Result:
        """The write may have begun all the same; it is not sent again, only looked for."""
        listed = await self._client.operations()
        begun = [one for one in listed if not one.done and one.pool == step.name]
        if begun:
            return await self._settled(step, lever, name, begun[0])
        live = await self._client.pool(step.name)
        if _is_so(lever, live.found, step):
            return _Result(OutcomeStatus.APPLIED, f"{lever.text}, although the answer was lost", name, 1)
        return _Result(OutcomeStatus.FAILED, str(lost), name, 1)

    async def _settled(self, step: LayerStep, lever: Lever, name: str, operation: OperationAnswer) -> _Result:
        following = self._operations.follow(operation, step.name)
        self._set[step.name] = lever
        await self._wait(following)
        if not following.done():
            return _Result(
                OutcomeStatus.APPLIED, f"{lever.text}: operation {operation.name} is accepted and in flight", name, 1
            )
        if failure := self._operations.failures().get(step.name):
            self._set.pop(step.name)
            return _Result(OutcomeStatus.FAILED, f"operation {operation.name} failed: {failure}", name, 1)
        live = await self._client.pool(step.name)
        if isinstance(lever, SetBounds) and live.found.bounds != lever.bounds:
            detail = f"operation {operation.name} is done, and bounds are {bounds_text(live.found.bounds)}"
            return _Result(OutcomeStatus.FAILED, detail, name, 1)
        left = lever.left if isinstance(lever, SetBounds) else step.wanted - lever.per_zone * lever.zones
        more = f"; {left} more are left to pending pods" if left > 0 else ""
        return _Result(OutcomeStatus.APPLIED, f"{lever.text}{more}", name, 1)

    async def _wait(self, following: asyncio.Task[None]) -> None:
        waiting = asyncio.get_running_loop().create_task(self._clock.sleep(self._settle_s))
        try:
            await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()


def _is_so(lever: Lever, live: PoolFound, step: LayerStep) -> bool:
    if isinstance(lever, SetBounds):
        return live.bounds == lever.bounds
    return step.found == lever.per_zone * lever.zones
