"""Every query of every dashboard, asked of a real Prometheus that scrapes recorded pages of a real service."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.panels import annotation_queries, ask, boards, panel_queries, sent
from tests.recorded_prometheus import recorded_prometheus


@pytest.mark.stack
@pytest.mark.timeout(120)
async def test_every_query_returns_data_or_has_its_reason_not_to(tmp_path: Path) -> None:
    """All in one test, because starting Prometheus and waiting for rates takes seconds."""
    async with recorded_prometheus(tmp_path) as url, aiohttp.ClientSession() as session:
        empty, needless = [], []
        for query in panel_queries():
            samples = await ask(session, url, query.sent)
            if not samples and query.reason is None:
                empty.append(f"{query.dashboard} / {query.panel}: {query.sent}")
            if samples and query.reason is not None:
                needless.append(f"{query.dashboard} / {query.panel}: {query.reason}")
        for board in boards().values():
            for query in annotation_queries(board):
                await ask(session, url, sent(query))

    assert empty == []
    assert needless == [], "these have data: take them off the reasoned list"
