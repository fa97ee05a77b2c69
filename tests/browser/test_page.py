"""The page in a real browser, beside the real loop on a simulated deployment."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.domain.identity import DeploymentId
from controller.web.shown import Shown
from tests.page_world import TOKEN, PageWorld, page_world, serving, shown_records
from tests.records import CHAT, EMBED, deployment_record, record

NASTY = DeploymentId('<img src=x onerror="document.title=1">', "\"'><script>document.title=2</script>")

_COUNT_UNHIDDEN_ROWS = """() => {
  window.unhidden = 0;
  const watch = new MutationObserver((changes) => {
    for (const { oldValue, target } of changes) if (oldValue !== null && !target.hidden) window.unhidden++;
  });
  const rows = document.querySelector("#fleet tbody");
  watch.observe(rows, { attributeFilter: ["hidden"], attributeOldValue: true, subtree: true });
}"""
_BAND = """() => {
  const pixels = document.querySelector("#plot-demand canvas");
  const drawn = pixels.getContext("2d").getImageData(0, 0, pixels.width, pixels.height).data;
  let sum = 0;
  for (let i = 0; i < drawn.length; i += 4) sum = (31 * sum + drawn[i] + 7 * drawn[i + 2] + 13 * drawn[i + 3]) | 0;
  return sum;
}"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[PageWorld]:
    async with page_world(tmp_path, past_s=300, phase_s=180) as made:
        yield made


@pytest.fixture
async def page(browser: Any) -> AsyncIterator[Any]:
    """A tab in which everything that goes wrong is noted in ``problems``."""
    tab = await browser.new_page(viewport={"width": 1280, "height": 900})
    tab.problems = []
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on("console", lambda said: tab.problems.append(said.text) if said.type == "error" else None)
    yield tab
    assert tab.problems == []


@asynccontextmanager
async def visited(page: Any, shown: Shown) -> AsyncIterator[str]:
    """Serve, and leave before the server ends: whatever a page asks for after that is refused."""
    async with serving(shown) as url:
        yield url
        await page.goto("about:blank")


async def live(page: Any, world: PageWorld) -> None:
    """Open the page and wait until it follows. The second tick that it sees tells it the controller's clock."""
    await page.goto(world.url)
    await page.wait_for_selector("#plot-demand canvas")
    await page.wait_for_function("() => document.getElementById('link').className !== 'link dim'")
    await world.run(5)
    await page.wait_for_selector("#link.ok")


async def test_the_band_moves_with_every_tick(world: PageWorld, page: Any) -> None:
    await live(page, world)
    before = await page.evaluate(_BAND)
    tick = await page.inner_text("#tick")

    await world.run(30)
    await page.wait_for_function("old => !document.getElementById('tick').textContent.startsWith(old)", arg=tick[:8])
    await page.wait_for_function(f"old => ({_BAND})() !== old", arg=before)

    newest = world.shown.timeline.record
    assert newest is not None
    await page.wait_for_function("tick => document.getElementById('state').dataset.tick == tick", arg=newest.tick)


async def test_why_the_last_change_happened_is_two_clicks_away(world: PageWorld, page: Any) -> None:
    await live(page, world)
    moved = await page.inner_text("#why .move")

    await page.click("#why")
    await page.wait_for_selector(".stages .binding")

    assert moved.split()[0] in await page.inner_text("h1")
    assert re.search(r"[?&]tick=\d+", page.url)
    assert "set the final number" in await page.inner_text(".stages")
    assert (await page.inner_text("dl.lines >> nth=0")).startswith("Result")
    # The address leads there by itself, and back leads back.
    await page.reload()
    await page.wait_for_selector(".stages .binding")
    await page.go_back()
    await page.wait_for_selector("#plot-demand canvas")


async def test_a_decision_is_opened_from_its_dot_and_by_keys(world: PageWorld, page: Any) -> None:
    await live(page, world)

    await page.keyboard.press("3")
    assert await page.get_attribute('[data-range="3600"]', "aria-pressed") == "true"
    await page.keyboard.press("w")
    await page.wait_for_selector(".stages")
    await page.keyboard.press("u")
    await page.wait_for_selector("#plot-demand canvas")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".stages")


async def test_reasons_are_shown_when_asked_for_and_stay_shown(world: PageWorld, page: Any) -> None:
    await live(page, world)
    held = page.locator("#decisions tr.held")
    assert not await held.first.is_visible()

    await page.click('[data-choice="decisions"] [data-show="all"]')
    await world.run(5)
    await page.wait_for_function(
        "tick => document.getElementById('state').dataset.tick == tick", arg=world.shown.timeline.record.tick
    )

    assert await held.first.is_visible()


async def test_another_policy_is_tried_and_nothing_is_touched(world: PageWorld, page: Any) -> None:
    await live(page, world)
    await page.click("nav >> text=What if")
    await page.wait_for_selector("#policy")
    before = world.world.deployment.serve_state()

    text = await page.input_value("#policy")
    await page.fill("#policy", text.replace("target_ongoing_requests: 4", "target_ongoing_requests: 1"))
    await page.keyboard.press("Control+Enter")
    await page.wait_for_selector(".difference.differs")
    await page.fill("#policy", "version: 2")
    await page.click("text=Plan with this policy")
    await page.wait_for_selector("#answer .notice.bad")

    assert "version" in await page.inner_text("#answer .notice.bad")
    assert await page.input_value("#policy") == "version: 2"
    assert world.world.deployment.serve_state() == before
    page.problems = [one for one in page.problems if "422" not in one]  # the browser notes every refusal


async def test_a_plan_is_approved_with_a_token_and_then_done(tmp_path: Path, page: Any) -> None:
    async with page_world(tmp_path, past_s=120, phase_s=180, approve=True) as world:
        await live(page, world)
        before = len(world.world.deployment.replicas)
        await page.click('[data-answer="approve"]')
        await page.fill("#token-text", "not-the-right-token")
        await page.click("#token >> text=Use it")
        await page.wait_for_function("() => document.getElementById('token-why').textContent.includes('not known')")
        await page.fill("#token-text", TOKEN)
        await page.click("#token >> text=Use it")
        await page.wait_for_selector('[data-answer="approve"]')
        assert len(world.world.deployment.replicas) == before

        await page.click('[data-answer="approve"]')
        await page.wait_for_selector(".proposal.approved")
        await world.run(5)
        await page.wait_for_selector(".proposal.applied")

        assert len(world.world.deployment.replicas) > before
        assert "approved by alice" in await page.inner_text("#decisions")
        page.problems = [one for one in page.problems if "401" not in one]  # the browser notes every refusal
        await page.goto("about:blank")


async def test_what_it_costs_is_told(world: PageWorld, page: Any) -> None:
    await live(page, world)
    await page.click("nav >> text=Cost")
    await page.wait_for_selector("#costs")

    assert "against a fleet at its maximum" in await page.inner_text(".tiles")
    assert "chat/LLMServer:tiny" in await page.inner_text("#costs")


async def test_a_lost_controller_is_said_to_be_lost_and_found_again(page: Any) -> None:
    shown = shown_records(record(at=1000.0))
    async with serving(shown) as url:
        await page.goto(url)
        await page.wait_for_selector("#plot-demand canvas")
        port = int(url.rpartition(":")[2])
    await page.wait_for_selector("#link.bad")
    await page.wait_for_function("() => document.getElementById('link').textContent.startsWith('Disconnected')")
    shown = shown_records(record(at=1000.0), record(tick=8, at=1010.0))
    async with serving(shown, port=port):
        await page.wait_for_function("() => !document.getElementById('link').textContent.startsWith('Disconnected')")
        await page.wait_for_function("() => document.getElementById('state').dataset.tick === '8'")
        await page.goto("about:blank")
    page.problems.clear()  # the browser notes each attempt in vain


async def test_a_tick_that_does_not_come_is_said(page: Any) -> None:
    async with visited(page, shown_records(record(at=1000.0))) as url:
        await page.goto(url)
        await page.wait_for_function("() => document.getElementById('link').textContent.startsWith('No tick for')")

        assert "old" in (await page.get_attribute("body", "class"))


async def test_names_from_outside_run_nothing(page: Any) -> None:
    entries = (deployment_record(NASTY), deployment_record(EMBED), deployment_record(CHAT))
    shown = shown_records(record(*entries, degraded=(f"{NASTY} is odd",)))
    async with visited(page, shown) as url:
        await page.goto(url)
        await page.wait_for_selector("#fleet")
        shown.timeline.export(record(*entries, tick=8, at=1010.0))
        await page.wait_for_function("() => document.getElementById('state').dataset.tick === '8'")
        await page.click(f"text={NASTY.application}")
        await page.wait_for_selector("#plot-demand canvas")

        assert str(NASTY) in await page.inner_text("h1")
        assert "Foreserve" in await page.title()
        assert await page.locator("main img, main script").count() == 0


async def test_a_deployment_is_found_among_many(page: Any) -> None:
    entries = tuple(deployment_record(DeploymentId(f"app{i}", "LLM")) for i in range(40))
    shown = shown_records(record(*entries))
    async with visited(page, shown) as url:
        await page.goto(url)
        await page.wait_for_selector(".filter:visible")
        await page.keyboard.press("/")
        await page.keyboard.type("app17")

        assert await page.locator("#fleet tbody tr:visible").count() == 1
        # The next tick brings none of the others back, not even for a moment.
        await page.evaluate(_COUNT_UNHIDDEN_ROWS)
        newer = (replace(entry, snapshot=replace(entry.snapshot, target_replicas=4)) for entry in entries)
        shown.timeline.export(record(*newer, tick=8, at=1010.0))
        targets = "[...document.querySelectorAll('#fleet tbody tr')].map((row) => row.cells[3].textContent)"
        await page.wait_for_function(f"() => {targets}.every((target) => target === '4')")
        assert await page.locator("#fleet tbody tr:visible").count() == 1
        assert await page.evaluate("window.unhidden") == 0
        await page.keyboard.press("Escape")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=All deployments")
        assert "app17/LLM" in await page.inner_text("h1")


async def test_light_and_dark_are_kept(page: Any) -> None:
    async with visited(page, shown_records(record())) as url:
        await page.goto(url)
        await page.wait_for_selector("#theme:visible")
        await page.keyboard.press("t")
        chosen = await page.evaluate("document.documentElement.dataset.theme")
        await page.reload()

        assert await page.evaluate("document.documentElement.dataset.theme") == chosen == "dark"


async def test_without_scripts_the_tables_tell_it(browser: Any, world: PageWorld) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(world.url)

    said = await page.inner_text("main")
    await page.click("#why")

    assert "Last minutes" in said
    assert "Orders and their deadlines" in said
    assert "set the final number" in await page.inner_text(".stages")
    await context.close()


async def test_the_first_paint_is_quick(world: PageWorld, page: Any) -> None:
    await live(page, world)
    painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    for _ in range(3):
        await page.reload()
        await page.wait_for_function(f"() => {painted}")
    await asyncio.sleep(0)

    assert await page.evaluate(painted) < 1000
