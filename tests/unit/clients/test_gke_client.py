"""The GKE client against a stand-in over HTTP: what is read, and what each failure is called."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controller.clients.gke import GkeBusyError, GkeClient, GkeRefusedError, GkeUnavailableError, checked_endpoint
from controller.domain.cluster import PoolFound
from controller.domain.pools import Accelerator, PoolStatus, Provisioning, TotalBounds, ZoneBounds
from controller.errors import BadInputError, UnavailableError
from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.gke_api import CLUSTER, QUOTA, WAIT, Fault, GkeApi
from controller.simulated_cloud.pools import Pool

ZONES = ("us-central1-a", "us-central1-b")


@pytest.fixture
async def api() -> AsyncIterator[GkeApi]:
    pools = [
        Pool(name="l4", total=(0, 8), zones=ZONES),
        Pool(name="spot", per_zone=(1, 4), zones=ZONES, provisioning="spot", gpus=8),
        Pool(name="fixed", provisioning="reservation"),
    ]
    async with GkeApi(ScaledClock(speed=600), {pool.name: pool for pool in pools}) as started:
        yield started


@pytest.fixture
async def client(api: GkeApi) -> AsyncIterator[GkeClient]:
    built = GkeClient(cluster=CLUSTER, endpoint=api.base_url, anonymous=True, timeout_s=2.0, backoff_s=0.01)
    yield built
    await built.close()


async def test_pools_are_read_with_their_bounds_as_they_are_counted(client: GkeClient) -> None:
    found = [pool.found for pool in await client.pools()]

    l4 = PoolFound(
        name="l4",
        status=PoolStatus.RUNNING,
        autoscaled=True,
        zones=ZONES,
        bounds=TotalBounds(0, 8),
        accelerator=Accelerator("nvidia-l4"),
        gpus_per_node=1,
        provisioning=Provisioning.ON_DEMAND,
    )
    assert {pool.name: pool.bounds for pool in found} == {"fixed": None, "l4": l4.bounds, "spot": ZoneBounds(1, 4)}
    assert found[1] == l4
    assert [pool.provisioning for pool in found] == [
        Provisioning.RESERVATION,
        Provisioning.ON_DEMAND,
        Provisioning.SPOT,
    ]
    assert not found[0].autoscaled


@pytest.mark.parametrize(
    ("status", "seen"), [(2, PoolStatus.RUNNING), (4, PoolStatus.RECONCILING), (6, PoolStatus.ERROR)]
)
async def test_a_pools_status_is_read(api: GkeApi, client: GkeClient, status: int, seen: PoolStatus) -> None:
    api.pools["l4"].status = status

    assert (await client.pool("l4")).found.status is seen


@pytest.mark.filterwarnings("ignore:Unrecognized")
async def test_a_status_that_is_newer_than_this_is_unknown(api: GkeApi, client: GkeClient) -> None:
    api.fail(Fault(body=b'{"name": "l4", "status": 99, "locations": ["a"], "somethingNew": {"x": 1}}'))

    assert (await client.pool("l4")).found.status is PoolStatus.UNKNOWN


async def test_bounds_are_set_in_the_kind_that_they_have_and_nothing_else_of_the_pool_changes(
    api: GkeApi, client: GkeClient
) -> None:
    api.pools["l4"].location_policy = 2

    operation = await client.set_bounds(await client.pool("l4"), TotalBounds(3, 8))

    assert (operation.pool, operation.done) == ("l4", False)
    assert api.writes[-1][1]["autoscaling"] == {
        "enabled": True,
        "locationPolicy": 2,
        "totalMinNodeCount": 3,
        "totalMaxNodeCount": 8,
    }
    await api.idle()
    assert (await client.operation(operation.name)).done
    assert (await client.pool("l4")).found.bounds == TotalBounds(3, 8)


async def test_size_is_set_by_zone(api: GkeApi, client: GkeClient) -> None:
    await client.set_size("fixed", 2)

    assert api.writes[-1][1]["nodeCount"] == 2


async def test_an_operation_tells_its_pool_its_times_and_why_it_failed(api: GkeApi, client: GkeClient) -> None:
    api.fail_next_operation(1, "The zone does not have enough resources available")
    started = await client.set_size("fixed", 2)
    await api.idle()

    ended = await client.operation(started.name)

    assert ended.started_at is not None
    assert ended.ended_at == pytest.approx(ended.started_at + 60, abs=0.01)
    assert [problem.code for problem in ended.problems] == ["GCE_STOCKOUT"]
    assert [one.name for one in await client.operations()] == [started.name]


@pytest.mark.parametrize(
    ("fault", "error", "saying"),
    [
        (Fault(status=400, message=WAIT.format("operation-7")), GkeBusyError, "Please wait"),
        (
            Fault(status=400, message="Cluster is running incompatible operation operation-7."),
            GkeBusyError,
            "in flight",
        ),
        (Fault(status=400, message="No.", reason="CLUSTER_ALREADY_HAS_OPERATION"), GkeBusyError, "in flight"),
        (Fault(status=429, message=QUOTA), GkeBusyError, "concurrent operations quota 5"),
        (Fault(status=400, message="node_count must be positive"), GkeRefusedError, "must be positive"),
        (Fault(status=403, message="Required container.clusters.update"), GkeRefusedError, "service account"),
        (Fault(status=404, message="Not found: l5"), GkeRefusedError, "cluster.gke"),
        (Fault(status=503), GkeUnavailableError, "HTTP 503"),
        (Fault(drop=True), GkeUnavailableError, "cannot be reached"),
        (Fault(hang=True), GkeUnavailableError, "within 0.5 s"),
        (Fault(body=b"<html>a proxy's page"), GkeUnavailableError, "something else"),
    ],
    ids=lambda value: getattr(value, "message", None) if isinstance(value, Fault) else None,
)
async def test_every_failure_is_one_of_three(
    api: GkeApi, fault: Fault, error: type[UnavailableError], saying: str
) -> None:
    client = GkeClient(cluster=CLUSTER, endpoint=api.base_url, anonymous=True, timeout_s=0.5, backoff_s=0.01)
    await client.pools()
    api.fail(fault)

    with pytest.raises(error, match=saying):
        await client.set_size("l4", 1)

    assert len(api.writes) == 1
    await client.close()


async def test_what_gke_names_as_the_time_to_wait_is_kept(api: GkeApi, client: GkeClient) -> None:
    api.fail(Fault(status=429, message=QUOTA, headers={"Retry-After": "17"}))

    with pytest.raises(GkeBusyError) as caught:
        await client.pools()

    assert caught.value.retry_after_s == 17


async def test_reads_are_repeated_and_writes_are_not(api: GkeApi, client: GkeClient) -> None:
    api.fail(Fault(), containing="nodePools", times=2)
    assert len(await client.pools()) == 3
    assert api.reads == 3

    api.fail(Fault(), containing="setSize", times=1)
    with pytest.raises(GkeUnavailableError):
        await client.set_size("l4", 1)
    assert len(api.writes) == 1


async def test_an_api_that_nobody_listens_at_is_unavailable() -> None:
    client = GkeClient(cluster=CLUSTER, endpoint="http://127.0.0.1:1", anonymous=True, backoff_s=0.01)

    with pytest.raises(GkeUnavailableError, match="cannot be reached"):
        await client.pools()

    await client.close()


async def test_without_credentials_it_says_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    client = GkeClient(cluster=CLUSTER)

    with pytest.raises(GkeRefusedError, match="Workload Identity"):
        await client.pools()

    await client.close()


@pytest.mark.parametrize(
    ("endpoint", "anonymous", "saying"),
    [
        (None, True, "FORESERVE_GKE_ENDPOINT"),
        ("http://10.0.0.3", False, "not sent over http"),
        ("https://u:p@container.googleapis.com", False, "expected one like"),
        ("container.googleapis.com", False, "expected one like"),
        ("https://container.googleapis.com/v1/projects", False, "expected one like"),
    ],
)
def test_an_address_that_will_not_do_is_refused(endpoint: str | None, *, anonymous: bool, saying: str) -> None:
    with pytest.raises(BadInputError, match=saying):
        checked_endpoint(endpoint, anonymous=anonymous)
