from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kubernetes_api import HERE, Cluster, available, fresh_namespace

HOME = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HOME):
            item.add_marker(pytest.mark.kube)
            if not available():
                item.add_marker(pytest.mark.skip(reason=HERE))


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with fresh_namespace() as fresh:
        yield fresh
