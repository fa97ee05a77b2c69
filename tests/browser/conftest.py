"""A real browser: the distribution's Chromium, driven by Playwright. Without one these tests are skipped."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(120))
            if BROWSER is None:
                item.add_marker(pytest.mark.skip(reason="chromium is not installed: run make setup"))


@pytest.fixture
async def browser() -> AsyncIterator[object]:
    """One browser for a test, closed at its end."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed: run make setup")
    async with playwright.async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        await started.close()
