"""Lead time from the best source there is."""

import pytest

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.reading import Known, Unknown
from controller.domain.snapshot import StartupSample
from controller.domain.state import DeploymentMemory
from controller.planner.lead import lead_time, recent_starts
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

    kept = recent_starts(memory, observed)

    assert len(kept) == 20
    assert kept[-1] == 99
    assert kept[0] == 1
