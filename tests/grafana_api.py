"""A loopback stand-in of the part of Grafana's HTTP API that is used, as its documentation describes it.

Like Grafana, it gives dashboards an ``id`` and a ``version``, refuses one whose version is not the newest
(412), moves one to the folder that is named, and adds keys of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TOKEN = "glsa_right"


@dataclass
class Grafana:
    """Its state, and every write that it took."""

    folders: dict[str, str] = field(default_factory=dict)
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    folder_of: dict[str, str] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    url: str = ""
    broken: int | None = None
    edited_behind_our_back: bool = False

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=1 << 24)
        app.router.add_get("/api/folders/{uid}", self._folder)
        app.router.add_post("/api/folders", self._make_folder)
        app.router.add_get("/api/dashboards/uid/{uid}", self._dashboard)
        app.router.add_post("/api/dashboards/db", self._save)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.broken:
            return web.json_response({"message": "Internal server error"}, status=self.broken)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            said = {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401}
            return web.json_response(said, status=401)
        return await handler(request)

    async def _folder(self, request: web.Request) -> web.Response:
        uid = request.match_info["uid"]
        if uid not in self.folders:
            return web.json_response({"message": "folder not found", "status": "not-found"}, status=404)
        return web.json_response({"id": 1, "uid": uid, "title": self.folders[uid], "version": 1})

    async def _make_folder(self, request: web.Request) -> web.Response:
        given = await request.json()
        self.folders[given["uid"]] = given["title"]
        self.writes.append(f"folder {given['uid']}")
        return web.json_response({"id": 1, **given, "version": 1})

    async def _dashboard(self, request: web.Request) -> web.Response:
        uid = request.match_info["uid"]
        if uid not in self.boards:
            return web.json_response({"message": "Dashboard not found"}, status=404)
        answer = {"dashboard": copy.deepcopy(self.boards[uid]), "meta": {"folderUid": self.folder_of[uid], "slug": uid}}
        if self.edited_behind_our_back:
            self.boards[uid]["version"] += 1
        return web.json_response(answer)

    async def _save(self, request: web.Request) -> web.Response:
        given = await request.json()
        board, uid = given["dashboard"], given["dashboard"]["uid"]
        newest = self.boards.get(uid, {}).get("version", 0)
        if given["folderUid"] not in self.folders:
            return web.json_response({"message": "folder not found"}, status=400)
        if newest and not given["overwrite"] and board["version"] != newest:
            said = {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
            return web.json_response(said, status=412)
        self.boards[uid] = {**board, "id": len(self.boards) + 1, "version": newest + 1, "preload": False}
        self.folder_of[uid] = given["folderUid"]
        self.writes.append(uid)
        return web.json_response({"id": 1, "uid": uid, "status": "success", "version": newest + 1, "slug": uid})


@contextlib.contextmanager
def grafana() -> Iterator[Grafana]:
    """Serve it from a thread of its own, since the command runs a loop of its own."""
    served, ready = Grafana(), threading.Event()
    loop, done = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(served.app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        served.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        ready.set()
        await done.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield served
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()
