"""Keeps, and so orders, the nodes of the plan that no worker needs yet, where a cluster autoscaler owns their number.

Its pods, or chunks, ask for whole nodes and give way to any worker. So the cluster autoscaler adds the nodes ahead of
the workers, and keeps them until these come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.actuators.queueing import queueing
from controller.actuators.warm_nodes import warm_nodes
from controller.clients.kubernetes import KubernetesRefusedError
from controller.clients.ray_clusters import RayClusters
from controller.clients.warm_capacity import Warm, WarmCapacityStore
from controller.clients.warm_objects import WarmLever, WarmShape, tolerations_of
from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.domain.pools import NodePool
from controller.errors import UnavailableError
from controller.policy.cluster import ClusterPolicy, WarmCapacity
from controller.ports import Clock, Leadership

QUEUE = "provisioning_request"

_LOOKS, _LOOK_S = 20, 0.1
"""How often, and how many seconds apart, what was given up is looked for."""

_Result = tuple[OutcomeStatus, str]


@dataclass(slots=True)
class _Writing:
    lever: str = ""
    attempts: int = 0


class WarmCapacityActuator:
    """A lever of the node layer. Steps of different pools may be applied at the same time.

    What a step leaves open (``LayerStep.vacant``) is worked out from what was found; ``found`` should then have the
    least workers that the plan wants (``GroupFound.min_workers``), which come in this tick.
    """

    def __init__(
        self,
        *,
        store: WarmCapacityStore,
        ray: RayClusters,
        policy: Callable[[], ClusterPolicy],
        clock: Clock,
        leadership: Leadership,
    ) -> None:
        self._store = store
        self._ray = ray
        self._policy = policy
        self._clock = clock
        self._leadership = leadership

    async def apply(self, step: LayerStep, found: ClusterFound) -> LayerOutcome:
        """Keep so many nodes warm that the pool comes to ``step.wanted``. Failures are returned."""
        started = self._clock.monotonic()
        writing = _Writing()
        try:
            status, detail = await self._outcome(step, found, writing)
        except KubernetesRefusedError as error:
            status, detail = OutcomeStatus.REFUSED, str(error)
        except UnavailableError as error:
            status, detail = OutcomeStatus.FAILED, str(error)
        # A mistake with one pool must not keep the others from theirs.
        except Exception as error:  # noqa: BLE001
            status, detail = OutcomeStatus.FAILED, f"unexpected {type(error).__name__}: {error}"
        return LayerOutcome(
            layer=Layer.NODE,
            name=step.name,
            status=status,
            lever=writing.lever,
            detail=detail,
            attempts=writing.attempts,
            duration_s=self._clock.monotonic() - started,
        )

    async def close(self) -> None:
        """Nothing to release: the client belongs to the caller."""

    async def _outcome(self, step: LayerStep, found: ClusterFound, writing: _Writing) -> _Result:
        policy = self._policy()
        wanted = next((one for one in policy.node_pools if one.name == step.name), None)
        if wanted is None:
            return OutcomeStatus.REFUSED, f"the policy names no pool {step.name}"
        if step.wanted > wanted.pool.max_nodes:
            return OutcomeStatus.REFUSED, f"the policy allows at most {wanted.pool.max_nodes} nodes of {step.name}"
        if any(one.name == step.name and not one.autoscaled for one in found.pools or ()):
            return OutcomeStatus.NOTHING_TO_DO, f"nothing adds nodes to {step.name} by itself; its size is set"
        if wanted.queued:
            return await self._queued(step, found, wanted.pool, policy, writing)
        return await self._warmed(step, found, wanted.pool, policy, writing)

    async def _warmed(
        self, step: LayerStep, found: ClusterFound, pool: NodePool, policy: ClusterPolicy, writing: _Writing
    ) -> _Result:
        pools = [one.pool for one in policy.node_pools]
        groups = [one.group for one in policy.worker_groups]
        nodes = step.vacant
        if nodes is None:
            nodes = warm_nodes(step.wanted, pool, found, pools=pools, groups=groups)
        if nodes is None:
            return OutcomeStatus.REFUSED, "which nodes workers hold is not known, so what else to keep is not either"
        chosen = await self._store.lever(policy.warm_capacity)
        writing.lever = chosen or ""
        stale = await self._stale(step.name, chosen)
        if chosen is None:
            return await self._dropped(stale, writing)
        shape = await self._shape(step.name, pool.gpus_per_node, policy)
        status, detail = await self._kept(chosen, shape, nodes, writing)
        if status is not OutcomeStatus.REFUSED and stale:
            await self._dropped(stale, writing)
        return status, detail

    async def _queued(
        self, step: LayerStep, found: ClusterFound, pool: NodePool, policy: ClusterPolicy, writing: _Writing
    ) -> _Result:
        """Queue for what is missing; a request that waits is asked for once."""
        writing.lever = QUEUE
        to_do = queueing(step.wanted, pool.name, await self._store.queued.read(), found=found)
        if to_do is None:
            return OutcomeStatus.REFUSED, "which nodes there are is not known, so neither is how many are missing"
        if not (to_do.ask or to_do.withdraw or to_do.forget):
            return OutcomeStatus.NOTHING_TO_DO, ""
        if objection := self._not_ours_to_act():
            return OutcomeStatus.REFUSED, objection
        writing.attempts += 1
        if to_do.ask:
            shape = await self._shape(pool.name, pool.gpus_per_node, policy)
            await self._store.queued.ask(shape, nodes=to_do.ask, number=to_do.number)
        for request in (*to_do.withdraw, *to_do.forget):
            await self._store.queued.withdraw(request)
        withdrawn = sum(request.nodes for request in to_do.withdraw)
        return OutcomeStatus.APPLIED, f"queued for {to_do.ask} nodes of {pool.name} more, and {withdrawn} withdrawn"

    async def _kept(self, lever: WarmLever, shape: WarmShape, nodes: int, writing: _Writing) -> _Result:
        live = await self._store.find(lever, shape.pool)
        if live is None and nodes == 0:
            return OutcomeStatus.NOTHING_TO_DO, ""
        same = live is not None and (live.nodes, live.digest) == (nodes, self._store.digest(lever, shape))
        if same:
            return OutcomeStatus.NOTHING_TO_DO, live.trouble if live else ""
        if objection := self._not_ours_to_act():
            return OutcomeStatus.REFUSED, objection
        writing.attempts += 1
        written = await self._store.write(lever, shape, nodes)
        if written.nodes != nodes:
            return OutcomeStatus.FAILED, f"{written.nodes} nodes are kept after {nodes} were asked for"
        before = live.nodes if live else 0
        settled = nodes >= before or await self._settled(lever, shape.pool)
        late = "" if settled else ", and the pods of the others are still there"
        return OutcomeStatus.APPLIED, f"keeps {before} → {nodes} nodes of {shape.pool} warm{late}"

    async def _settled(self, lever: WarmLever, pool: str) -> bool:
        """Wait until what was given up asks for no node any more: workers that come push its pods away.

        A Deployment that has not been seen to be smaller would make these pods again, and they would ask for nodes.
        """
        for look in range(_LOOKS):
            live = await self._store.find(lever, pool)
            if live is None or live.settled:
                return True
            if look + 1 < _LOOKS:
                await self._clock.sleep(_LOOK_S)
        return False

    async def _stale(self, pool: str, chosen: WarmLever | None) -> tuple[Warm, ...]:
        """Return what another lever still keeps, from before the choice changed."""
        return tuple(warm for warm in await self._store.read() if warm.pool == pool and warm.lever is not chosen)

    async def _dropped(self, stale: tuple[Warm, ...], writing: _Writing) -> _Result:
        if stale and (objection := self._not_ours_to_act()):
            return OutcomeStatus.REFUSED, objection
        for warm in stale:
            writing.attempts += 1
            await self._store.remove(warm)
        if not stale:
            return OutcomeStatus.NOTHING_TO_DO, f"warm capacity is {WarmCapacity.OFF}; nodes come when workers wait"
        return OutcomeStatus.APPLIED, f"{', '.join(warm.lever for warm in stale)} removed"

    async def _shape(self, pool: str, gpus: int, policy: ClusterPolicy) -> WarmShape:
        """A whole node, tolerating what the workers tolerate that may run there."""
        live = await self._ray.live()
        able = {group.name for group in policy.worker_groups if not group.node_pools or pool in group.node_pools}
        specs = [
            (group.get("template") or {}).get("spec") or {}
            for group in live.cluster.get("spec", {}).get("workerGroupSpecs") or ()
            if group.get("groupName") in able
        ]
        return WarmShape(pool=pool, pool_label=policy.node_pool_label, gpus=gpus, tolerations=tolerations_of(specs))

    def _not_ours_to_act(self) -> str | None:
        return None if self._leadership.may_act() else f"this process does not lead: {self._leadership.standing}"
