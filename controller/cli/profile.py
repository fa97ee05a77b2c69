"""foreserve profile: measure what one endpoint carries, and write it as the policy's capacity section."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from controller.cli.exit_codes import ExitCode
from controller.cli.load import checked_url, token_of
from controller.clock import SystemClock
from controller.load.target import Target
from controller.profile.measure import measure
from controller.profile.ramp import RampPlan, RampStep
from controller.profile.result import Profile, policy_section


def profile(
    url: Annotated[
        str,
        typer.Argument(help="Address of one replica's OpenAI-compatible service, without /v1.", show_default=False),
    ],
    *,
    model: Annotated[str, typer.Option(help="Model to ask for.", show_default=False)],
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Mean prompt size.")] = 512,
    output_tokens: Annotated[int, typer.Option(min=2, help="Mean answer size.")] = 128,
    ttft: Annotated[float, typer.Option(min=0.001, help="Seconds to the first token, promised at p95.")] = 2.0,
    tpot: Annotated[float, typer.Option(min=0.0001, help="Seconds per further token, promised at p95.")] = 0.1,
    start: Annotated[float, typer.Option(min=0.001, metavar="RPS", help="First rate of the ramp.")] = 0.5,
    most: Annotated[float, typer.Option(min=0.001, metavar="RPS", help="Largest rate to try.")] = 1000.0,
    step: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long each rate is held.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same requests.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of YAML.")] = False,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token.")] = None,
) -> None:
    """Raise the load on URL until users no longer get what they are promised, and print a capacity section.

    Address one replica, without other traffic on it. Sizes vary around their means, so that the cost of a
    sequence, a prompt token and a context token can be told apart. Steps are shown on stderr; the section on
    stdout is ready to be put under a deployment in a policy.

    Exit status: 0 when a load was found, 1 when not even the first rate was kept, 2 for bad input, 3 when the
    service does not answer.

    \b
    Examples:
      foreserve profile http://127.0.0.1:8000 --model tiny
      foreserve profile http://10.0.0.7:8000 --model llama --prompt-tokens 1155 --output-tokens 211 --json
    """  # noqa: D301 - click reads the backspace
    plan = RampPlan(
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        ttft_s=ttft,
        tpot_s=tpot,
        first_rps=start,
        most_rps=most,
        step_s=step,
        seed=seed,
    )
    target = Target(url=checked_url(url), model=model, token=token_of(token_file))
    found = asyncio.run(measure(target, plan, clock=SystemClock(), on_step=_tell))
    typer.echo(_json(found) if as_json else policy_section(found, plan), nl=as_json)
    if found.best is None:
        raise typer.Exit(ExitCode.FAILED)


def _tell(step: RampStep) -> None:
    kept = step.problem or "kept"
    typer.echo(f"{step.offered_rps:8.2f} requests/s: {_ms(step.ttft_p95_s)} to the first token, "
               f"{_ms(step.tpot_p95_s)} per token (p95): {kept}", err=True)  # fmt: skip


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.0f} ms"


def _json(found: Profile) -> str:
    return json.dumps(asdict(found))
