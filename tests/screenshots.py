"""Pictures for the docs, of the real local stack under traffic: ``make screenshots``.

Starts ``foreserve up``, waits until replicas have been ordered and have come, and takes pictures of the web page with
the distribution's Chromium, and of the dashboards with Grafana's UI library where ``tests/render`` is built.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
PAGE = "http://127.0.0.1:9900"
PROMETHEUS = "http://127.0.0.1:9090"
_PAINTS = 15


def main(minutes: float, settle_s: float) -> None:
    """Start the stack, take every picture, stop the stack."""
    foreserve = Path(sys.executable).with_name("foreserve")
    command = [foreserve, "up", "--headless", f"--duration={minutes:g}m"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as stack:
        try:
            _wait(lambda: _state(stack)["tick"] > 0, 60 * minutes)
            _wait(lambda: _grown(stack), 60 * minutes)
            time.sleep(settle_s)
            page_pictures()
            board_pictures(minutes=settle_s / 60 + 3)
        finally:
            stack.terminate()
            stack.wait(60)


def page_pictures() -> None:
    """The deployment, the last change explained, and the cost."""
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        why = _picture(browser, "/", "page", height=1010)
        _picture(browser, "/", "page-dark", height=1010, dark=True)
        _picture(browser, why, "page-why", height=760)
        _picture(browser, "/?view=cost", "page-cost", height=700)
        paints = _paints(browser, PAGE)
        print(  # noqa: T201
            f"first contentful paint without a cache: median {paints[len(paints) // 2]:.0f} ms, "
            f"longest {paints[-1]:.0f} ms of {len(paints)}; load average {os.getloadavg()[0]:.1f}"
        )
        browser.close()


def _picture(browser: Browser, path: str, name: str, *, height: int, dark: bool = False) -> str:
    """Take one picture; returns the address of the explanation of the last change, where the page has it."""
    context = browser.new_context(viewport={"width": 1280, "height": height}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.goto(PAGE + path)
    page.wait_for_selector("#link.ok")
    page.wait_for_timeout(2500)
    page.screenshot(path=IMAGES / f"{name}.png")
    why = page.locator("#why")
    address = why.get_attribute("href") if why.count() else None
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"{name}: first contentful paint {paint:.0f} ms")  # noqa: T201
    context.close()
    return address or "/"


def _paints(browser: Browser, address: str) -> list[float]:
    """First contentful paint of the page in so many browsers without a cache, milliseconds, sorted."""
    found = []
    for _ in range(_PAINTS):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(address)
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        found.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        context.close()
    return sorted(found)


def board_pictures(*, minutes: float) -> None:
    """The four dashboards, where the renderer is built."""
    render = ROOT / "tests/render"
    if not (render / "build/page.js").exists():
        print("tests/render is not built: no pictures of the dashboards")  # noqa: T201
        return
    command = ["node", "render.mjs", f"--prometheus={PROMETHEUS}", f"--minutes={minutes:g}", "--scrape=2"]
    subprocess.run([*command, f"--out={IMAGES}"], cwd=render, check=True)


def _state(stack: subprocess.Popen[bytes]) -> Any:
    if stack.poll() is not None:
        msg = "foreserve up has ended"
        raise SystemExit(msg)
    try:
        with urllib.request.urlopen(f"{PAGE}/api/v1/state", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {"tick": 0}


def _grown(stack: subprocess.Popen[bytes]) -> bool:
    replicas = _state(stack)["deployments"][0]["snapshot"]["replicas"]
    return bool(replicas and replicas["ready"] > 1)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            msg = f"it did not come within {seconds:g} s"
            raise SystemExit(msg)
        time.sleep(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=12, help="Longest time that the stack runs.")
    parser.add_argument("--settle", type=float, default=150, help="Seconds after the second replica has come.")
    given = parser.parse_args()
    main(given.minutes, given.settle)
