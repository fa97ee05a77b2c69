"""What the simulation's tests share."""

from __future__ import annotations

import pytest

from controller.simulation.cluster import ClusterSpec
from tests.simulated import cluster_of


@pytest.fixture
def cluster() -> ClusterSpec:
    return cluster_of()
