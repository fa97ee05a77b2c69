"""Runs one command on a Ray cluster through the dashboard's jobs, and returns what it printed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from controller.clients.serve import ServeUnavailableError
from controller.ports import Clock

_POLL_S = 0.5
_OVER = {"SUCCEEDED", "FAILED", "STOPPED"}


class RayJobs:
    """Client of ``/api/jobs/``. ``address`` is the dashboard's; the session belongs to the caller."""

    def __init__(self, *, address: str, session: aiohttp.ClientSession, token: str | None, clock: Clock) -> None:
        self._base = address.rstrip("/")
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._clock = clock

    async def run(self, command: str, *, within_s: float) -> str:
        """Run ``command`` on the head node; it needs no resources of its own.

        Raises:
            ServeUnavailableError: it could not be run, ended badly, or took longer than ``within_s``.

        """
        try:
            async with asyncio.timeout(within_s):
                job = await self._call("POST", "", {"entrypoint": command, "entrypoint_num_cpus": 0})
                identity = job["submission_id"]
                while (status := (await self._call("GET", identity))["status"]) not in _OVER:
                    await self._clock.sleep(_POLL_S)
                logs = str((await self._call("GET", f"{identity}/logs"))["logs"])
        except TimeoutError:
            msg = f"the job `{command}` on {self._base} did not end within {within_s:g} s"
            raise ServeUnavailableError(msg) from None
        except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
            msg = f"{self._base} runs no jobs ({type(error).__name__}: {error})"
            raise ServeUnavailableError(msg) from None
        if status != "SUCCEEDED":
            msg = f"the job `{command}` {status.lower()}: {' '.join(logs.split())[-300:]}"
            raise ServeUnavailableError(msg)
        return logs

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self._base}/api/jobs/{path}"
        async with self._session.request(
            method, url, json=body, headers=self._headers, allow_redirects=False
        ) as answer:
            text = await answer.text()
            if answer.status != 200:  # noqa: PLR2004
                msg = f"HTTP {answer.status}: {text[:200]}"
                raise ValueError(msg)
            return dict(json.loads(text))
