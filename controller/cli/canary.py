"""foreserve canary: bring a new build into traffic step by step, and take it back when it does worse."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from controller.canary.by_hand import run
from controller.canary.judge import Terms
from controller.canary.ramp import Ramp
from controller.cli.exit_codes import ExitCode
from controller.clients.splitter import SplitClient
from controller.clock import SystemClock
from controller.domain.canary import CanaryPhase, CanaryProgress
from controller.errors import BadInputError


def canary(
    url: Annotated[str, typer.Argument(metavar="URL", help="The split application (serving.split).")],
    *,
    token_file: Annotated[Path, typer.Option(help="File with the token that may set the share.")],
    steps: Annotated[str, typer.Option(help="Shares in per cent, in order.")] = "1,5,25,100",
    hold: Annotated[float, typer.Option(min=1, help="Seconds that each step is held at least.")] = 300.0,
    longest: Annotated[float, typer.Option(min=1, help="Seconds after which too few requests end it.")] = 3600.0,
    ttft: Annotated[float, typer.Option(min=0.001, help="Objective of the time to first token, seconds.")] = 1.0,
    min_requests: Annotated[int, typer.Option(min=1, help="Requests that a step is judged by.")] = 100,
    max_slowdown: Annotated[float, typer.Option(min=1, help="Its median over the stable build's, at most.")] = 1.5,
) -> None:
    """Raise the share of a new build's traffic step by step; take it back to 0 as soon as it does worse.

    Worse is: significantly more failed requests, or more that begin later than the objective, than the stable build in
    the same step; or a median that is slower by more than --max-slowdown. Ctrl-C takes it back, too, and so does the
    splitter a minute after this command was killed. A running controller does the same by its policy's `canaries`.

    Exit status: 0 when the last step was held, 4 when it was taken back, 3 when the splitter cannot be reached,
    2 for bad input.

    \b
    Examples:
      foreserve canary http://127.0.0.1:8000/split --token-file split.token --steps 1,5,25,100 --hold 300
    """  # noqa: D301 - click reads the backspace
    ramp = Ramp(
        steps=_steps(steps),
        hold_s=hold,
        longest_s=max(longest, hold),
        terms=Terms(ttft_s=ttft, min_requests=min_requests, max_slowdown=max_slowdown),
    )
    _check_token(token_file)
    ended = asyncio.run(_run(ramp, url, token_file))
    if ended.phase is CanaryPhase.COMPLETED:
        typer.echo("completed: deploy this build as the stable one, then set the share back to 0")
        return
    typer.echo(ended.why)
    raise typer.Exit(ExitCode.CHECK_FAILED)


async def _run(ramp: Ramp, url: str, token_file: Path) -> CanaryProgress:
    async with aiohttp.ClientSession() as session:
        splitter = SplitClient(url=url, session=session, token_file=token_file)
        return await run(ramp, splitter, clock=SystemClock(), say=typer.echo)


def _steps(text: str) -> tuple[float, ...]:
    try:
        steps = tuple(float(part) / 100 for part in text.split(","))
    except ValueError:
        steps = ()
    if not steps or list(steps) != sorted(set(steps)) or not 0 < steps[0] <= steps[-1] <= 1:
        msg = f"--steps {text!r}: give rising shares in per cent, such as 1,5,25,100"
        raise BadInputError(msg)
    return steps


def _check_token(path: Path) -> None:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = f"--token-file {path}: {error.strerror}; name a file with the token of the split application"
        raise BadInputError(msg) from None
    if not token:
        msg = f"--token-file {path} is empty; it should hold the token of the split application"
        raise BadInputError(msg)
