"""A pool is used within what the policy and the cloud both allow."""

from __future__ import annotations

from typing import Any

import pytest

from controller.domain.cluster import PoolFound
from controller.domain.pools import PoolBounds, PoolStatus, TotalBounds, ZoneBounds
from controller.planner.placement.live import live_pools
from tests.cluster import H100, L4, pool


def found(**changes: Any) -> PoolFound:
    fields: dict[str, Any] = {
        "name": "l4",
        "status": PoolStatus.RUNNING,
        "autoscaled": True,
        "zones": ("a", "b"),
        "bounds": TotalBounds(0, 10),
    }
    return PoolFound(**{**fields, **changes})


@pytest.mark.parametrize(
    ("policy", "live", "expected"),
    [
        pytest.param(TotalBounds(1, 8), TotalBounds(0, 5), TotalBounds(1, 5), id="live-is-less"),
        pytest.param(TotalBounds(1, 8), TotalBounds(0, 50), TotalBounds(1, 8), id="policy-is-less"),
        pytest.param(TotalBounds(3, 8), TotalBounds(0, 2), TotalBounds(2, 2), id="least-follows-the-most"),
        pytest.param(ZoneBounds(0, 4), ZoneBounds(0, 3), ZoneBounds(0, 3), id="by-zone"),
        pytest.param(TotalBounds(0, 8), ZoneBounds(0, 3), TotalBounds(0, 6), id="live-by-zone"),
        pytest.param(ZoneBounds(0, 4), TotalBounds(0, 5), TotalBounds(0, 5), id="policy-by-zone"),
        pytest.param(TotalBounds(0, 8), None, TotalBounds(0, 8), id="no-live-bounds"),
    ],
)
def test_the_tighter_bound_counts(policy: PoolBounds, live: PoolBounds | None, expected: PoolBounds) -> None:
    (one,) = live_pools([pool(bounds=policy)], [found(bounds=live)]).pools

    assert one.bounds == expected


def test_status_is_taken_over_and_a_pool_that_is_not_there_gets_no_node() -> None:
    live = live_pools([pool("l4"), pool("gone")], [found(status=PoolStatus.ERROR)])

    assert live.pools[0].status is PoolStatus.ERROR
    assert live.pools[1].max_nodes == 0
    assert live.problems == ("the cluster has no node pool gone; create it, or take it out of the policy",)


def test_nothing_read_leaves_the_policy_s_word() -> None:
    assert live_pools([pool()], None).pools == (pool(),)


def test_what_differs_is_told() -> None:
    live = live_pools([pool(accelerator=L4, gpus_per_node=1)], [found(accelerator=H100, gpus_per_node=8)])

    assert len(live.problems) == 2
    assert all("correct the policy" in problem for problem in live.problems)
