from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from controller.cli.exit_codes import ExitCode
from controller.load.tick import LoadTick, dump_tick
from controller.local.traffic import TickReader, TrafficOptions

TICK = LoadTick(
    t_s=1.0,
    sent=3,
    completed=1,
    failed=0,
    in_flight=2,
    rps=3.0,
    output_tokens_per_s=40.0,
    ttft_p50_s=0.1,
    ttft_p95_s=0.2,
    itl_p50_s=None,
    itl_p95_s=None,
)


def test_the_load_command_understands_its_arguments(tmp_path: Path) -> None:
    foreserve = Path(sys.executable).with_name("foreserve")
    arguments = TrafficOptions(speed=30.0).arguments(tmp_path / "requests.jsonl")

    done = subprocess.run(
        [foreserve, "load", "http://127.0.0.1:9", "--model", "tiny", *arguments],
        check=False,
        capture_output=True,
        timeout=30,
    )

    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr


def test_the_newest_numbers_are_kept_and_anything_else_is_passed_over() -> None:
    text = dump_tick(TICK).decode()

    reader = TickReader(io.StringIO(f'{text}\nnot json\n{{"summary": {{}}}}\n'))
    reader.join(5)

    assert reader.latest == TICK
