"""foreserve load: send traffic to an LLM service in an open loop, and measure it."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.live import Live

from controller.cli.exit_codes import ExitCode
from controller.clock import SystemClock
from controller.errors import BadInputError
from controller.load.bundled import BUNDLED, named_trace
from controller.load.prompts import TokenScale
from controller.load.result import RowFile
from controller.load.run import DEFAULT_MAX_IN_FLIGHT, LoadPlan, run_load
from controller.load.schedule import ScheduleOptions, arrivals, replay_seconds
from controller.load.show import summary_table, tick_line
from controller.load.stages import Stage, parse_stages, staged_trace
from controller.load.summary import LoadSummary
from controller.load.target import Target
from controller.load.tick import LoadTick, dump_tick
from controller.load.trace import Trace

_SPARE_FILES = 256
_LOOP_S = 60.0
_MAX_TOKEN_BYTES = 16_384


def _list_traces(wanted: bool) -> None:
    if not wanted:
        return
    for trace in BUNDLED:
        typer.echo(f"{trace.name:<17} --speed {trace.suggested_speed:<5g} {trace.summary}")
    raise typer.Exit


def load(
    url: Annotated[
        str, typer.Argument(help="Address of an OpenAI-compatible service, without /v1.", show_default=False)
    ],
    *,
    model: Annotated[str, typer.Option(help="Model to ask for.", show_default=False)],
    trace: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME", help="CSV of t_s,prompt_tokens,output_tokens (also gzip), or a bundled trace."
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, max=100_000, metavar="RPS", help="A constant rate instead of a trace.")
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(metavar="RPSxS,...", help="Rates one after the other instead of a trace: 2x30,8x60,2x60."),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, max=1_000_000, help="Trace seconds per second.  [default: the bundled trace's, or 1]"),
    ] = None,
    rate_scale: Annotated[
        float,
        typer.Option(min=0.0001, max=1000, help="Below 1 thins the requests, above 1 lays moved copies over them."),
    ] = 1.0,
    start: Annotated[float, typer.Option(min=0, help="Skip this many trace seconds.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(min=0.001, help="Use this many trace seconds.  [default: to the end]")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, until interrupted.")] = False,
    max_in_flight: Annotated[
        int, typer.Option(min=1, max=100_000, help="With this many open, requests are dropped and counted.")
    ] = DEFAULT_MAX_IN_FLIGHT,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Prompt size with --rate and --stages.")] = 128,
    output_tokens: Annotated[int, typer.Option(min=1, help="Answer size with --rate and --stages.")] = 32,
    prompt_tokens_max: Annotated[int | None, typer.Option(min=1, help="Cut longer prompts to this.")] = None,
    output_tokens_max: Annotated[int | None, typer.Option(min=1, help="Cut longer answers to this.")] = None,
    tokens_per_word: Annotated[
        float | None, typer.Option(min=0.1, max=20, help="Do not ask the server how many tokens words become.")
    ] = None,
    request_timeout: Annotated[float, typer.Option(min=1, help="Seconds until a request counts as failed.")] = 300.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same requests at the same times.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per second, the summary last.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write one JSON line per request to this file.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token.")] = None,
    list_traces: Annotated[  # noqa: ARG001 - acted on before anything else is read
        bool,
        typer.Option("--list-traces", callback=_list_traces, is_eager=True, help="List the bundled traces and exit."),
    ] = False,
) -> None:
    """Send streaming chat completions to URL when they are due, however slow the answers are.

    Requests come from a trace, a constant rate, or stages. Prompts are random words, so that prefix
    caching does not flatter the service; how many tokens they become is asked of the server with two
    tiny requests before the start. The first Ctrl-C (or SIGTERM) sends no more and waits up to 10 s
    for open streams; the second ends at once. The summary is printed either way.

    Exit status: 0 when every request was sent and completed, 1 when not, 2 for bad input, 3 when the
    service does not answer.

    \b
    Examples:
      foreserve load http://127.0.0.1:8000 --model tiny --trace day_rise_fall --rate-scale 0.5
      foreserve load http://127.0.0.1:8000 --model tiny --stages 2x30,8x60,2x60
      foreserve load http://127.0.0.1:8000 --model tiny --rate 4 --duration 60 --json --out requests.jsonl
    """  # noqa: D301 - click reads the backspace
    chosen, suggested_speed = _traffic(trace, rate, stages, duration, loop=loop, sizes=(prompt_tokens, output_tokens))
    options = ScheduleOptions(
        speed=suggested_speed if speed is None else speed,
        rate_scale=rate_scale,
        start_s=start,
        duration_s=duration,
        loop=loop,
        prompt_tokens_max=prompt_tokens_max,
        output_tokens_max=output_tokens_max,
        seed=seed,
    )
    plan = LoadPlan(
        target=Target(url=checked_url(url), model=model, token=token_of(token_file), timeout_s=request_timeout),
        schedule=arrivals(chosen, options),
        seed=seed,
        token_scale=None if tokens_per_word is None else TokenScale(per_word=tokens_per_word),
        max_in_flight=max_in_flight,
    )
    _tell(chosen, options)
    summary, problem = _run(plan, as_json=as_json, out=out)
    _print_summary(summary, as_json=as_json)
    if problem is not None:
        typer.echo(problem, err=True)
    if problem is not None or not summary.clean:
        raise typer.Exit(ExitCode.FAILED)


def _traffic(
    trace: str | None,
    rate: float | None,
    stages: str | None,
    duration: float | None,
    *,
    loop: bool,
    sizes: tuple[int, int],
) -> tuple[Trace, float]:
    """The chosen traffic and the speed it is meant for."""
    if sum(way is not None for way in (trace, rate, stages)) != 1:
        msg = "give one of --trace, --rate and --stages; `foreserve load --list-traces` lists what is bundled"
        raise BadInputError(msg)
    if trace is not None:
        return named_trace(trace)
    if stages is not None:
        shape = parse_stages(stages)
    elif rate is not None and (duration is not None or loop):
        shape = (Stage(rate, duration or _LOOP_S),)
    else:
        msg = "--rate needs an end: give --duration SECONDS, or --loop to go on until interrupted"
        raise BadInputError(msg)
    return staged_trace(shape, prompt_tokens=sizes[0], output_tokens=sizes[1]), 1.0


def checked_url(url: str) -> str:
    """Return the address without its last slash and /v1. Raises BadInputError when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"{url!r} is no address of a service; expected http://HOST:PORT or https://HOST"
        raise BadInputError(msg)
    return url.rstrip("/").removesuffix("/v1")


def token_of(path: Path | None) -> str | None:
    """Read a bearer token. Raises BadInputError when the file holds none."""
    if path is None:
        return None
    try:
        token = path.read_bytes()[:_MAX_TOKEN_BYTES].decode("ascii").strip()
    except OSError as exc:
        msg = f"{path}: the token cannot be read: {exc.strerror or exc}"
        raise BadInputError(msg) from exc
    except UnicodeDecodeError as exc:
        msg = f"{path}: holds no token: it must be one line of ASCII text"
        raise BadInputError(msg) from exc
    if not token or not token.isprintable() or " " in token:
        msg = f"{path}: holds no token: it must be one line of ASCII text without blanks"
        raise BadInputError(msg)
    return token


def _tell(trace: Trace, options: ScheduleOptions) -> None:
    if trace.out_of_order:
        typer.echo(f"{trace.name}: {trace.out_of_order} lines were out of order and were sorted", err=True)
    lap = "each lap takes" if options.loop else "takes"
    typer.echo(f"{trace.name}: {lap} {replay_seconds(trace, options):.0f} s", err=True)


def _run(plan: LoadPlan, *, as_json: bool, out: Path | None) -> tuple[LoadSummary, str | None]:
    """Run it, showing each second; return the summary and what went wrong with ``out``."""
    _allow_open_files(plan.max_in_flight + _SPARE_FILES)
    with ExitStack() as stack:
        rows = None if out is None else RowFile(out)
        if rows is not None:
            stack.callback(rows.close)
        summary = asyncio.run(
            run_load(
                plan,
                clock=SystemClock(),
                on_row=_ignore if rows is None else rows.write,
                on_tick=_show(stack, as_json=as_json),
                stop_signals=(signal.SIGINT, signal.SIGTERM),
            )
        )
    return summary, None if rows is None else rows.problem


def _show(stack: ExitStack, *, as_json: bool) -> Callable[[LoadTick], None]:
    if as_json:
        return lambda tick: print(dump_tick(tick).decode(), flush=True)  # noqa: T201 - this is the product
    if not sys.stderr.isatty():
        return _ignore
    live = stack.enter_context(Live(console=Console(stderr=True), auto_refresh=False, transient=True))
    return lambda tick: live.update(tick_line(tick), refresh=True)


def _print_summary(summary: LoadSummary, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"summary": asdict(summary)}))
    else:
        Console().print(summary_table(summary))


def _allow_open_files(wanted: int) -> None:
    """Every open stream is a file; raise the soft limit as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _ignore(_: object) -> None:
    return
