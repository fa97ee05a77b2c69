"""Pools and refusals as GKE tells them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controller.clients.gke import GkeClient
from controller.collectors.node_pools import RECENT_S, REPEAT_S, NodePoolReader
from controller.domain.pools import VerdictKind
from controller.domain.supply import Refusal, SupplyLedger
from controller.planner.supply.ledger import note
from controller.planner.supply.verdicts import verdicts
from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.gke_api import CLUSTER, Fault, GkeApi
from controller.simulated_cloud.pools import STOCKOUT, Pool

ZONES = ("us-central1-a", "us-central1-b")


@pytest.fixture
async def api() -> AsyncIterator[GkeApi]:
    pools = [Pool(name="l4", total=(0, 8), zones=ZONES), Pool(name="spot", total=(0, 4), provisioning="spot")]
    async with GkeApi(ScaledClock(speed=600), {pool.name: pool for pool in pools}) as started:
        yield started


@pytest.fixture
async def reader(api: GkeApi) -> AsyncIterator[NodePoolReader]:
    client = GkeClient(cluster=CLUSTER, endpoint=api.base_url, anonymous=True, timeout_s=2.0, backoff_s=0.01)
    yield NodePoolReader(client=client)
    await client.close()


async def test_what_is_in_flight_on_the_cluster_is_in_flight_for_every_pool(
    api: GkeApi, reader: NodePoolReader
) -> None:
    operation = api.start("l4")

    found = await reader.read(api.clock.now())

    assert found.pools is not None
    assert [pool.operation for pool in found.pools] == [operation.name, operation.name]
    await api.idle()
    after = await reader.read(api.clock.now())
    assert [pool.operation for pool in after.pools or ()] == [None, None]


async def test_a_stock_out_closes_the_zone_that_it_is_about(api: GkeApi, reader: NodePoolReader) -> None:
    api.pools["l4"].conditions.append((1, STOCKOUT.format(pool="l4", zone=ZONES[1])))

    found = await reader.read(1000.0)

    (refusal,) = found.events
    assert isinstance(refusal, Refusal)
    assert (refusal.pool, refusal.zone, refusal.kind, refusal.at) == ("l4", ZONES[1], VerdictKind.STOCKED_OUT, 1000.0)


async def test_a_condition_that_stands_is_one_fact_until_its_first_back_off_is_over(
    api: GkeApi, reader: NodePoolReader
) -> None:
    api.pools["spot"].conditions.append((3, "Quota 'PREEMPTIBLE_L4' exceeded"))

    seen = [await reader.read(1000.0 + second) for second in (0, 10, 299, 300, 599, 610)]

    assert [event.at for found in seen for event in found.events if isinstance(event, Refusal)] == [
        1000.0,
        1000.0,
        1000.0,
        1000.0 + REPEAT_S,
        1000.0 + REPEAT_S,
        1000.0 + 2 * REPEAT_S,
    ]
    ledger = note(SupplyLedger(), [event for found in seen for event in found.events])
    assert [verdict.kind for verdict in verdicts(ledger, now=1610.0)] == [VerdictKind.QUOTA]


async def test_a_condition_that_comes_back_is_a_new_refusal(api: GkeApi, reader: NodePoolReader) -> None:
    api.pools["spot"].conditions.append((3, "Quota exceeded"))
    await reader.read(1000.0)
    api.pools["spot"].conditions.clear()
    assert (await reader.read(1010.0)).events == ()
    api.pools["spot"].conditions.append((3, "Quota exceeded"))

    (refusal,) = (await reader.read(1020.0)).events

    assert isinstance(refusal, Refusal)
    assert refusal.at == 1020.0


async def test_an_operation_that_failed_refuses_at_its_end_for_an_hour(api: GkeApi, reader: NodePoolReader) -> None:
    api.fail_next_operation(1, STOCKOUT.format(pool="spot", zone=ZONES[0]))
    operation = api.start("spot", 14)
    await api.idle()

    found = await reader.read(operation.ends_at + 1)
    later = await reader.read(operation.ends_at + RECENT_S + 1)

    (refusal,) = found.events
    assert isinstance(refusal, Refusal)
    assert (refusal.pool, refusal.kind) == ("spot", VerdictKind.STOCKED_OUT)
    assert refusal.at == pytest.approx(operation.ends_at, abs=0.01)
    assert later.events == ()


@pytest.mark.parametrize("kind", [6, 14])
async def test_another_failure_refuses_nodes_only_if_it_was_about_nodes(
    api: GkeApi, reader: NodePoolReader, kind: int
) -> None:
    api.fail_next_operation(2, "Service account was deleted")
    operation = api.start("spot", kind)
    await api.idle()

    found = await reader.read(operation.ends_at + 1)

    assert [event.kind for event in found.events if isinstance(event, Refusal)] == [VerdictKind.REFUSED] * (kind == 14)


async def test_pools_that_cannot_be_read_are_unknown_and_not_none(api: GkeApi, reader: NodePoolReader) -> None:
    api.fail(Fault(status=403, message="Required container.clusters.get"), containing="nodePools")

    found = await reader.read(1000.0)

    assert found.pools is None
    assert "container.clusters.get" in found.problems[0]


async def test_operations_that_cannot_be_read_are_a_problem_and_pools_are_read_all_the_same(
    api: GkeApi, reader: NodePoolReader
) -> None:
    api.pools["spot"].conditions.append((3, "Quota exceeded"))
    api.fail(Fault(status=403, message="Required container.operations.list"), containing="operations")

    found = await reader.read(1000.0)

    assert [pool.name for pool in found.pools or ()] == ["l4", "spot"]
    assert len(found.events) == 1
    assert "container.operations.list" in found.problems[0]
