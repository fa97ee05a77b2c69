"""A whole search, generation by generation, kept in a file so that it can go on after any end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from controller.errors import BadInputError
from controller.tuning.search import Trial, generation_size, propose
from controller.tuning.space import Space
from controller.tuning.workers import Workers

Note = Callable[[Trial], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched, and for how long. ``objective`` is the attainment that is to be kept."""

    space: Space
    trials: int
    objective: float
    seed: int
    fingerprint: str


def run_search(search: Search, workers: Workers, journal: Journal, note: Note) -> list[Trial]:
    """Try the base policy, then ``trials`` candidates; what the journal has is not tried again."""
    known = {trial.number: trial for trial in journal.trials}
    for trial in known.values():
        note(trial)
    done: list[Trial] = []
    generation = [Trial(number=0, point=None, values={})]
    while generation:
        fresh = [trial for trial in generation if trial.number not in known]
        for trial in workers.run(fresh):
            known[trial.number] = trial
            journal.add(trial)
            note(trial)
        done += [known[trial.number] for trial in generation]
        generation = _next(search, done)
    return done


def _next(search: Search, done: Sequence[Trial]) -> list[Trial]:
    first = len(done)
    count = min(generation_size(search.trials), search.trials + 1 - first)
    if count <= 0:
        return []
    points = propose(
        done,
        first=first,
        count=count,
        trials=search.trials,
        size=len(search.space.ranges),
        objective=search.objective,
        seed=search.seed,
    )
    return [
        Trial(number=first + place, point=point, values=search.space.values(point))
        for place, point in enumerate(points)
    ]


class Journal:
    """Finished trials, one JSON line each; a line that was cut off by a crash is dropped."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open or begin the file.

        Raises:
            BadInputError: it belongs to another search, or cannot be written.

        """
        self._path = path
        self.trials: list[Trial] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
            whole = [json.loads(line) for line in lines[:-1]]
            if whole and whole[0].get("search") != fingerprint:
                msg = f"{path}: is of another search (other trace, policy, space, trials or seed); choose another --out"
                raise BadInputError(msg)
            self.trials = [_trial(document) for document in whole[1:]]
            if not whole or lines[-1]:
                fresh = path.with_name(path.name + ".new")
                fresh.write_text(
                    "".join(json.dumps(one) + "\n" for one in whole or [{"search": fingerprint}]), encoding="utf-8"
                )
                fresh.replace(path)
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{path}: cannot be written: {error}"
            raise BadInputError(msg) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{path}: is not a search's journal ({error}); choose another --out"
            raise BadInputError(msg) from error

    def add(self, trial: Trial) -> None:
        """Keep a finished trial."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _trial(document: dict[str, Any]) -> Trial:
    point = document["point"]
    known = document | {"point": None if point is None else tuple(point), "traces": tuple(document["traces"])}
    return Trial(**known)
