"""`foreserve load` as a user types it, against a server in a thread of its own."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from controller.cli.load import load
from controller.errors import BadInputError
from controller.load.result import read_load_result
from controller.load.tick import load_tick

app = typer.Typer()
app.command()(load)


class _Chat(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tokens_seen: list[str | None]

    def do_POST(self) -> None:
        self.tokens_seen.append(self.headers.get("Authorization"))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["max_tokens"] == 13:
            self._answer(503, "text/plain", b"too busy")
        elif body["stream"]:
            chunk = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
            self._answer(200, "text/event-stream", chunk * body["max_tokens"] + b"data: [DONE]\n\n")
        else:
            words = len(body["messages"][0]["content"].split())
            self._answer(200, "application/json", json.dumps({"usage": {"prompt_tokens": words}}).encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    handler = type("Chat", (_Chat,), {"tokens_seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def run(service: ThreadingHTTPServer, *options: str) -> Result:
    url = f"http://127.0.0.1:{service.server_port}/v1"
    return CliRunner().invoke(app, [url, "--model", "tiny", *options])


def test_a_clean_run_ends_in_a_table_and_status_0(service: ThreadingHTTPServer) -> None:
    result = run(service, "--stages", "20x0.5", "--output-tokens", "4")

    assert result.exit_code == 0, result.output
    assert "10 sent" in result.stdout
    assert re.search(r"Time to first token, from the send +\d", result.stdout)
    assert "No request failed." in result.stdout
    assert "20x0.5: takes 0 s" in result.stderr


def test_failed_requests_are_named_and_give_status_1(service: ThreadingHTTPServer) -> None:
    result = run(service, "--rate", "20", "--duration", "0.2", "--output-tokens", "13", "--tokens-per-word", "1")

    assert result.exit_code == 1
    assert "4 requests failed: 4 http_503" in result.stdout


def test_json_is_one_object_per_line_with_the_summary_last(service: ThreadingHTTPServer, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"

    result = run(service, "--stages", "20x0.5", "--json", "--out", str(out))

    *ticks, last = result.stdout.splitlines()
    assert all(load_tick(line) is not None for line in ticks)
    assert json.loads(last)["summary"]["completed"] == 10
    assert read_load_result(out).summary.completed == 10


def test_the_token_is_sent_and_never_shown(service: ThreadingHTTPServer, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")

    result = run(service, "--rate", "10", "--duration", "0.2", "--token-file", str(secret))

    assert set(service.RequestHandlerClass.tokens_seen) == {"Bearer s3cret"}
    assert "s3cret" not in result.output


def test_a_bundled_trace_is_known_by_its_name(service: ThreadingHTTPServer) -> None:
    result = run(service, "--trace", "azure_conv_2023", "--duration", "4", "--speed", "10", "--output-tokens-max", "2")

    assert result.exit_code == 0, result.output
    assert "azure_conv_2023: takes 0 s" in result.stderr


def test_traces_are_listed_without_a_service() -> None:
    result = CliRunner().invoke(app, ["--list-traces"])

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "day_rise_fall",
        "flash_wc98_jun10",
        "azure_conv_2023",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["http://h", "--model", "m"], "give one of --trace, --rate and --stages", id="no-traffic"),
        pytest.param(["http://h", "--model", "m", "--rate", "1", "--stages", "1x1"], "give one of", id="two-kinds"),
        pytest.param(["http://h", "--model", "m", "--rate", "1"], "--rate needs an end", id="no-end"),
        pytest.param(["h:80", "--model", "m", "--stages", "1x1"], "is no address of a service", id="no-url"),
        pytest.param(
            ["http://h", "--model", "m", "--stages", "1x1", "--token-file", "/nope"], "cannot be read", id="no-token"
        ),
        pytest.param(["http://h", "--model", "m", "--trace", "nope"], "no such trace", id="no-trace"),
    ],
)
def test_bad_input_says_what_would_be_right(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, options)

    assert isinstance(result.exception, BadInputError)
    assert message in str(result.exception)
