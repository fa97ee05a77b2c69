"""Small blocking requests to the stack's own loopback addresses."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from controller.errors import ForeserveError
from controller.ports import Clock

PAUSE_S = 0.25


class RequestFailedError(ForeserveError):
    """No usable answer: nothing listens, it took too long, or the status was an error."""


def request(
    url: str, *, method: str = "GET", body: Any = None, token: str | None = None, timeout_s: float = 10.0
) -> bytes:
    """Send one request, with ``body`` as JSON, and return the answer's bytes. Raises ``RequestFailedError``."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    prepared = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(prepared, timeout=timeout_s) as answer:  # noqa: S310 - loopback
            return bytes(answer.read())
    except urllib.error.HTTPError as exc:
        detail = exc.read(500).decode(errors="replace").strip()
        msg = f"{method} {url} answered {exc.code}: {detail}"
        raise RequestFailedError(msg) from exc
    except OSError as exc:
        msg = f"{method} {url}: {exc}"
        raise RequestFailedError(msg) from exc


def first_token(base_url: str, *, model: str, timeout_s: float = 30.0) -> None:
    """Stream one chat completion up to its first token. Raises ``RequestFailedError``."""
    url = f"{base_url}/v1/chat/completions"
    body = {"model": model, "stream": True, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
    prepared = urllib.request.Request(  # noqa: S310 - loopback
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(prepared, timeout=timeout_s) as answer:  # noqa: S310 - loopback
            if not any(line.startswith(b"data: {") for line in answer):
                msg = f"POST {url} ended without a token"
                raise RequestFailedError(msg)
    except OSError as exc:
        msg = f"POST {url}: {exc}"
        raise RequestFailedError(msg) from exc


def wait_for(
    attempt: Callable[[], object], *, clock: Clock, pause: Callable[[float], None], timeout_s: float, what: str
) -> None:
    """Call ``attempt`` until it no longer raises ``RequestFailedError``.

    Raises:
        RequestFailedError: it still did after ``timeout_s`` seconds; the message names ``what`` and the last cause.

    """
    deadline = clock.monotonic() + timeout_s
    while True:
        try:
            attempt()
        except RequestFailedError as exc:
            if clock.monotonic() >= deadline:
                msg = f"{what} did not happen within {timeout_s:.0f} s; last answer: {exc}"
                raise RequestFailedError(msg) from exc
        else:
            return
        pause(PAUSE_S)
