"""Peers on the public traces beside what an independent simulator got for the same settings.

    python -m benchmarks.agreement --traces DIR [--out DIR] [--seeds 3] [--day azure_conv] [--write docs/benchmarks.md]

Prints a table, and with ``--write`` puts it between its markers in the page. Runs are those of ``benchmarks.bars`` and
kept in the same folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bars import POLICY, SCENARIOS, Bench, Job, cell
from benchmarks.public_days import PUBLIC_DAYS, PublicDay

Cell = tuple[float, float]
"""GPU-hours over the oracle's, and the share that kept both objectives, in percent."""

INDEPENDENT: dict[str, tuple[Cell, ...]] = {
    "ray-serve:2": ((6.9, 100), (6.5, 100), (4.1, 100), (5.7, 100)),
    "ray-serve:12": ((1.64, 100), (1.67, 99.8), (2.40, 91.4), (1.66, 100)),
    "hpa:12": ((1.71, 100), (1.83, 100), (1.18, 99.1), (1.75, 100)),
    "hpa:20": ((1.29, 99.9), (1.36, 99.9), (2.21, 81.7), (1.31, 100)),
    "kpa:28": ((1.85, 96.3), (1.33, 99.5), (1.67, 87.0), (1.26, 99.8)),
    "keda:5": ((7.3, 76), (7.7, 75), (5.4, 75), (7.7, 75)),
    "static": ((1.27, 99.9), (1.46, 99.6), (1.45, 99.3), (2.11, 99.2)),
}
WITHIN = 0.10
BEGIN = "<!-- agreement: begin (generated) -->"
END = "<!-- agreement: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One policy on one day, means over the seeds."""

    ratio: float
    kept: float


def measure(bench: Bench, day: PublicDay) -> dict[str, Measured]:
    """Run every policy of the table on one day, unless it is kept already."""
    found = {}
    for text in INDEPENDENT:
        wanted = [
            Job(day=day, scenario=SCENARIOS[0], policy=policy, seed=seed)
            for policy in ("oracle", text)
            for seed in range(1, bench.seeds + 1)
        ]
        for job in wanted:
            if not bench.file(job).exists():
                bench.run(job)
        mean = cell(bench, day, SCENARIOS[0], text)
        if mean is None:
            msg = f"{day.name} {text} was not run"
            raise RuntimeError(msg)
        found[text] = Measured(ratio=mean.ratio, kept=mean.kept)
        print(f"{day.name} {text}: {found[text]}", file=sys.stderr, flush=True)
    return found


def table(days: Sequence[PublicDay], measured: Sequence[dict[str, Measured]]) -> str:
    """Write ours beside theirs; a cost that differs by more than a tenth is marked."""
    places = [PUBLIC_DAYS.index(day) for day in days]
    lines = ["| policy | " + " | ".join(day.name for day in days) + " |", "|---" * (len(days) + 1) + "|"]
    for text, theirs in INDEPENDENT.items():
        cells = [_cell(of_day[text], theirs[place]) for of_day, place in zip(measured, places, strict=True)]
        lines.append(f"| `{text}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(ours: Measured, theirs: Cell) -> str:
    ratio, kept = theirs
    off = ours.ratio / ratio - 1.0
    mark = f" **{off:+.0%}**" if abs(off) > WITHIN else ""
    return f"{ours.ratio:.2f} ({ours.kept:.1%}) / {ratio:g} ({kept:g} %){mark}"


def write(page: Path, text: str) -> None:
    """Put ``text`` between the page's markers, at its end when it has none yet."""
    body = page.read_text()
    if BEGIN not in body:
        body = f"{body.rstrip()}\n\n{BEGIN}\n{END}\n"
    head, rest = body.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="folder with requests/*.csv.gz")
    parser.add_argument("--out", type=Path, default=Path("build/bars"), help="where results are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--day", action="append", choices=[day.name for day in PUBLIC_DAYS], help="only this one")
    parser.add_argument("--write", type=Path, help="the page with the markers")
    options = parser.parse_args()
    bench = Bench(traces=options.traces, out=options.out, policy=POLICY, quick=False, seeds=options.seeds)
    days = [day for day in PUBLIC_DAYS if options.day is None or day.name in options.day]
    measured = [measure(bench, day) for day in days]
    text = table(days, measured)
    print(text)
    if options.write is not None:
        write(options.write, text)


if __name__ == "__main__":
    main()
