"""Lead time from the best source there is."""

import pytest

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.layer import Layer
from controller.domain.reading import Known, Unknown
from controller.domain.snapshot import StartupSample
from controller.domain.state import DeploymentMemory
from controller.planner.lead import lead_time, with_starts
from tests.planning import policy, seen
from tests.records import CHAT


def lead(starts: tuple[float, ...] = (), *, histogram: float | None = None, assumed: float | None = None) -> LeadTime:
    observed = seen(1, startup_p90_s=Unknown("none") if histogram is None else Known(histogram))
    rules = policy(lead_time={} if assumed is None else {"assumed_s": assumed})
    return lead_time(rules, DeploymentMemory(startup_seconds=starts), observed)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({}, (120, 120, 150, LeadSource.DEFAULT, 0), id="nothing-known"),
        pytest.param({"assumed": 60.0}, (60, 60, 75, LeadSource.POLICY, 0), id="policy"),
        pytest.param({"assumed": 60.0, "histogram": 40.0}, (40, 40, 50, LeadSource.STARTUP_METRICS, 0), id="metrics"),
        pytest.param({"histogram": 40.0, "starts": (30.0,)}, (30, 37.5, 45, LeadSource.MEASURED, 1), id="one-start"),
        pytest.param({"starts": (50.0, 30.0)}, (30, 62.5, 75, LeadSource.MEASURED, 2), id="two-starts"),
        pytest.param(
            {"starts": tuple(float(second) for second in range(20, 0, -1))},
            (10, 18, 19, LeadSource.MEASURED, 20),
            id="order-statistics",
        ),
    ],
)
def test_the_best_source_is_used(arguments: dict[str, float], expected: tuple[object, ...]) -> None:
    found = lead(**arguments)  # type: ignore[arg-type]

    assert (found.p50_s, found.p90_s, found.p95_s, found.source, found.samples) == expected


def test_this_ticks_starts_count_at_once_and_only_the_newest_twenty_are_kept() -> None:
    start = StartupSample(id=CHAT, replica_id="r1", ready_at=1.0, seconds=99.0)
    observed = seen(1, startups=(start,))
    memory = DeploymentMemory(startup_seconds=tuple(float(second) for second in range(20)))

    kept = with_starts(memory, observed, policy()).startup_seconds

    assert len(kept) == 20
    assert kept[-1] == 99
    assert kept[0] == 1


COLD = {"assumed_s": 40, "warm_replicas": 2, "worker_s": 30, "node_s": 200}


def layered(target: int, memory: DeploymentMemory | None = None, **changes: object) -> LeadTime:
    return lead_time(policy(lead_time={**COLD, **changes}), memory or DeploymentMemory(), seen(1, target=target))


def test_replicas_beyond_the_warm_ones_wait_for_worker_and_node() -> None:
    warm, cold = layered(1), layered(2)

    assert (warm.p90_s, [one.layer for one in warm.layers]) == (40, [Layer.REPLICA])
    assert (cold.p90_s, cold.p95_s) == (270, 270 * 1.25)
    assert [(one.layer, one.p90_s, one.source) for one in cold.layers] == [
        (Layer.REPLICA, 40, LeadSource.POLICY),
        (Layer.WORKER, 30, LeadSource.POLICY),
        (Layer.NODE, 200, LeadSource.POLICY),
    ]


def test_the_sum_is_as_certain_as_its_least_certain_layer() -> None:
    measured = DeploymentMemory(startup_seconds=(50.0, 50.0, 50.0))

    assert layered(2, measured).source is LeadSource.POLICY
    assert layered(2, measured, node_s=None).source is LeadSource.DEFAULT
    assert layered(2, measured, node_s=None).p90_s == 50 + 30 + 300
    assert layered(1, measured).source is LeadSource.MEASURED


def test_cold_starts_that_were_watched_replace_the_sum() -> None:
    memory = DeploymentMemory(startup_seconds=(50.0,) * 3, cold_startup_seconds=(240.0,) * 3)

    cold = layered(2, memory)

    assert (cold.p90_s, cold.source, cold.samples) == (240, LeadSource.MEASURED, 3)
    assert [(one.layer, one.p90_s) for one in cold.layers] == [(Layer.REPLICA, 50), (Layer.NODE, 190)]


def test_starts_beyond_the_warm_replicas_are_remembered_apart() -> None:
    starts = tuple(
        StartupSample(id=CHAT, replica_id=f"r{index}", ready_at=float(index), seconds=seconds)
        for index, seconds in enumerate((60.0, 230.0, 50.0))
    )
    observed = seen(1, target=4, startups=tuple(reversed(starts)))

    memory = with_starts(DeploymentMemory(), observed, policy(lead_time=COLD))

    assert memory.startup_seconds == (60.0,)
    assert memory.cold_startup_seconds == (230.0, 50.0)
