"""Changes the guards, one small change at a time, and counts how many of the changes the tests notice.

    python -m benchmarks.mutation [--minutes 10] [--jobs 2] [--share 1.0] [--within-s 4.0] [--again]
                                  [--only 'controller.window.*'] [--list] [--write docs/mutation.md]

Which modules are guards, and which tests are to notice, is said in ``[tool.mutmut]`` of ``pyproject.toml``. Every
verdict is kept under ``mutants/``: what was not done within ``--minutes`` is done by the next call, and a function
that was edited is tried anew. ``--again`` tries anew what survived, after tests were added. ``--share`` takes that
share of the mutants, always the same ones. Of the tests that reach a function the quickest are run, ``--within-s`` of
them for each mutant, so a slow law may know more. ``--list`` shows survivors without an explanation; ``--write`` puts
the table and all survivors between the markers of a page. Explanations are in ``benchmarks/mutation_survivors.toml``.

Needs mutmut (``pip install mutmut==3.8.1``). Words for people are no guards: text literals that are sentences are
left as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import signal
import sys
import threading
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import libcst as cst

BEGIN = "<!-- mutation: begin (generated) -->"
END = "<!-- mutation: end -->"
EXPLAINED = Path(__file__).with_name("mutation_survivors.toml")
_SKIPPED = 34
_KILLED = {"killed", "timeout", "segfault", "suspicious"}
_UNNOTICED = {"survived", "no tests"}
_PACKAGE_DEPTH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one function. ``name`` is mutmut's; ``was`` and ``now`` are the changed lines."""

    name: str
    module: str
    function: str
    verdict: str
    was: str = ""
    now: str = ""

    @property
    def package(self) -> str:
        """Such as ``controller.planner``."""
        return ".".join(self.module.split(".")[:_PACKAGE_DEPTH])


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why no test should notice. ``function`` may be a pattern; ``was`` and ``now`` are parts of the changed lines."""

    function: str
    was: str = ""
    now: str = ""
    why: str

    def fits(self, mutant: Mutant) -> bool:
        """Whether it explains this one."""
        here = fnmatchcase(f"{mutant.module}.{mutant.function}", self.function)
        return here and self.was in mutant.was and self.now in mutant.now


def main() -> None:
    """Run the command."""
    given = _arguments()
    try:
        import mutmut  # noqa: F401, PLC0415 - asked for by name when it is missing
    except ImportError:
        sys.exit("mutmut is not installed; python -m pip install mutmut==3.8.1")
    _leave_sentences_alone()
    if given.minutes > 0:
        _run(given)
    mutants = [one for one in _mutants() if fnmatchcase(one.module, given.only) and _in_share(one.name, given.share)]
    explanations = [
        Explanation(**one) for one in tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("survivor", ())
    ]
    survivors = [_with_lines(one) for one in mutants if one.verdict in _UNNOTICED]
    sys.stdout.write(f"\n{_table(mutants)}")
    unexplained = [one for one in survivors if _why(one, explanations) is None]
    sys.stdout.write(f"\n{len(survivors)} survivors, {len(unexplained)} of them not explained\n")
    if given.list:
        sys.stdout.writelines(
            f"\n{one.module}.{one.function}  ({one.verdict}; {one.name})\n  - {one.was}\n  + {one.now}\n"
            for one in unexplained
        )
    if given.write is not None:
        _write(given.write, _table(mutants) + "\n" + _told(survivors, explanations))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="stop after this long; 0 only reports")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--share", type=float, default=1.0, help="of all mutants, 0 to 1")
    parser.add_argument("--within-s", type=float, default=4.0, help="of tests for each mutant, the quickest first")
    parser.add_argument("--only", default="*", help="modules, as a pattern")
    parser.add_argument("--again", action="store_true", help="try survivors anew")
    parser.add_argument("--list", action="store_true", help="show survivors that are not explained")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    return parser.parse_args()


def _leave_sentences_alone() -> None:
    from mutmut.mutation import mutators  # noqa: PLC0415

    def words(node: cst.BaseString) -> Iterator[cst.BaseString]:
        if " " not in getattr(node, "value", ""):
            yield from mutators.operator_string(node)

    mutators.mutation_operators[:] = [
        (kind, words if operator is mutators.operator_string else operator)
        for kind, operator in mutators.mutation_operators
    ]


def _run(given: argparse.Namespace) -> None:
    """Try what has no verdict yet, until the time is over."""
    from mutmut import __main__ as mutmut  # noqa: PLC0415

    over = threading.Event()

    def stop() -> None:
        over.set()
        os.kill(os.getpid(), signal.SIGINT)

    Path("mutants").mkdir(exist_ok=True)
    mutmut.set_mutant_under_test("mutant_generation")
    with mutmut.CatchOutput():
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.create_mutants(given.jobs)
    if not _choose(given):
        return
    mutmut.get_mutant_runner = partial(_runner, clean=given.again, within_s=given.within_s)
    timer = threading.Timer(given.minutes * 60.0, stop)
    timer.daemon = True
    timer.start()
    try:
        mutmut._run((), given.jobs)  # noqa: SLF001 - what its command calls
    except (KeyboardInterrupt, SystemExit):
        if not over.is_set():
            raise
    finally:
        timer.cancel()
    if over.is_set():
        sys.stdout.write("\nnot done yet: the same command goes on from here\n")


def _mutants() -> Iterator[Mutant]:
    from mutmut.stats import status_by_exit_code  # noqa: PLC0415
    from mutmut.utils.format_utils import get_module_from_key, orig_function_and_class_names_from_key  # noqa: PLC0415

    for data in _files():
        for name, code in data.exit_code_by_key.items():
            function, owner = orig_function_and_class_names_from_key(name)
            yield Mutant(
                name=name,
                module=get_module_from_key(name),
                function=f"{owner}.{function}" if owner else function,
                verdict=status_by_exit_code[code],
            )


def _files() -> Iterator[Any]:
    from mutmut.mutation.data import SourceFileMutationData  # noqa: PLC0415
    from mutmut.utils.file_utils import walk_mutatable_files  # noqa: PLC0415

    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        yield data


def _choose(given: argparse.Namespace) -> int:
    """Mark what is not to be tried this time as skipped; return how many are left."""
    from mutmut.stats import status_by_exit_code  # noqa: PLC0415

    chosen = 0
    untried = {None, _SKIPPED}
    for data in _files():
        asked = fnmatchcase(".".join(Path(data.path).with_suffix("").parts), given.only)
        for name, code in data.exit_code_by_key.items():
            unnoticed = given.again and status_by_exit_code[code] in _UNNOTICED
            if code in untried or (asked and unnoticed):
                wanted = asked and (unnoticed or _in_share(name, given.share))
                data.exit_code_by_key[name] = None if wanted else _SKIPPED
                chosen += wanted
        data.save()
    return chosen


def _runner(jobs: int, *, clean: bool, within_s: float) -> Any:
    """Run the tests in forks. They pass without a change: that was seen when it was noted which of them reach what."""
    from mutmut.state import state  # noqa: PLC0415
    from mutmut.workers.isolation import get_mutant_runner  # noqa: PLC0415

    runner = get_mutant_runner(jobs)
    submit = runner.submit

    def submit_quick(mutant: str, tests: list[str], limit_s: int, usual_s: float) -> None:
        took = state().duration_by_test
        quick = sorted(tests, key=lambda test: took[test])
        ends = itertools.accumulate(took[test] for test in quick)
        submit(mutant, [test for test, end in zip(quick, ends, strict=True) if end <= within_s], limit_s, usual_s)

    runner.submit = submit_quick  # type: ignore[method-assign]
    if not clean:
        runner.run_clean_tests = lambda tests: 0  # type: ignore[method-assign]  # noqa: ARG005
    return runner


def _in_share(name: str, share: float) -> bool:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) < share * 2**32


def _with_lines(mutant: Mutant) -> Mutant:
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # noqa: PLC0415

    path = Path(*mutant.module.split(".")).with_suffix(".py")
    changed = [line for line in get_diff_for_mutant(mutant.name, path=path).splitlines()[3:] if line[:1] in "+-"]
    return replace(mutant, was=_joined(changed, "-"), now=_joined(changed, "+"))


def _joined(changed: Iterable[str], sign: str) -> str:
    return " ".join(line[1:].strip() for line in changed if line.startswith(sign))


def _why(mutant: Mutant, explanations: Iterable[Explanation]) -> str | None:
    return next((one.why for one in explanations if one.fits(mutant)), None)


def _table(mutants: Sequence[Mutant]) -> str:
    """A row for each module, and one for each package; what was not tried yet is not counted."""
    tried = [one for one in mutants if one.verdict in _KILLED | _UNNOTICED]
    rows = ["| guards in | mutants | tried | noticed | survived | share noticed |\n|---|---|---|---|---|---|\n"]
    for package in sorted({one.package for one in mutants}):
        inside = [one for one in mutants if one.package == package]
        rows += [_row(f"`{module}`", mutants, tried, module) for module in sorted({one.module for one in inside})]
        rows.append(_row(f"**{package}**", mutants, tried, package))
    return "".join(rows)


def _row(title: str, mutants: Iterable[Mutant], tried: Iterable[Mutant], inside: str) -> str:
    there = sum(inside in {one.module, one.package} for one in mutants)
    counted = [one for one in tried if inside in {one.module, one.package}]
    killed = sum(one.verdict in _KILLED for one in counted)
    share = f"{killed / len(counted):.1%}" if counted else "-"
    return f"| {title} | {there} | {len(counted)} | {killed} | {len(counted) - killed} | {share} |\n"


def _told(survivors: Iterable[Mutant], explanations: Sequence[Explanation]) -> str:
    """All survivors, by their explanation."""
    grouped: dict[str, dict[str, list[Mutant]]] = defaultdict(lambda: defaultdict(list))
    for one in survivors:
        grouped[_why(one, explanations) or "Not explained yet."][f"{one.module}.{one.function}"].append(one)
    parts = ["### Survivors\n\n"]
    for why, functions in sorted(grouped.items(), key=lambda entry: -sum(map(len, entry[1].values()))):
        parts.append(f"**{sum(map(len, functions.values()))}: {why}**\n\n")
        for function, ones in sorted(functions.items()):
            changes = "; ".join(f"`{_code(one.was)}` → `{_code(one.now)}`" for one in ones)
            parts.append(f"- `{function.removeprefix('controller.')}`: {changes}\n")
        parts.append("\n")
    return "".join(parts)


def _code(text: str) -> str:
    return text.replace("`", "'") or "(nothing)"


def _write(page: Path, text: str) -> None:
    """Put the text between the page's markers."""
    head, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page}: write {BEGIN} and {END} where the table is to stand")
    page.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
