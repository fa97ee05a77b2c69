"""A real API server that refuses, fails, or answers into the void: what is left and who leads stays known."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import structlog

from controller.actuators import ray_cluster
from controller.actuators.ray_cluster import RayClusterActuator
from controller.clients.kubernetes import Json, KubernetesClient, KubernetesRefusedError, Timing
from controller.clients.kubernetes_config import connection
from controller.clients.warm_capacity import WarmCapacityStore
from controller.clock import SystemClock
from controller.collectors.cluster import KubernetesObserver
from controller.domain.cluster import ClusterFound, GroupFound, LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.plan import Action, Order, OutcomeStatus
from controller.domain.state import DeploymentMemory, PlannerState
from controller.election.alone import Alone
from controller.election.elector import LeaseElector
from controller.election.terms import Election, Moment, Rules
from controller.errors import UnavailableError
from controller.loop.acting import refuse_unrecorded
from controller.loop.leading import Succession, Term
from controller.policy.cluster import ClusterPolicy
from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Server
from controller.simulated_cloud.proxy import ApiProxy
from controller.store.hand_over import ConfigMapHandOver, HandOverError
from tests.chaos.invariants import BrokenError
from tests.clocks import VirtualClock
from tests.kubernetes_api import HERE, Cluster, available, fresh_namespace, worker_group
from tests.records import CHAT, decision
from tests.reliability import Report

pytestmark = [pytest.mark.kube, pytest.mark.skipif(not available(), reason=HERE)]

RULES = Rules(duration_s=30.0, renew_s=5.0, margin_s=12.0)
STATE = PlannerState(
    deployments=((CHAT, DeploymentMemory(last_set=4, recommendations=((1.0, 4),))),),
    ledger=(Order(id=CHAT, ordered_at=1.0, from_replicas=2, to_replicas=4, deadline=90.0),),
)
LOWERED = decision(current=4, desired=2, action=Action.SCALE_DOWN)


class _Leads:
    term = 1
    standing = "term 1"

    def may_act(self) -> bool:
        return True


@dataclass
class Behind:
    """A client whose every call passes the proxy, and ``cluster``, which is reached past it."""

    proxy: ApiProxy
    client: KubernetesClient
    cluster: Cluster

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    def hand_over(self) -> ConfigMapHandOver:
        return ConfigMapHandOver(client=self.client, namespace=self.namespace, name="foreserve", leadership=_Leads())

    def elector(self, me: str, clock: VirtualClock) -> LeaseElector:
        return LeaseElector(
            client=self.client,
            namespace=self.namespace,
            name="foreserve",
            me=me,
            clock=clock,
            rng=random.Random(1),
            log=structlog.get_logger(),
            rules=RULES,
        )

    async def set_workers(self, least: int) -> LayerOutcome:
        """Set the fewest workers of the group ``l4``, planned from none."""
        ray = replace(self.cluster.ray, client=self.client)
        lever = RayClusterActuator(client=self.client, ray=ray, clock=SystemClock(), leadership=Alone())
        step = LayerStep(layer=Layer.WORKER, name="l4", found=0, wanted=least, up=True, detail="")
        groups = (GroupFound(name="l4", min_workers=0, max_workers=4),)
        return await lever.apply(step, ClusterFound(at=0.0, groups=groups))

    async def edit(self, *operations: Json) -> None:
        """Somebody else writes to the RayCluster."""
        await self.cluster.client.patch(self.cluster.ray.cluster_path("chat-live"), operations)

    async def fewest(self) -> dict[str, int]:
        """Fewest workers of each group, as they are now."""
        found = await self.cluster.client.get(self.cluster.ray.cluster_path("chat-live"))
        return {group["groupName"]: group["minReplicas"] for group in found["spec"]["workerGroupSpecs"]}


@pytest.fixture
async def behind() -> AsyncIterator[Behind]:
    admin = connection()
    async with fresh_namespace() as cluster, ApiProxy(await Server.of_kubeconfig(), ScaledClock()) as proxy:

        async def load() -> Any:
            configuration = await admin.load()
            configuration.host = proxy.url
            return configuration

        timing = Timing(attempts=4, backoff_s=0.02)
        client = KubernetesClient(replace(admin, load=load), clock=SystemClock(), rng=random.Random(1), timing=timing)
        yield Behind(proxy, client, cluster)
        await client.close()


def holds(true: object, otherwise: str) -> None:
    if not true:
        raise BrokenError(otherwise)


async def a_refusal_that_passes(status: int, behind: Behind) -> str:
    behind.proxy.refusals = [status, status, status]

    try:
        await behind.hand_over().publish(STATE, {}, tick=7)
    except UnavailableError as error:
        msg = f"not outlasted: {error}"
        raise BrokenError(msg) from None
    left = await behind.hand_over().take()

    holds(left is not None and (left.state, left.tick) == (STATE, 7), f"left {left}")
    return "left whole"


async def a_refusal_that_lasts(status: int, behind: Behind) -> str:
    hand_over = behind.hand_over()
    succession, term = Succession(_Leads(), hand_over), Term(_Leads(), 1)
    await succession.leave(term, STATE, tick=7)
    behind.proxy.always = status

    told = await succession.leave(term, PlannerState(), tick=8)
    behind.proxy.always = None
    before = await behind.hand_over().take()
    await succession.leave(term, PlannerState(), tick=9)
    after = await behind.hand_over().take()

    holds(told is not None and str(status) in told, f"told {told}")
    holds(refuse_unrecorded([LOWERED], told), "lowered, and the next leader could not know")
    holds(before is not None and (before.state, before.tick) == (STATE, 7), f"left {before}")
    holds(after is not None and after.tick == 9, f"left {after} once it was over")
    return f"says “{str(told).replace(behind.namespace, 'NAMESPACE')}”"


async def a_lost_answer(behind: Behind) -> str:
    hand_over = behind.hand_over()
    await hand_over.publish(PlannerState(), {}, tick=1)
    behind.proxy.lost = 1

    try:
        await hand_over.publish(STATE, {}, tick=2)
    except UnavailableError as error:
        msg = f"its own write was taken for another's: {error}"
        raise BrokenError(msg) from None
    left = await behind.hand_over().take()
    await hand_over.publish(PlannerState(), {}, tick=3)
    later = await behind.hand_over().take()

    holds(left is not None and (left.state, left.tick) == (STATE, 2), f"left {left}")
    holds(later is not None and later.tick == 3, f"left {later} afterwards")
    return "the state of that tick"


async def a_lease_that_cannot_be_renewed(status: int, behind: Behind) -> str:
    clock = VirtualClock(1_000.0)
    first, second = behind.elector("first", clock), behind.elector("second", clock)
    await first.attempt()
    await second.attempt()
    behind.proxy.always = status
    held_s = 0.0

    for _ in range(8):
        clock.advance(5.0)
        await first.attempt()
        await second.attempt()
        holds(not (first.may_act() and second.may_act()), "two led at once")
        held_s += 5.0 * first.may_act()
    behind.proxy.always = None
    await first.attempt()
    await second.attempt()

    holds(held_s < RULES.duration_s, f"led on for {held_s:g} s of {RULES.duration_s:g} s")
    holds(first.may_act() != second.may_act(), "nobody leads, or two do, once it is over")
    return f"led on for {held_s:g} s of {RULES.duration_s:g} s"


async def another_takes_the_lease_first(behind: Behind) -> str:
    """Both see a lease that is free; the API server answers 409 to the one that writes second."""
    clock = VirtualClock(1_000.0)
    first, second = behind.elector("first", clock), behind.elector("second", clock)
    await first.attempt()
    await first.release()
    behind.proxy.meanwhile = first.attempt

    await second.attempt()
    leading = [one for one in (first, second) if one.may_act()]
    statuses = [write.status for write in behind.proxy.writes]
    await second.attempt()

    holds(len(leading) == 1, f"{len(leading)} lead after both wrote ({statuses})")
    holds(leading == [first] and first.may_act() and not second.may_act(), "the one that wrote first does not lead")
    holds(statuses[-1] == 409, f"the API server said {statuses}")
    return "the second writer got 409 and waits"


async def the_lease_conflicts_with_a_renewal(behind: Behind) -> str:
    """The holder's renewal is answered 409, as when the object was touched by somebody: it looks again."""
    clock = VirtualClock(1_000.0)
    first = behind.elector("first", clock)
    await first.attempt()
    behind.proxy.refused_writes = [409]
    clock.advance(5.0)

    await first.attempt()
    during = first.may_act()
    clock.advance(5.0)
    await first.attempt()

    holds(not during, "led on although somebody else wrote the lease")
    holds(first.may_act(), "does not lead again, though the lease is its own")
    return "did not act until it had read the lease again"


async def groups_move_in_the_list(behind: Behind) -> str:
    """A JSON patch names a group by its place; somebody adds a group before it between look and write."""
    await behind.cluster.ray_cluster()
    added: Json = {"op": "add", "path": "/spec/workerGroupSpecs/0", "value": worker_group("other")}
    behind.proxy.meanwhile = partial(behind.edit, added)

    outcome = await behind.set_workers(2)

    found = await behind.fewest()
    holds(found["other"] == 0, f"another group was set: {found}")
    holds(found == {"other": 0, "l4": 2} and outcome.status is OutcomeStatus.APPLIED, f"{found}: {outcome}")
    return f"set on attempt {outcome.attempts}, the other group untouched"


async def a_person_sets_the_bounds_first(behind: Behind) -> str:
    await behind.cluster.ray_cluster()
    edited: Json = {"op": "replace", "path": "/spec/workerGroupSpecs/0/minReplicas", "value": 3}
    behind.proxy.meanwhile = partial(behind.edit, edited)

    outcome = await behind.set_workers(2)

    found = await behind.fewest()
    holds(found == {"l4": 3}, f"a person's bounds were overwritten: {found}")
    holds(outcome.status is OutcomeStatus.REFUSED, f"{outcome}")
    return f"{outcome.status}: {outcome.detail.split(': ')[-1]}"


async def a_patch_meets_another_write(behind: Behind) -> str:
    await behind.cluster.ray_cluster()
    behind.proxy.refused_writes = [409]

    outcome = await behind.set_workers(2)

    found = await behind.fewest()
    holds(found == {"l4": 2} and outcome.status is OutcomeStatus.APPLIED, f"{found}: {outcome}")
    return f"set on attempt {outcome.attempts}"


async def a_list_expires_between_its_pages(behind: Behind) -> str:
    path = f"/api/v1/namespaces/{behind.namespace}/configmaps"
    for number in range(3):
        metadata = {"name": f"m{number}", "labels": {"read": "in-pages"}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await behind.cluster.client.create(path, body)
    whole = (await behind.cluster.client.list(path, labels="read=in-pages")).items
    behind.proxy.refusals = [None, 410]

    try:
        listed = await behind.client.list(path, labels="read=in-pages")
    except UnavailableError as error:
        msg = f"not begun again: {error}"
        raise BrokenError(msg) from None

    names = [[one["metadata"]["name"] for one in items] for items in (whole, listed.items)]
    holds(names[0] == names[1], f"listed {names[1]} of {names[0]}")
    return f"listed all {len(listed.items)} after {len(behind.proxy.reads)} requests"


@dataclass(frozen=True)
class Fault:
    """``lived_through`` raises BrokenError when what must hold does not; ``guard`` is what holds it, and without it."""

    name: str
    what_holds: str
    recovery: str
    lived_through: Callable[[Behind], Awaitable[str]]
    guard: tuple[str, object]


async def _last_write_wins(client: KubernetesClient, path: str, body: Json) -> Json:
    while True:
        newest = await client.get(path)
        version = newest["metadata"]["resourceVersion"]
        with suppress(KubernetesRefusedError):
            versioned = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
            return await client._call("PUT", path, body=versioned)


async def _anybodys(*_: object) -> Json:
    msg = "it was written by somebody else since"
    raise HandOverError(msg)


def _as_long_as_nobody_objects(election: Election, _now: Moment) -> float:
    mine = election.lease is not None and election.lease.holder == election.me
    return math.inf if mine else 0.0


async def _all_pages_or_none(client: KubernetesClient, path: str, *, labels: str = "") -> object:
    return await client._pages(path, 20_000, {"labelSelector": labels})


_published, _operations = ConfigMapHandOver.publish, ray_cluster._operations


async def _said_to_be_published(hand_over: ConfigMapHandOver, *given: Any, **named: Any) -> None:
    with suppress(UnavailableError):
        await _published(hand_over, *given, **named)


def _untested(*given: Any) -> list[Json]:
    return [one for one in _operations(*given) if one["op"] != "test"]


_RETRIES = ("controller.clients.kubernetes._TRANSIENT", frozenset())
_SAID = ("controller.store.hand_over.ConfigMapHandOver.publish", _said_to_be_published)
_OWN_WRITES = ("controller.store.hand_over.ConfigMapHandOver._write_again", _anybodys)
_MARGIN = ("controller.election.elector.certain_s", _as_long_as_nobody_objects)
_VERSIONS = ("controller.clients.kubernetes.KubernetesClient.replace", _last_write_wins)
_OVERTAKEN = ("controller.election.elector.overtaken", lambda election: election)
_TESTS = ("controller.actuators.ray_cluster._operations", _untested)
_AGAIN = ("controller.actuators.ray_cluster._CHANGED", frozenset())
_RELIST = ("controller.clients.kubernetes.KubernetesClient.list", _all_pages_or_none)

FAULTS = [
    *(
        Fault(
            f"{status} three times in a row",
            "the state is left for the next leader",
            "same tick",
            partial(a_refusal_that_passes, status),
            _RETRIES,
        )
        for status in (429, 500, 503)
    ),
    *(
        Fault(
            f"{status} for long",
            "it is told, nothing is lowered meanwhile, what was left stays",
            "next tick",
            partial(a_refusal_that_lasts, status),
            _SAID,
        )
        for status in (429, 500, 503)
    ),
    Fault("a write's answer is lost", "what was written counts", "same tick", a_lost_answer, _OWN_WRITES),
    *(
        Fault(
            f"{status} to every renewal of the lease",
            "the lead ends before the lease does; nobody else leads meanwhile; never two",
            "next attempt",
            partial(a_lease_that_cannot_be_renewed, status),
            _MARGIN,
        )
        for status in (429, 503)
    ),
    Fault(
        "two take a free lease at once (409 to the second)",
        "one leads",
        "next attempt",
        another_takes_the_lease_first,
        _VERSIONS,
    ),
    Fault(
        "409 to a renewal of the lease",
        "the holder does nothing until it has read who holds it",
        "next attempt",
        the_lease_conflicts_with_a_renewal,
        _OVERTAKEN,
    ),
    Fault(
        "worker groups change places between look and write (422 to the patch)",
        "only the group that is meant is set",
        "same tick",
        groups_move_in_the_list,
        _TESTS,
    ),
    Fault(
        "a person sets a group's bounds between look and write (422 to the patch)",
        "they stay; the plan is made anew",
        "next tick",
        a_person_sets_the_bounds_first,
        _TESTS,
    ),
    Fault("409 to a patch", "it is tried again from a fresh look", "same tick", a_patch_meets_another_write, _AGAIN),
    Fault(
        "410 in the midst of a list",
        "a list is whole or not believed",
        "same tick",
        a_list_expires_between_its_pages,
        _RELIST,
    ),
]
_IDS = [fault.name for fault in FAULTS]


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.clients.kubernetes._PAGE", 2)


@pytest.mark.parametrize("fault", FAULTS, ids=_IDS)
async def test_what_is_left_and_who_leads_stays_known(fault: Fault, behind: Behind, report: Report) -> None:
    observed = await fault.lived_through(behind)

    report(f"API server: {fault.name}", fault.what_holds, observed, fault.recovery)


@pytest.mark.parametrize("fault", FAULTS, ids=_IDS)
async def test_the_guard_is_what_holds(fault: Fault, behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*fault.guard)

    with pytest.raises(BrokenError):
        await fault.lived_through(behind)


async def test_no_watch_can_be_lost_since_there_is_none(behind: Behind, report: Report) -> None:
    """The controller lists what it needs in every tick: what it knows is never older than its last look."""
    await behind.cluster.ray_cluster()
    pool = {"accelerator": "nvidia-l4", "gpus_per_node": 1, "zones": ["a"], "bounds": {"max_nodes": 4}}
    group = {"accelerator": "nvidia-l4", "gpus_per_worker": 1, "max_workers": 4}
    policy = ClusterPolicy.model_validate(
        {"worker_groups": [{"name": "l4", **group}], "node_pools": [{"name": behind.cluster.pool("gpu"), **pool}]}
    )
    observer = KubernetesObserver(
        client=behind.client,
        ray=replace(behind.cluster.ray, client=behind.client),
        policy=lambda: policy,
        warm=WarmCapacityStore(client=behind.client, namespace=behind.namespace, clock=SystemClock()),
    )
    elector = behind.elector("first", VirtualClock(1_000.0))
    await elector.attempt()
    await behind.hand_over().publish(STATE, {}, tick=1)

    before = await observer.observe(1.0)
    behind.proxy.gone = True
    during = await observer.observe(2.0)
    behind.proxy.gone = False
    after = await observer.observe(3.0)

    assert before.groups is not None
    assert during.groups is None
    assert during.nodes is None
    assert "cannot be reached" in during.problems[0]
    assert (after.groups, after.nodes, after.problems) == (before.groups, before.nodes, ())
    assert not [path for path in behind.proxy.reads if "watch" in path]
    report(
        "API server: watch gone, every connection closed",
        "nothing to miss: the controller lists in every tick and watches nothing; what cannot be listed is unknown",
        f"{len(behind.proxy.reads)} reads, no watch among them; nodes and groups unknown while it lasted",
        "next tick",
    )
