"""Walk-forward forecast benchmark over series of real traffic: ours against its rivals, scored alike.

    python benchmarks/forecast.py SERIES_DIRECTORY --keep WORK_DIRECTORY --docs docs/benchmarks.md

Each ``*.csv.gz`` has columns ``t_s,n[,prompt_tokens,output_tokens][,gap]``, one row per bin; bins with
``gap=1`` are unknown. Horizons are 1, 5 and 15 minutes, or one bin where a bin is longer. At the end of
every bin the 0.9 quantile of the target is predicted from the bins so far: the largest bin until the
horizon (``maximum``, what the controller sizes for), or the bin at the horizon (``end``). Scored is the mean
pinball loss over all bins after the first two days (or the first third) for which all methods gave an
answer, relative to last value. Every point forecast, last value too, gets the same band: the empirical
quantile of its own last 200 errors at that horizon. Columns with fewer than 20 independent horizons (series
of an hour) are shown in brackets and do not count. Answers are kept in the work directory, one file for each
series, horizon, target and method, so that a run that was stopped goes on where it was.

``pip install foreserve[bench]`` brings statsforecast; with ai-dynamo (without its dependencies), pmdarima,
prophet and filterpy, Dynamo's own predictors take part. What is not installed is left out, and said.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before numpy and scikit-learn: threads that wait cost more than one.

import forecast_dynamo
import numpy as np
import typer
from forecast_ours import DAY_S, FloatArray, walk
from forecast_rivals import RIVALS, banded
from rich.progress import Progress

from controller.forecast.past import Past
from controller.forecast.target import Target

OURS = "Foreserve"
REFERENCE = next(iter(RIVALS))
PROBABILITY = 0.9
HORIZONS_S = (60.0, 300.0, 900.0)
_WINDOW_S = 6 * 3600.0
_STEADY = 0.03
_ANSWERED = 0.5
_FEWEST_HORIZONS = 20.0
_RECOVERED = 6
"""Misses are over when so many outcomes in a row were covered."""

BEGIN, END = "<!-- forecast:begin -->", "<!-- forecast:end -->"


@dataclass(frozen=True, slots=True)
class Series:
    """One signal of one file."""

    name: str
    step_s: float
    values: FloatArray

    @property
    def day(self) -> float:
        """Bins per day."""
        return DAY_S / self.step_s


@dataclass(frozen=True, slots=True)
class Score:
    """Mean pinball loss, coverage, and the share of 6-hour stretches with coverage within 3 points."""

    loss: float
    coverage: float
    steady: float


@dataclass(slots=True)
class Column:
    """All scores of one series at one horizon; ``sampled`` are relative losses of methods asked now and then."""

    series: str
    horizon_s: float
    step_s: float
    horizons: float = 0.0
    scores: dict[str, Score] = field(default_factory=dict)
    sampled: dict[str, tuple[float, float]] = field(default_factory=dict)
    worst: tuple[float, float] | None = None
    """Lowest 6-hour coverage, and after how many hours it was back within 3 points."""

    @property
    def title(self) -> str:
        """Series and horizon."""
        return f"{self.series} {self.horizon_s / 60:g} min"

    @property
    def counts(self) -> bool:
        """Whether there is enough to tell methods apart."""
        return self.horizons >= _FEWEST_HORIZONS

    def relative(self, method: str) -> float:
        """Loss relative to last value."""
        return self.scores[method].loss / self.scores[REFERENCE].loss


def read_series(directory: Path, *, tokens: bool, days: float) -> Iterator[Series]:
    """All series of a directory; token signals only when asked for."""
    for path in sorted(directory.glob("*.csv.gz")):
        with gzip.open(path, "rt") as file:
            rows = list(csv.DictReader(file))
        gap = np.array([row.get("gap", "0") not in ("0", "") for row in rows])
        step_s = float(rows[1]["t_s"]) - float(rows[0]["t_s"])
        for signal in ("n", "prompt_tokens", "output_tokens"):
            if signal not in rows[0] or (signal != "n" and not tokens):
                continue
            values = np.array([float(row[signal]) for row in rows])
            values[gap] = np.nan
            name = "_".join(path.name.split("_")[:2]) + ("" if signal == "n" else f" {signal.split('_')[0]}")
            yield Series(name, step_s, values[: round(days * DAY_S / step_s)])


def horizons(series: Series) -> list[int]:
    """Horizons in bins."""
    return [round(horizon / series.step_s) for horizon in HORIZONS_S if horizon >= series.step_s] or [1]


def outcomes(values: FloatArray, ahead: int, target: Target) -> FloatArray:
    """What came after each bin; NaN where it is unknown."""
    places = np.arange(values.size)
    if target is Target.END:
        return np.concatenate([values[ahead:], np.full(ahead, np.nan)])
    largest = Past(1.0, 0.0, values).largest(places, ahead)
    largest[values.size - ahead :] = np.nan
    return largest


class NotKeptError(Exception):
    """An answer is not there, and is not to be made now."""


class Answers:
    """What every method served, from its file or made now."""

    def __init__(self, keep: Path | None, *, make_more: bool = True) -> None:
        self._keep = keep
        self._make_more = make_more

    def served(self, method: str, series: Series, ahead: int, target: Target) -> FloatArray:
        """Return the quantile served at the end of each bin; NaN where the method gave none."""
        return self._kept(f"{series.name}-{ahead}-{target}-{method}", lambda: _make(method, series, ahead, target))

    def points(self, preset: str, series: Series, ahead: int) -> FloatArray:
        """Return one of Dynamo's presets' point predictions; they are the same for both targets."""
        origins = sampled_origins(series)
        return self._kept(
            f"{series.name}-{ahead}-points-{preset}",
            lambda: forecast_dynamo.points(preset, series.values, ahead, series.step_s, origins),
        )

    def _kept(self, name: str, make: Callable[[], FloatArray]) -> FloatArray:
        if self._keep is None:
            return make()
        path = self._keep / f"{name.replace(' ', '_').replace('/', '')}.npy"
        if path.exists():
            return np.load(path)
        if not self._make_more:
            raise NotKeptError
        found = make()
        np.save(path, found)
        return found


def _make(method: str, series: Series, ahead: int, target: Target) -> FloatArray:
    if method == OURS:
        return walk(series.values, series.step_s, ahead, target, PROBABILITY)
    actual = outcomes(series.values, ahead, target)
    rival, needs_band = RIVALS[method]
    points = rival(series.values, ahead, series.day, actual)
    return banded(points, actual, ahead, PROBABILITY) if needs_band else points


def warm(series: Series) -> int:
    """First bin that is scored."""
    return min(series.values.size // 3, round(2 * series.day))


def sampled_origins(series: Series) -> np.ndarray:
    """Where methods are asked that take too long for every bin."""
    return np.linspace(warm(series), series.values.size - 2, forecast_dynamo.SAMPLED).astype(np.int64)


def scored(served: FloatArray, actual: FloatArray, counted: np.ndarray, step_s: float) -> Score:
    """Score the bins that count."""
    error = actual[counted] - served[counted]
    lately = windows((error <= 0).astype(np.float64), step_s)
    steady = float(np.mean(np.abs(lately - PROBABILITY) <= _STEADY)) if lately.size else math.nan
    return Score(float(pinball(error).mean()), float((error <= 0).mean()), steady)


def pinball(error: FloatArray) -> FloatArray:
    """Loss of the quantile."""
    return np.maximum(PROBABILITY * error, (PROBABILITY - 1) * error)


def windows(covered: FloatArray, step_s: float) -> FloatArray:
    """Coverage of every 6 hours."""
    window = max(1, round(_WINDOW_S / step_s))
    return np.convolve(covered, np.ones(window) / window, "valid") if covered.size >= window else covered[:0]


def recovery(covered: FloatArray, step_s: float) -> tuple[float, float] | None:
    """The lowest 6-hour coverage, and the hours from there until one is within 3 points again."""
    lately = windows(covered, step_s)
    if not lately.size:
        return None
    worst = int(lately.argmin())
    back = np.flatnonzero(lately[worst:] >= PROBABILITY - _STEADY)
    return float(lately[worst]), float(back[0] if back.size else math.nan) * step_s / 3600


def by_chance(ahead: int, step_s: float, *, seed: int = 0) -> float:
    """Share of 6-hour stretches within 3 points for a forecaster that knows the law of an independent series."""
    size = round(60 * DAY_S / step_s)
    values = np.random.default_rng(seed).random(size)
    actual = outcomes(values, ahead, Target.MAXIMUM)
    covered = (actual[np.isfinite(actual)] <= PROBABILITY ** (1 / ahead)).astype(np.float64)
    lately = windows(covered, step_s)
    return float(np.mean(np.abs(lately - PROBABILITY) <= _STEADY)) if lately.size else math.nan


def column(series: Series, ahead: int, target: Target, methods: Sequence[str], answers: Answers) -> Column:
    """Score every method on one series at one horizon."""
    actual = outcomes(series.values, ahead, target)
    served: dict[str, FloatArray] = {}
    for method in methods:
        if method == "seasonal naive" and series.values.size < 1.5 * series.day:
            continue
        if forecast_dynamo.PRESETS.get(method, {}).get("family") == "prophet":
            continue
        with suppress(NotKeptError):
            if method in forecast_dynamo.PRESETS:
                served[method] = banded(answers.points(method, series, ahead), actual, ahead, PROBABILITY)
            else:
                served[method] = answers.served(method, series, ahead, target)
    found = Column(series.name, ahead * series.step_s, series.step_s)
    counted = np.isfinite(actual) & np.isfinite(series.values)
    counted[: warm(series)] = False
    for quantile in served.values():
        if np.isfinite(quantile[counted]).mean() > _ANSWERED:
            counted &= np.isfinite(quantile)
    found.horizons = float(counted.sum()) / ahead
    for method, quantile in served.items():
        if np.isfinite(quantile[counted]).all():
            found.scores[method] = scored(quantile, actual, counted, series.step_s)
    if found.counts and OURS in served:
        found.worst = recovery((actual <= served[OURS])[counted].astype(np.float64), series.step_s)
        _score_sampled(found, series, ahead, actual, served, methods, answers)
    return found


def _score_sampled(  # noqa: PLR0917 - a part of column
    found: Column,
    series: Series,
    ahead: int,
    actual: FloatArray,
    served: dict[str, FloatArray],
    methods: Sequence[str],
    answers: Answers,
) -> None:
    """Losses at the sampled bins, relative to last value's and to ours there; the band is of the same bins."""
    origins = sampled_origins(series)
    for method in methods:
        if forecast_dynamo.PRESETS.get(method, {}).get("family") != "prophet":
            continue
        try:
            points = answers.points(method, series, ahead)[origins]
        except NotKeptError:
            continue
        band = banded(points, actual[origins], max(1, math.ceil(ahead / max(1, np.diff(origins).min()))), PROBABILITY)
        usable = np.isfinite(band) & np.isfinite(actual[origins]) & np.isfinite(served[OURS][origins])
        usable &= np.isfinite(served[REFERENCE][origins])
        if not usable.any():
            continue
        at = origins[usable]
        loss = float(pinball(actual[at] - band[usable]).mean())
        reference, own = (float(pinball(actual[at] - served[one][at]).mean()) for one in (REFERENCE, OURS))
        if reference > 0 and own > 0:
            found.sampled[method] = (loss / reference, loss / own)


def table(columns: list[Column], methods: Sequence[str]) -> str:
    """Losses relative to last value, one row per method, best first."""
    rows = []
    for method in methods:
        shown = [one.relative(method) if method in one.scores else math.nan for one in columns]
        known = [value for one, value in zip(columns, shown, strict=True) if one.counts and math.isfinite(value)]
        if not known:
            continue
        coverage = [one.scores[method].coverage for one in columns if one.counts and method in one.scores]
        lacks = len(known) < sum(one.counts for one in columns)
        rows.append((lacks, geometric(known), method, shown, coverage))
    rows.sort(key=lambda row: (row[0], row[1]))
    titles = [one.title if one.counts else f"({one.title})" for one in columns]
    lines = [f"| method | mean | coverage | {' | '.join(titles)} |", "|---|---|---|" + "---|" * len(columns)]
    for lacks, mean, method, shown, coverage in rows:
        cells = " | ".join("-" if math.isnan(value) else f"{value:.3f}" for value in shown)
        name = f"{method}{' (some only)' if lacks else ''}"
        lines.append(f"| {name} | {mean:.3f} | {min(coverage):.3f}-{max(coverage):.3f} | {cells} |")
    return "\n".join(lines)


def geometric(values: Sequence[float]) -> float:
    """Geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def verdict(columns: list[Column], methods: Sequence[str]) -> str:
    """Ours against the best single rival, and column by column against the best of all."""
    columns = [one for one in columns if one.counts]

    def mean(method: str) -> float:
        return geometric([one.relative(method) for one in columns])

    rivals = [method for method in methods if method != OURS]
    best = min((method for method in rivals if _everywhere(columns, method)), key=mean)
    behind = sorted(
        (
            one.relative(OURS) / min(one.relative(rival) for rival in rivals if rival in one.scores) - 1,
            one.title,
            min((rival for rival in rivals if rival in one.scores), key=one.relative),
        )
        for one in columns
    )
    coverage = [one.scores[OURS].coverage for one in columns]
    lines = [
        f"* Geometric mean {mean(OURS):.3f}, the best single rival ({best}) {mean(best):.3f}, "  # noqa: ISC004
        f"{1 - mean(OURS) / mean(best):.1%} less.",
        f"* Behind the best of all rivals on {sum(gap > 0 for gap, _, _ in behind)} of {len(behind)} columns: "
        + ("; ".join(f"{title} {gap:+.1%} ({rival})" for gap, title, rival in behind[::-1] if gap > 0) or "none")
        + ".",
        f"* Coverage of the 0.9 quantile {min(coverage):.3f} to {max(coverage):.3f}.",
    ]
    lines += _where_they_are(columns, rivals)
    prophets = sorted({method for one in columns for method in one.sampled})
    if prophets:
        told = []
        for method in prophets:
            seen = [one.sampled[method] for one in columns if method in one.sampled]
            told.append(
                f"{method} {geometric([one for one, _ in seen]):.2f} ({geometric([own for _, own in seen]):.2f})"
            )
        lines.append(
            f"* At {forecast_dynamo.SAMPLED} sampled bins of each column, loss relative to last value there "
            f"(to ours there): {'; '.join(told)}."
        )
    return "\n".join(lines)


def _where_they_are(columns: Sequence[Column], rivals: Sequence[str]) -> list[str]:
    """The strongest of the rivals that have some columns only, beside ours on the same ones."""
    found = []
    for rival in rivals:
        shared = [one for one in columns if rival in one.scores]
        if shared and not _everywhere(columns, rival):
            own, other = (geometric([one.relative(name) for one in shared]) for name in (OURS, rival))
            found.append(
                (own / other, f"{rival} has {len(shared)} of {len(columns)} columns: {other:.3f}, ours {own:.3f}")
            )
    if not found:
        return []
    share, told = max(found)
    return [f"* The strongest rival with some columns only: {told} there, {1 - share:.1%} less."]


def _everywhere(columns: Sequence[Column], method: str) -> bool:
    return all(method in one.scores for one in columns)


def steadiness(columns: list[Column]) -> str:
    """Coverage in every 6 hours, beside what chance alone allows, and how late it recovers."""
    lines = [
        (
            "| series and horizon | coverage | 6-hour stretches within 3 points | the same by chance alone "
            "| lowest 6-hour coverage | hours until within 3 points again |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for one in columns:
        if not one.counts or one.worst is None or one.step_s > _WINDOW_S / 10:
            continue
        ours, (lowest, hours) = one.scores[OURS], one.worst
        chance = by_chance(round(one.horizon_s / one.step_s), one.step_s)
        lines.append(
            f"| {one.title} | {ours.coverage:.3f} | {ours.steady:.0%} | {chance:.0%} | {lowest:.2f} | {hours:.1f} |"
        )
    return "\n".join(lines)


def main(
    directory: Annotated[Path, typer.Argument(help="Folder with series as *.csv.gz.")],
    *,
    docs: Annotated[Path | None, typer.Option(help="Page whose generated part is replaced; stdout without it.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder that keeps every answer for the next run.")] = None,
    target: Annotated[list[Target] | None, typer.Option(help="Which target; both without it.")] = None,
    tokens: Annotated[bool, typer.Option(help="Also the token signals.")] = False,
    days: Annotated[float, typer.Option(help="Only the first days of each series.")] = math.inf,
    only: Annotated[str, typer.Option(help="Only series whose name begins so.")] = "",
    method: Annotated[list[str] | None, typer.Option(help="Only these rivals.")] = None,
    kept_only: Annotated[bool, typer.Option(help="Show what is kept so far; make nothing more.")] = False,
) -> None:
    """Run the benchmark."""
    methods, missing = available(method)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    answers = Answers(keep, make_more=not kept_only)
    longest = days if math.isfinite(days) else 10_000.0
    series = [one for one in read_series(directory, tokens=tokens, days=longest) if one.name.startswith(only)]
    parts = [f"Not installed, so left out: {', '.join(missing)}.\n"] if missing else []
    shown: set[str] = set()
    with Progress() as progress:
        for wanted in target or list(Target):
            work = [(one, ahead) for one in series for ahead in horizons(one)]
            columns = [
                column(one, ahead, wanted, methods, answers) for one, ahead in progress.track(work, description=wanted)
            ]
            columns = [one for one in columns if {OURS, REFERENCE} <= set(one.scores)]
            shown |= {name for one in columns for name in (*one.scores, *one.sampled)}
            if columns:
                parts.append(_part(wanted, columns, methods))
    if left_out := [name for name in methods if name not in shown]:
        parts.append(f"Not run, so not shown: {', '.join(left_out)}.\n")
    text = "\n".join(parts)
    if docs is None:
        print(text)
        return
    page = docs.read_text()
    docs.write_text(f"{page[: page.index(BEGIN)]}{BEGIN}\n{text}{page[page.index(END) :]}")


def available(wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Methods whose packages are there, and those whose are not."""
    methods = [OURS, *(name for name in (*RIVALS, *forecast_dynamo.PRESETS) if not wanted or name in wanted)]
    if REFERENCE not in methods:
        methods.insert(1, REFERENCE)
    missing = [name for name in methods if name.startswith("Auto") and not importlib.util.find_spec("statsforecast")]
    missing += [name for name in methods if name in forecast_dynamo.PRESETS and not forecast_dynamo.installed()]
    return [name for name in methods if name not in missing], missing


def _part(target: Target, columns: list[Column], methods: Sequence[str]) -> str:
    title = "largest bin until the horizon" if target is Target.MAXIMUM else "bin at the horizon"
    part = f"### Target: {title}\n\n{verdict(columns, methods)}\n\n{table(columns, methods)}\n"
    return part + (f"\n{steadiness(columns)}\n" if target is Target.MAXIMUM else "")


if __name__ == "__main__":
    typer.run(main)
