"""Walk-forward forecast benchmark over series of real traffic: ours against its rivals, scored alike.

    python benchmarks/forecast.py SERIES_DIRECTORY --out docs/benchmarks-forecast.md

Each ``*.csv.gz`` has columns ``t_s,n[,prompt_tokens,output_tokens][,gap]``, one row per bin; bins with
``gap=1`` are unknown. Horizons are 1, 5 and 15 minutes, or one bin where a bin is longer. At the end of
every bin the 0.9 quantile of the target is predicted from the bins so far: the largest bin until the
horizon (``maximum``), or the bin at the horizon (``end``). Scored is the mean pinball loss over all bins
after the first two days (or the first third) for which all methods gave an answer, relative to last value.
Columns with fewer than 20 independent horizons (series of an hour) are shown in brackets and do not count.
statsforecast is needed for its two rivals (``pip install foreserve[bench]``), which are left out without.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from forecast_rivals import DAY_S, RIVALS, FloatArray, banded
from rich.progress import Progress

from controller.forecast.fitted import FittedModel
from controller.forecast.fitting import fit_past
from controller.forecast.online import Spec, Track, advance, looking_back, predict, start
from controller.forecast.past import Past
from controller.forecast.retrospect import look_back
from controller.forecast.seasons import season_s
from controller.forecast.target import Target

OURS = "Foreserve"
PROBABILITY = 0.9
HORIZONS_S = (60.0, 300.0, 900.0)
_LONGEST_DAYS = 15
_WINDOW_S = 6 * 3600.0
_STEADY = 0.03
_ANSWERED = 0.5
_FEWEST_HORIZONS = 20.0


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
    """All scores of one series at one horizon."""

    series: str
    horizon_s: float
    horizons: float = 0.0
    scores: dict[str, Score] = field(default_factory=dict)

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
        reference = next(iter(RIVALS))
        return self.scores[method].loss / self.scores[reference].loss


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


def ours(series: Series, ahead: int, target: Target) -> FloatArray:
    """Our forecast at the end of every bin, with the model refitted once a day and the season looked for hourly."""
    step_s, values = series.step_s, series.values
    spec = Spec(horizon_s=ahead * step_s, step_s=step_s, probabilities=(PROBABILITY,), target=target)
    whole = Past(step_s, values.size * step_s, values)
    served = np.full(values.size, np.nan)
    track: Track | None = None
    season: float | None = None
    model: FittedModel | None = None
    hour, day = max(1, round(3600 / step_s)), round(series.day)
    for place, value in enumerate(values.tolist()):
        known = None if math.isnan(value) else value
        if track is None:
            track = None if known is None else start(spec, at=(place + 1) * step_s, value=known)
            continue
        if place % hour == 0 or place % day == 0:
            so_far = Past(step_s, place * step_s, values[max(0, place - _LONGEST_DAYS * day) : place])
            season = season_s(so_far)
            if place % day == 0:
                model = fit_past(so_far, horizon_s=spec.horizon_s, probabilities=(PROBABILITY,), seed=0, target=target)

        glance = partial(_look, whole=whole, place=place, season=season, model=model)
        track = advance(track, at=(place + 1) * step_s, value=known, glance=glance)
        if known is not None:
            served[place] = predict(track).served[0]
    return served


def _look(track: Track, *, whole: Past, place: int, season: float | None, model: FittedModel | None) -> Track:
    if season is None and model is None:
        return track
    look = look_back(
        whole,
        level=track.levels.at(2),
        horizon_s=track.spec.horizon_s,
        probabilities=track.spec.probabilities,
        season_s=season,
        model=model,
        place=place,
    )
    return looking_back(track, look)


def scored(served: FloatArray, actual: FloatArray, counted: np.ndarray, step_s: float) -> Score:
    """Score the bins that count."""
    error = actual[counted] - served[counted]
    loss = np.maximum(PROBABILITY * error, (PROBABILITY - 1) * error)
    covered = (error <= 0).astype(np.float64)
    window = max(1, round(_WINDOW_S / step_s))
    lately = np.convolve(covered, np.ones(window) / window, "valid") if covered.size >= window else covered[:0]
    steady = float(np.mean(np.abs(lately - PROBABILITY) <= _STEADY)) if lately.size else math.nan
    return Score(float(loss.mean()), float(covered.mean()), steady)


def column(series: Series, ahead: int, target: Target, methods: list[str], progress: Progress) -> Column:
    """Run every method over one series at one horizon."""
    actual = outcomes(series.values, ahead, target)
    served: dict[str, FloatArray] = {}
    found = Column(series.name, ahead * series.step_s)
    task = progress.add_task(found.title, total=len(methods))
    for method in methods:
        if method == OURS:
            served[method] = ours(series, ahead, target)
        elif method == "seasonal naive" and series.values.size < 1.5 * series.day:
            pass
        else:
            rival, needs_band = RIVALS[method]
            points = rival(series.values, ahead, series.day, actual)
            served[method] = banded(points, actual, ahead, PROBABILITY) if needs_band else points
        progress.advance(task)
    progress.remove_task(task)
    counted = np.isfinite(actual) & np.isfinite(series.values)
    counted[: min(series.values.size // 3, round(2 * series.day))] = False
    for quantile in served.values():
        if np.isfinite(quantile[counted]).mean() > _ANSWERED:
            counted &= np.isfinite(quantile)
    found.horizons = float(counted.sum()) / ahead
    for method, quantile in served.items():
        if np.isfinite(quantile[counted]).all():
            found.scores[method] = scored(quantile, actual, counted, series.step_s)
    return found


def table(columns: list[Column], methods: list[str]) -> str:
    """Losses relative to last value, one row per method, best first."""
    rows = []
    for method in methods:
        shown = [one.relative(method) if method in one.scores else math.nan for one in columns]
        known = [value for one, value in zip(columns, shown, strict=True) if one.counts and math.isfinite(value)]
        if not known:
            continue
        mean = math.exp(sum(map(math.log, known)) / len(known))
        coverage = [one.scores[method].coverage for one in columns if one.counts and method in one.scores]
        rows.append((len(known) < sum(one.counts for one in columns), mean, method, shown, coverage))
    rows.sort(key=lambda row: (row[0], row[1]))
    lines = [
        "| method | geometric mean | coverage | "
        + " | ".join(one.title if one.counts else f"({one.title})" for one in columns)
        + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for lacks, mean, method, shown, coverage in rows:
        cells = " | ".join("-" if math.isnan(value) else f"{value:.3f}" for value in shown)
        name = f"{method}{' (some only)' if lacks else ''}"
        lines.append(f"| {name} | {mean:.3f} | {min(coverage):.3f}-{max(coverage):.3f} | {cells} |")
    return "\n".join(lines)


def verdict(columns: list[Column], methods: list[str]) -> str:
    """Ours against the best single rival, and column by column against the best of all."""
    columns = [one for one in columns if one.counts]

    def mean(method: str) -> float:
        if any(method not in one.scores for one in columns):
            return math.inf
        return math.exp(sum(math.log(one.relative(method)) for one in columns) / len(columns))

    rivals = [method for method in methods if method != OURS]
    best = min(rivals, key=mean)
    worst, behind = max(
        (
            (one, one.relative(OURS) / min(one.relative(rival) for rival in rivals if rival in one.scores))
            for one in columns
        ),
        key=lambda entry: entry[1],
    )
    ours_scores = [one.scores[OURS] for one in columns]
    steady = "; ".join(f"{one.title} {one.scores[OURS].steady:.0%}" for one in columns)
    low, high = min(score.coverage for score in ours_scores), max(score.coverage for score in ours_scores)
    less = 1 - mean(OURS) / mean(best)
    lines = (
        f"* Geometric mean {mean(OURS):.3f}, the best single rival ({best}) {mean(best):.3f}: {less:.1%} less loss.",
        f"* Furthest behind the best of all rivals on {worst.title}: {behind - 1:+.1%}.",
        f"* Coverage of the 0.9 quantile {low:.3f} to {high:.3f}.",
        f"* 6-hour stretches with coverage within 3 points: {steady}.",
    )
    return "\n".join(lines)


def main(
    directory: Annotated[Path, typer.Argument(help="Folder with series as *.csv.gz.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write; stdout without it.")] = None,
    target: Annotated[list[Target] | None, typer.Option(help="Which target; both without it.")] = None,
    tokens: Annotated[bool, typer.Option(help="Also the token signals.")] = False,
    days: Annotated[float, typer.Option(help="Only the first days of each series.")] = math.inf,
    only: Annotated[str, typer.Option(help="Only series whose name begins so.")] = "",
) -> None:
    """Run the benchmark."""
    methods = [OURS, *RIVALS]
    if importlib.util.find_spec("statsforecast") is None:
        methods = [method for method in methods if not method.startswith("Auto")]
    longest = days if math.isfinite(days) else 10_000.0
    series = [one for one in read_series(directory, tokens=tokens, days=longest) if one.name.startswith(only)]
    parts = []
    with Progress() as progress:
        for wanted in target or list(Target):
            work = [(one, ahead) for one in series for ahead in horizons(one)]
            task = progress.add_task(f"[bold]{wanted}", total=len(work))
            columns = []
            for one, ahead in work:
                columns.append(column(one, ahead, wanted, methods, progress))
                progress.advance(task)
            title = "largest bin until the horizon" if wanted is Target.MAXIMUM else "bin at the horizon"
            parts.append(f"## Target: {title}\n\n{verdict(columns, methods)}\n\n{table(columns, methods)}\n")
            if out is not None:
                out.write_text("\n".join(parts))
    if out is None:
        print("\n".join(parts))


if __name__ == "__main__":
    typer.run(main)
