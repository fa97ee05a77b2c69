"""Changes the guards, one small change at a time, and counts how many of the changes the tests notice.

    python -m benchmarks.mutation [--minutes 10] [--jobs 2] [--within-s 4.0] [--again]
                                  [--only 'controller.window.*'] [--list] [--write docs/mutation.md]

Which modules are guards, and which tests are to notice, is said in ``[tool.mutmut]`` of ``pyproject.toml``. Verdicts
are kept in ``benchmarks/mutation_verdicts.json``, a line for each function with a letter for each mutant, so runs on
any machine add up: what was not done within ``--minutes`` is done by the next call, and a function that was edited is
tried anew. ``--again`` tries anew what survived, after tests were added. The order is as good as drawn, so what was
tried of a module is a fair sample of it. Of the tests that reach a function those that noticed other changes of it are
run, then the quickest, ``--within-s`` of them for each mutant, so a slow law may know more. ``--list`` shows survivors
without an explanation; ``--write`` puts the table and all survivors between the markers of a page. Explanations are in
``benchmarks/mutation_survivors.toml``.

Needs mutmut (``pip install mutmut==3.8.1``). Words for people are no guards: text literals that are sentences are
left as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.mutation_trial import KILLED, SURVIVED, TIMEOUT, UNREACHED, Trial, tried

if TYPE_CHECKING:
    import libcst as cst

BEGIN = "<!-- mutation: begin (generated) -->"
END = "<!-- mutation: end -->"
EXPLAINED = Path(__file__).with_name("mutation_survivors.toml")
VERDICTS = Path(__file__).with_name("mutation_verdicts.json")
_UNTRIED = "."
_TELL_EVERY = 50
_NOTICED = {KILLED, TIMEOUT}
_UNNOTICED = {SURVIVED, UNREACHED}
_CALLED = {SURVIVED: "survived", UNREACHED: "no test reaches it"}
_PACKAGE_DEPTH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one function. ``name`` is mutmut's; ``was`` and ``now`` are the changed lines."""

    name: str
    module: str
    function: str
    digest: str
    """Of the function's text: a verdict is about that and no other."""
    verdict: str = _UNTRIED
    was: str = ""
    now: str = ""

    @property
    def package(self) -> str:
        """Such as ``controller.planner``."""
        return ".".join(self.module.split(".")[:_PACKAGE_DEPTH])

    @property
    def key(self) -> str:
        """The function's full name."""
        return f"{self.module}.{self.function}"


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
    _generate(given.jobs)
    mutants = _with_verdicts(list(_mutants()))
    if given.minutes > 0:
        mutants = _try(mutants, given)
    mutants = [one for one in mutants if fnmatchcase(one.module, given.only)]
    explanations = [
        Explanation(**one) for one in tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("survivor", ())
    ]
    survivors = [_with_lines(one) for one in mutants if one.verdict in _UNNOTICED]
    sys.stdout.write(f"\n{_table(mutants)}")
    unexplained = [one for one in survivors if _why(one, explanations) is None]
    sys.stdout.write(f"\n{len(survivors)} survivors, {len(unexplained)} of them not explained\n")
    if given.list:
        sys.stdout.writelines(
            f"\n{one.module}.{one.function}  ({_CALLED[one.verdict]}; {one.name})\n  - {one.was}\n  + {one.now}\n"
            for one in unexplained
        )
    if given.write is not None:
        _write(given.write, _table(mutants) + "\n" + _told(survivors, explanations))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="stop after this long; 0 only reports")
    parser.add_argument("--jobs", type=int, default=2)
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


def _generate(jobs: int) -> None:
    """Write the mutants, and beside them the tests as they are now, to ``mutants/``."""
    from mutmut import __main__ as mutmut  # noqa: PLC0415

    shutil.rmtree("mutants/tests", ignore_errors=True)
    Path("mutants").mkdir(exist_ok=True)
    mutmut.set_mutant_under_test("mutant_generation")
    with mutmut.CatchOutput():
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.create_mutants(jobs)


def _mutants() -> Iterator[Mutant]:
    from mutmut.mutation.data import SourceFileMutationData  # noqa: PLC0415
    from mutmut.utils.file_utils import walk_mutatable_files  # noqa: PLC0415
    from mutmut.utils.format_utils import get_module_from_key, orig_function_and_class_names_from_key  # noqa: PLC0415

    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        for name in data.exit_code_by_key:
            function, owner = orig_function_and_class_names_from_key(name)
            yield Mutant(
                name=name,
                module=get_module_from_key(name),
                function=f"{owner}.{function}" if owner else function,
                digest=data.hash_by_function_name[_mangled(name).rpartition(".")[2]][:12],
            )


def _mangled(name: str) -> str:
    """Mutmut's name of a mutant's function."""
    return name.partition("__mutmut_")[0]


def _place(mutant: Mutant) -> int:
    """Which of its function's mutants it is, from 0."""
    return int(mutant.name.rpartition("_")[2]) - 1


def _with_verdicts(mutants: Iterable[Mutant]) -> list[Mutant]:
    """The mutants with what is known of them."""
    known: dict[str, list[str]] = json.loads(VERDICTS.read_text(encoding="utf-8")) if VERDICTS.exists() else {}
    found = []
    for one in mutants:
        digest, letters = known.get(one.key, ("", ""))
        told = digest == one.digest and _place(one) < len(letters)
        found.append(replace(one, verdict=letters[_place(one)]) if told else one)
    return found


def _keep(mutants: Iterable[Mutant]) -> None:
    functions: dict[str, tuple[str, dict[int, str]]] = {}
    for one in mutants:
        functions.setdefault(one.key, (one.digest, {}))[1][_place(one)] = one.verdict
    rows = [
        f"{json.dumps(name)}: {json.dumps([digest, ''.join(letters[place] for place in sorted(letters))])}"
        for name, (digest, letters) in sorted(functions.items())
        if set(letters.values()) != {_UNTRIED}
    ]
    VERDICTS.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def _try(mutants: Sequence[Mutant], given: argparse.Namespace) -> list[Mutant]:
    """Try what has no verdict yet, until the time is over; keep each verdict."""
    from mutmut.configuration import config  # noqa: PLC0415

    wanted = {_UNTRIED, *_UNNOTICED} if given.again else {_UNTRIED}
    asked = [one.name for one in mutants if fnmatchcase(one.module, given.only) and one.verdict in wanted]
    now = {one.name: one for one in mutants}
    began, out = time.monotonic(), sys.stdout

    def verdict(name: str, letter: str) -> None:
        now[name] = replace(now[name], verdict=letter)
        done = next(counted)
        if done % _TELL_EVERY == 0:
            _keep(now.values())
            out.write(f"{done} of {len(asked)} in {time.monotonic() - began:.0f} s\n")
            out.flush()

    counted = itertools.count(1)
    try:
        tried(
            Trial(
                mutants={name: _mangled(name) for name in sorted(asked, key=_drawn)},
                functions=sorted({_mangled(one.name) for one in mutants}),
                options=[*config().pytest_add_cli_args_test_selection, *config().pytest_add_cli_args],
                jobs=given.jobs,
                within_s=given.within_s,
                until=began + given.minutes * 60.0,
            ),
            verdict,
        )
    except RuntimeError as error:
        _keep(mutants)
        sys.exit(f"nothing of this run is kept: {error}")
    _keep(now.values())
    return list(now.values())


def _drawn(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


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
    tried = [one for one in mutants if one.verdict in _NOTICED | _UNNOTICED]
    rows = ["| guards in | mutants | tried | noticed | survived | share noticed |\n|---|---|---|---|---|---|\n"]
    for package in sorted({one.package for one in mutants}):
        inside = [one for one in mutants if one.package == package]
        rows += [_row(f"`{module}`", mutants, tried, module) for module in sorted({one.module for one in inside})]
        rows.append(_row(f"**{package}**", mutants, tried, package))
    return "".join(rows)


def _row(title: str, mutants: Iterable[Mutant], tried: Iterable[Mutant], inside: str) -> str:
    there = sum(inside in {one.module, one.package} for one in mutants)
    counted = [one for one in tried if inside in {one.module, one.package}]
    killed = sum(one.verdict in _NOTICED for one in counted)
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
