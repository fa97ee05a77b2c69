"""The API, by its own description: a running controller is asked everything that schemathesis can think of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case

POLICY = """\
version: 1
deployments:
- {application: chat, deployment: LLM, limits: {max_replicas: 2}, capacity: {target_ongoing_requests: 4}}
"""
TOKEN = "only-for-this-test-0123456789"
_MOST_S = 5.0
_REFUSED, _BROKEN = 400, 500


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A controller whose Ray Serve is not there, and a token that may do everything."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (folder / "tokens").write_text(f"fuzzer act {TOKEN}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-c",
        "from controller.cli.main import main; main()",
        "run",
        f"--policy={folder / 'policy.yaml'}",
        f"--store={folder / 'foreserve.db'}",
        "--serve-url=http://127.0.0.1:9",
        "--port=0",
    ]
    environment = {"PATH": "/usr/bin:/bin", "FORESERVE_API_TOKENS_FILE": str(folder / "tokens")}
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = next(line for line in process.stdout if "API at http" in line)
    yield said.rsplit("API at ", 1)[1].split()[0].rstrip(".,;")
    process.terminate()
    process.communicate(timeout=20)


def _operations(address: str) -> list[APIOperation]:
    described = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")
    return [found.ok() for found in described.get_all_operations()]


def test_every_operation_answers_whatever_it_is_asked(address: str) -> None:
    for operation in _operations(address):

        @settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
        @given(case=operation.as_strategy())
        def ask(case: Case) -> None:
            answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=_MOST_S)
            assert answer.status_code != _BROKEN, f"{case.as_curl_command()}: {answer.text}"
            if answer.status_code >= _REFUSED and answer.content:
                told = answer.json()
                assert told.get("detail") or told.get("reasons"), "a refusal says why"

        ask()


def test_nothing_changes_without_a_token(address: str) -> None:
    changing = [one for one in _operations(address) if one.method.upper() not in ("GET", "HEAD", "OPTIONS")]
    # Hooks check their own senders.
    for operation in (one for one in changing if not one.path.startswith("/hooks/")):

        @settings(max_examples=5, suppress_health_check=list(HealthCheck), deadline=None)
        @given(case=operation.as_strategy())
        def ask(case: Case) -> None:
            assert case.call(timeout=_MOST_S).status_code in (401, 403)

        ask()
