"""How the web page fares: 200 deployments with an hour of history, in a real Chromium, beside ticks that go on.

python -m benchmarks.page [--deployments 200] [--ticks 360]

Reports the first paint, what was transferred, long tasks (over 50 ms on the page's main thread) and the longest time
between two frames for each thing that a person does, and what a tick costs the controller.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import psutil
from playwright.async_api import Page, Playwright, async_playwright

from controller.clock import SystemClock
from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Reason
from controller.domain.reading import Known
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.signals import Signal
from controller.domain.snapshot import Latency, ReplicaCounts
from controller.web.overview import overview
from tests.page_world import serving, shown_records
from tests.records import decision, deployment_record, record, snapshot

INTERVAL_S = 10.0
LIVE_TICKS = 6
COLD = 5
CLOCK = SystemClock()

_WATCH = """() => {
  window.seen = { long: [], frames: [], last: performance.now() };
  new PerformanceObserver((list) => window.seen.long.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask", buffered: true });
  const frame = (at) => {
    window.seen.frames.push(at - window.seen.last);
    window.seen.last = at;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
# Playwright marks the functions that it calls, which methods of built-in types do not allow: hence the lambdas.
_TAKE = """() => {
  const { long, frames } = window.seen;
  window.seen.long = [];
  window.seen.frames = [];
  return { long, frames };
}"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def entry(number: int, at: float, tick: int) -> DeploymentRecord:
    """One deployment at one tick: load in waves, replicas that follow, a change now and then."""
    name = DeploymentId(f"app-{number // 10:02d}", f"LLM:model-{number:03d}")
    load = 12 + 10 * math.sin(at / 600 + number) + math.sin(at / 31 * (1 + number % 5))
    replicas = max(1, math.ceil(load / 3))
    changed = (tick + number) % 30 == 0
    base = decision(name)
    forecast = Forecast(
        signal=Signal.ONGOING_REQUESTS,
        at=at,
        horizon_s=60.0,
        quantiles=((0.1, load), (0.5, load + 1), (0.9, load + 3)),
        method="damped_trend",
        history_s=3600.0,
    )
    return deployment_record(
        name,
        snapshot=snapshot(
            name,
            at=at,
            target_replicas=replicas,
            replicas=ReplicaCounts(ready=replicas, starting=int(changed), stopping=0),
            demand={Signal.ONGOING_REQUESTS: Known(load), Signal.REQUESTS: Known(load / 2)},
            latency=Latency(
                ttft_p50_s=Known(0.2), ttft_p95_s=Known(0.8 + 0.02 * load), itl_p50_s=Known(0.01), itl_p95_s=Known(0.02)
            ),
        ),
        decision=replace(
            base,
            current=replicas,
            desired=replicas + int(changed),
            action=Action.SCALE_UP if changed else Action.NONE,
            binding=Reason.FORECAST if changed else Reason.STEADY,
            forecasts=(forecast,),
        ),
    )


def ticks(deployments: int, begin: float) -> Iterator[TickRecord]:
    """One record after the other."""
    for tick in count(1):
        at = begin + INTERVAL_S * tick
        entries = (entry(number, at, tick) for number in range(deployments))
        yield record(*entries, tick=tick, at=at, ledger=())


async def main(deployments: int, past: int) -> None:
    """Run everything once, and print."""
    made = ticks(deployments, CLOCK.now() - INTERVAL_S * past)
    shown = shown_records()
    resident = psutil.Process().memory_info().rss
    took = [_timed(lambda: shown.timeline.export(next(made))) for _ in range(past)]
    print(f"{deployments} deployments, {past} ticks: {(psutil.Process().memory_info().rss - resident) / 2**20:.0f} MiB")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"taking in a tick (with making it): median {1000 * sorted(took)[past // 2]:.1f} ms")
    shown.latest.export(next(made))
    rendered = sorted(_timed(lambda: overview(shown.timeline, ())) for _ in range(5))
    print(f"what the overview shows: {1000 * rendered[2]:.0f} ms a tick, however many look")
    async with serving(shown) as url, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1360, "height": 900})
        sizes: list[Any] = []
        page.on("requestfinished", lambda request: sizes.append(request))  # noqa: PLW0108
        paints = []
        for _ in range(3):
            sizes.clear()
            await page.goto(url)
            await page.wait_for_function(_PAINT)
            await page.wait_for_selector("#fleet")
            paints.append(await page.evaluate(_PAINT))
        transferred = await _bytes(sizes)
        print(f"first contentful paint: {', '.join(f'{one:.0f}' for one in paints)} ms")
        cold = [f"{await _cold_paint(driver, url):.0f}" for _ in range(COLD)]
        print(f"in a browser just started, without a cache: {', '.join(cold)} ms")
        await page.evaluate(_WATCH)
        processor = await page.context.new_cdp_session(page)
        await processor.send("Performance.enable")
        for what, act in _acts(page, shown, made):
            await page.evaluate(_TAKE)
            begin = await _thread_ms(processor)
            await act
            await _settle(page)
            used = await _thread_ms(processor) - begin
            print(f"{what:<30} {used:5.0f} ms of main thread; {_verdict(await page.evaluate(_TAKE))}")
        fresh = await browser.new_context()
        other, whole = await fresh.new_page(), []
        other.on("requestfinished", lambda request: whole.append(request))  # noqa: PLW0108
        await other.goto(url)
        await other.wait_for_selector("#fleet")
        await _settle(other)
        first = await _bytes(whole)
        print(f"transferred: {first / 1000:.0f} kB at first, {transferred / 1000:.0f} kB when the files are known")
        await browser.close()


async def _cold_paint(driver: Playwright, url: str) -> float:
    browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = await browser.new_page(viewport={"width": 1360, "height": 900})
    await page.goto(url)
    await page.wait_for_function(_PAINT)
    paint: float = await page.evaluate(_PAINT)
    await browser.close()
    return paint


def _acts(page: Page, shown: Any, made: Iterator[TickRecord]) -> Iterator[tuple[str, Any]]:
    yield "scrolling the overview", _scroll(page)
    yield f"{LIVE_TICKS} ticks on the overview", _live(page, shown, made)
    yield "filtering", page.fill("#filter", "model-17")
    yield "filter emptied", page.fill("#filter", "")
    yield "opening a deployment", page.click("#fleet tbody tr:nth-child(7) a")
    yield "its charts", page.wait_for_selector("#plot-demand canvas")
    yield "showing an hour", page.keyboard.press("3")
    yield "moving over the charts", _hover(page)
    yield f"{LIVE_TICKS} ticks with charts", _live(page, shown, made)
    yield "opening why", page.click("#why")


async def _scroll(page: Page) -> None:
    for _ in range(20):
        await page.mouse.wheel(0, 400)
        await asyncio.sleep(0.03)


async def _hover(page: Page) -> None:
    for step in range(60):
        await page.mouse.move(200 + 15 * step, 450)


async def _live(page: Page, shown: Any, made: Iterator[TickRecord]) -> None:
    for _ in range(LIVE_TICKS):
        tick = next(made)
        shown.timeline.export(tick)
        await page.wait_for_function("tick => document.getElementById('state').dataset.tick == tick", arg=tick.tick)
        await _settle(page)


async def _thread_ms(processor: Any) -> float:
    """Processor time of the page's main thread so far, which other programs' load does not change."""
    metrics = await processor.send("Performance.getMetrics")
    return next(1000 * one["value"] for one in metrics["metrics"] if one["name"] == "ThreadTime")


async def _bytes(requests: list[Any]) -> int:
    finished = [await one.sizes() for one in requests if "/stream" not in one.url]
    return sum(one["responseBodySize"] for one in finished)


async def _settle(page: Page) -> None:
    await page.evaluate("() => new Promise((idle) => requestIdleCallback(idle))")
    await asyncio.sleep(0.6)


def _verdict(seen: dict[str, list[float]]) -> str:
    frames, long = sorted(seen["frames"]), seen["long"]
    worst = f"longest frame {frames[-1]:.0f} ms, p99 {frames[int(0.99 * (len(frames) - 1))]:.0f} ms" if frames else ""
    return f"{worst}; long tasks: {', '.join(f'{one:.0f} ms' for one in long) or 'none'}"


def _timed(act: Any) -> float:
    begin = CLOCK.monotonic()
    act()
    return CLOCK.monotonic() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--ticks", type=int, default=360)
    given = parser.parse_args()
    asyncio.run(main(given.deployments, given.ticks))
