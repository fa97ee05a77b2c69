"""Tries mutants that mutmut made: one pytest session collects the tests once, and each mutant gets a fork of it.

A fork costs hundredths of a second, a new pytest a second or more. Every now and then one is tried that changes
nothing: if a test fails with it, so would all the others, and nothing is believed. First each test is run without a
change, which tells what it takes and which functions it reaches; that is kept beside the mutants until the test's file
is edited.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import json
import mmap
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

KILLED, TIMEOUT, SURVIVED, UNREACHED = "k", "t", "s", "n"
_REACH = Path("mutmut-reach.json")
_LIMIT_FACTOR = 10
_LIMIT_S = 20
_POLL_S = 0.005
_BROKEN = 70
_UNCHANGED = ""
_CONTROL_EVERY = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a test takes in seconds, and the functions it calls, by mutmut's names."""

    took_s: float
    functions: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What to try. ``mutants`` maps mutmut's name of a mutant to that of its function, in the order to try them in."""

    mutants: Mapping[str, str]
    functions: Sequence[str]
    """All that have mutants, by mutmut's names."""
    options: Sequence[str]
    jobs: int
    within_s: float
    until: float
    """As ``time.monotonic`` tells it."""


def tried(trial: Trial, verdict: Callable[[str, str], None]) -> None:
    """Tell a verdict on one mutant after another, until all are tried or the time is over.

    Runs in ``mutants/``, where mutmut put sources and tests.

    Raises:
        RuntimeError: A test fails without a change, or there is none.

    """
    import pytest  # noqa: PLC0415 - mutmut's own import of what is under test comes first
    from mutmut.utils.file_utils import change_cwd, setup_source_paths  # noqa: PLC0415

    setup_source_paths()
    session = _Session(trial, verdict)
    with change_cwd("mutants"), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = pytest.main(["--rootdir=.", "-s", "-p", "no:randomly", *trial.options], plugins=[session])
    if not session.done:
        msg = f"the tests do not pass without a change (pytest ended with {int(code)}): {session.said}"
        raise RuntimeError(msg)


class _BrokenError(Exception):
    """Tests fail in a fork whatever is changed."""


class _Session:
    """A pytest plugin that tries mutants where pytest would run the tests."""

    def __init__(self, trial: Trial, verdict: Callable[[str, str], None]) -> None:
        self._trial = trial
        self._verdict = verdict
        self.done = False
        self.said = "see above"
        self._failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed or not session.items:
            self.said = f"{session.testsfailed} files cannot be read, {len(session.items)} tests"
            return True
        reach = self._reach(session.items)
        if reach is None:
            return True
        forks = _Forks(session.items, reach, self._trial, self._passes)
        gc.collect()
        gc.freeze()
        try:
            for mutant, verdict in forks.verdicts():
                self._verdict(mutant, verdict)
        except _BrokenError as error:
            self.said = str(error)
        else:
            self.done = True
        return True

    def _reach(self, items: Sequence[pytest.Item]) -> dict[str, Reach] | None:
        """What each test takes and calls; None if one fails."""
        from mutmut.mutation.trampoline import set_mutant_under_test  # noqa: PLC0415
        from mutmut.state import state  # noqa: PLC0415

        functions = hashlib.sha256(json.dumps(sorted(self._trial.functions)).encode()).hexdigest()
        digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in {item.path for item in items}}
        kept = _kept(functions)
        called: set[str] = state()._stats  # noqa: SLF001 - where its trampolines write
        set_mutant_under_test("stats")
        fresh = [item for item in items if kept.get(item.nodeid, ("", None))[0] != digests[item.path]]
        for item, following in itertools.zip_longest(fresh, fresh[1:]):
            called.clear()
            began = time.perf_counter()
            if not self._passes(item, following):
                self.said = item.nodeid
                return None
            reach = Reach(took_s=time.perf_counter() - began, functions=frozenset(called))
            kept[item.nodeid] = digests[item.path], reach
        found = {item.nodeid: kept[item.nodeid] for item in items}
        rows = {test: [digest, one.took_s, sorted(one.functions)] for test, (digest, one) in found.items()}
        _REACH.write_text(json.dumps({"functions": functions, "tests": rows}), encoding="utf-8")
        return {test: one for test, (_, one) in found.items()}

    def _passes(self, item: pytest.Item, following: pytest.Item | None) -> bool:
        self._failed = False
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        return not self._failed


class _Forks:
    """Mutants under trial, each in a process of its own."""

    def __init__(
        self,
        items: Sequence[pytest.Item],
        reach: Mapping[str, Reach],
        trial: Trial,
        passes: Callable[[pytest.Item, pytest.Item | None], bool],
    ) -> None:
        self._items = items
        self._passes = passes
        self._took_s = [reach[item.nodeid].took_s for item in items]
        self._trial = trial
        self._reaching: dict[str, list[int]] = defaultdict(list)
        for number in sorted(range(len(items)), key=self._took_s.__getitem__):
            for function in reach[items[number].nodeid].functions:
                self._reaching[function].append(number)
        self._noticing: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        self._slots = mmap.mmap(-1, 4 * trial.jobs)
        self._running: dict[int, tuple[str, int, float]] = {}

    def verdicts(self) -> Iterator[tuple[str, str]]:
        """Each mutant's verdict as it is known."""
        for place, (mutant, function) in enumerate(self._trial.mutants.items()):
            if time.monotonic() > self._trial.until:
                break
            if not self._reaching[function]:
                yield mutant, UNREACHED
                continue
            while len(self._running) == self._trial.jobs:
                yield from self._ended()
            chosen = self._chosen(function)
            if place % _CONTROL_EVERY == 0:
                self._begin(_UNCHANGED, chosen)
                while len(self._running) == self._trial.jobs:
                    yield from self._ended()
            self._begin(mutant, chosen)
        while self._running:
            yield from self._ended()

    def _chosen(self, function: str) -> list[int]:
        """The tests that noticed most of this function's changes, then the quickest, as many as there is time for."""
        noticing = self._noticing[function]
        chosen, sum_s = [], 0.0
        for number in sorted(self._reaching[function], key=lambda test: -noticing[test]):
            sum_s += self._took_s[number]
            if chosen and sum_s > self._trial.within_s and not noticing[number]:
                continue
            chosen.append(number)
        return chosen

    def _begin(self, mutant: str, tests: Sequence[int]) -> None:
        slot = min(set(range(self._trial.jobs)) - {slot for _, slot, _ in self._running.values()})
        limit_s = int(sum(self._took_s[test] for test in tests) * _LIMIT_FACTOR + _LIMIT_S)
        process = os.fork()
        if process == 0:
            self._try(mutant, tests, slot, limit_s)
        self._running[process] = mutant, slot, time.monotonic() + 4 * limit_s

    def _try(self, mutant: str, tests: Sequence[int], slot: int, limit_s: int) -> None:
        """In the fork: end with 1 at the first test that fails, and say which it was; with 0 if none does."""
        from mutmut.mutation.trampoline import set_mutant_under_test  # noqa: PLC0415

        code = _BROKEN
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
            set_mutant_under_test(mutant)
            for place, test in enumerate(tests):
                self._slots[4 * slot : 4 * slot + 4] = test.to_bytes(4)
                following = self._items[tests[place + 1]] if place + 1 < len(tests) else None
                if not self._passes(self._items[test], following):
                    code = 1
                    break
            else:
                code = 0
        finally:
            os._exit(code)

    def _ended(self) -> Iterator[tuple[str, str]]:
        """Wait for one that ends; end what is far over its time."""
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            time.sleep(_POLL_S)
            for late in [one for one, (_, _, until) in self._running.items() if time.monotonic() > until]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(late, 9)
            return
        if process not in self._running:
            return
        mutant, slot, _ = self._running.pop(process)
        code = os.waitstatus_to_exitcode(status)
        noticed = int.from_bytes(self._slots[4 * slot : 4 * slot + 4])
        if code == _BROKEN or (mutant == _UNCHANGED and code != 0):
            msg = f"without a change, {self._items[noticed].nodeid} fails in a fork (it ended with {code})"
            raise _BrokenError(msg)
        if mutant == _UNCHANGED:
            return
        if code == 1:
            self._noticing[self._trial.mutants[mutant]][noticed] += 1
        yield mutant, SURVIVED if code == 0 else TIMEOUT if code < 0 else KILLED


def _kept(functions: str) -> dict[str, tuple[str, Reach]]:
    """What an earlier run wrote about the same functions: the digest of the test's file, and its reach."""
    try:
        written = json.loads(_REACH.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if written["functions"] != functions:
        return {}
    return {
        test: (digest, Reach(took_s=took_s, functions=frozenset(called)))
        for test, (digest, took_s, called) in written["tests"].items()
    }
