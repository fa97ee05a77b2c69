"""The command as a person meets it: one message, the documented exit code, never a traceback."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from controller.cli.exit_codes import ExitCode
from controller.cli.main import app, main
from controller.cli.plan_text import plan_text
from controller.domain.plan import Action, Reason
from controller.domain.reading import Unknown
from controller.settings import Settings
from tests.records import cluster_record, decision, deployment_record, record, snapshot

DOCS = Path(__file__).parents[3] / "docs"
POLICY = """\
version: 1
deployments:
  - application: chat
    deployment: LLMServer:tiny
    limits: {max_replicas: 2}
    capacity: {target_ongoing_requests: 4}
"""

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def foreserve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Invoke:
    """Run the command in an empty directory with a policy; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["foreserve", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return invoke


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run",), ExitCode.BAD_INPUT, "policy is missing; give --policy or FORESERVE_POLICY"),
        (("run", "--policy", "nowhere.yaml"), ExitCode.BAD_INPUT, "nowhere.yaml: cannot be read"),
        (("run", "--policy", "policy.yaml", "--port", "99999"), ExitCode.BAD_INPUT, "FORESERVE_PORT or --port"),
        (("run", "--policy", "policy.yaml", "--port", "0", "--serve-url", "ftp://x"), ExitCode.BAD_INPUT, "ftp://x"),
        (
            ("run", "--policy", "policy.yaml", "--port", "0", "--serve-url", "http://127.0.0.1:1", "--require-serve"),
            ExitCode.UNAVAILABLE,
            "127.0.0.1:1",
        ),
        (("plan", "--policy", "policy.yaml", "--serve-url", "http://127.0.0.1:1"), ExitCode.UNAVAILABLE, "127.0.0.1:1"),
        (("run", "--policy", "policy.yaml", "--port", "0", "--store", "/dev/null/x.db"), ExitCode.BAD_INPUT, "--store"),
    ],
)
def test_a_mistake_is_one_message_and_its_exit_code(
    foreserve: Invoke, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    ended, out, err = foreserve(*arguments)

    assert ended == code
    assert out == ""
    assert err.startswith("foreserve: ")
    assert message in err
    assert "Traceback" not in err


def test_a_taken_port_is_named_with_the_flag_that_gives_another(foreserve: Invoke) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended, _, err = foreserve("run", "--policy", "policy.yaml", "--port", str(port))

    assert ended == ExitCode.BAD_INPUT
    assert f"port {port} on 127.0.0.1 is already in use" in err
    assert "--port" in err


def test_a_token_is_no_option(foreserve: Invoke) -> None:
    ended, _, err = foreserve("run", "--policy", "policy.yaml", "--serve-token", "s3cret")

    assert ended == ExitCode.BAD_INPUT
    assert "No such option" in err


def test_the_version_is_printed(foreserve: Invoke) -> None:
    ended, out, _ = foreserve("version")

    assert ended == ExitCode.OK
    assert out.startswith("foreserve 0.")


def test_a_plan_reads_as_inputs_band_steps_and_verdict() -> None:
    text = plan_text(record(degraded=("source ray/a is stale",)))

    assert text.splitlines() == [
        "chat/LLMServer:tiny",
        "  replicas   target 2; 1 ready, 1 starting, 0 stopping",
        "  demand     ongoing_requests: 6 (0.5 s old)",
        "  demand     requests_per_s: 3 (0.5 s old)",
        "  demand     prefill_tokens_per_s: 400 (0.5 s old)",
        "  demand     decode_tokens_per_s: unknown, no vLLM series",
        "  lead time  30 s, P90 40 s, P95 45 s (measured)",
        "  forecast   ongoing_requests: P10 5, P50 7, P90 12 within 50 s (damped_trend)",
        "  size       4, forecast: 12.0 / 3.0",
        "  limit      3, max_step_up",
        "  would      scale up from 2 to 3 (forecast)",
        "",
        "note: source ray/a is stale",
    ]


def test_a_plan_without_knowledge_says_so() -> None:
    blind = deployment_record(
        snapshot=snapshot(
            target_replicas=None, replicas=None, demand={}, status="UNKNOWN", kv_cache_usage=Unknown("stale")
        ),
        decision=decision(
            current=None,
            desired=None,
            action=Action.NONE,
            binding=Reason.NO_DATA,
            steps=(),
            forecasts=(),
            forecast_unavailable="no history yet",
        ),
    )

    lines = plan_text(record(blind)).splitlines()

    assert "  replicas   unknown (UNKNOWN)" in lines
    assert "  forecast   none: no history yet" in lines
    assert lines[-1] == "  would      change nothing (no_data)"


def test_a_plan_tells_nodes_and_workers_where_they_are_planned() -> None:
    lines = plan_text(record(cluster=cluster_record())).splitlines()

    assert "  nodes      l4: 3 nodes wanted; 2 ready, 2 in use, 1 ordered, 1 kept warm of at most 4" in lines
    assert "  ahead      chat/LLMServer:tiny: 4 for a node's lead, 400 s: 12.0 / 3.0 → 4" in lines
    assert "  no place   chat/LLMServer:tiny: 1 (stocked_out): spot: stocked out (GCE_STOCKOUT)" in lines
    assert "  would      set node l4 from 2 to 3: 1 more than the 2 there" in lines


def test_every_command_exit_code_and_setting_is_documented() -> None:
    page = (DOCS / "cli.md").read_text()
    group = typer.main.get_command(app)

    missing = [name for name in group.commands if f"`foreserve {name}`" not in page]  # type: ignore[attr-defined]
    missing += [f"exit {code.value}" for code in ExitCode if f"\n| {code.value} |" not in page]
    missing += [name for name in Settings.model_fields if f"`FORESERVE_{name.upper()}`" not in page]

    assert missing == []


def test_a_running_controller_carries_nothing_of_the_other_commands() -> None:
    ask = "import sys, controller.cli.main, controller.cli.run; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True, timeout=60)

    assert {"numba", "scipy", "sklearn", "kubernetes", "ray"}.isdisjoint(done.stdout.split())
