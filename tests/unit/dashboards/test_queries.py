"""Every query of every dashboard, asked of a real Prometheus that scrapes recorded pages of a real service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.panels import annotation_queries, ask, boards, panel_queries, sent
from tests.recorded_prometheus import recorded_prometheus


@pytest.mark.stack
@pytest.mark.timeout(180)
async def test_every_query_returns_data_or_has_its_reason_not_to(tmp_path: Path) -> None:
    """All in one test, because starting Prometheus and waiting for rates takes seconds; longer on a busy machine."""
    expected = [query for query in panel_queries() if query.reason is None]
    async with recorded_prometheus(tmp_path) as url, aiohttp.ClientSession() as session:
        empty = expected
        until = asyncio.get_running_loop().time() + 60
        while empty and asyncio.get_running_loop().time() < until:
            empty = [query for query in empty if not await ask(session, url, query.sent)]
            await asyncio.sleep(1 if empty else 0)
        needless = [
            f"{query.dashboard} / {query.panel}: {query.reason}"
            for query in panel_queries()
            if query.reason is not None and await ask(session, url, query.sent)
        ]
        for board in boards().values():
            for query in annotation_queries(board):
                await ask(session, url, sent(query))

    assert [f"{query.dashboard} / {query.panel}: {query.sent}" for query in empty] == []
    assert needless == [], "these have data: take them off the reasoned list"
