"""Known vulnerabilities of locked packages, checked without a network.

    curl -O https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip     # anywhere, any time before
    python requirements/audit.py all.zip requirements/base.lock                 # anywhere, without a network

Reads OSV records (https://ossf.github.io/osv-schema/) from a zip or a folder and compares them with each
``name==version`` of the locks. Exit code 0: none is known; 1: some are, one line each; 2: bad input.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
_MAX_RECORD_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A locked package with a known vulnerability, and the first versions without it."""

    lock: str
    package: str
    version: str
    advisory: str
    aliases: tuple[str, ...]
    fixed: tuple[str, ...]
    summary: str

    def __str__(self) -> str:
        names = ", ".join((self.advisory, *self.aliases))
        remedy = f"fixed in {', '.join(self.fixed)}" if self.fixed else "no fixed version is known"
        return f"{self.lock}: {self.package} {self.version}: {names}: {self.summary or 'no summary'} ({remedy})"


def pins(lock: Path) -> dict[str, str]:
    """Versions by canonical name. Raises ValueError for a file that pins nothing."""
    found = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if match := _PIN.match(line):
            found[canonicalize_name(match[1])] = match[2]
    if not found:
        msg = f"{lock}: no line like name==version; give a lock file"
        raise ValueError(msg)
    return found


def advisories(source: Path) -> Iterator[Mapping[str, Any]]:
    """Every OSV record of a zip or a folder. Raises ValueError for something else."""
    if source.is_dir():
        for path in sorted(source.glob("**/*.json")):
            yield _record(path.read_bytes(), str(path))
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as packed:
            for entry in packed.infolist():
                if entry.filename.endswith(".json") and entry.file_size <= _MAX_RECORD_BYTES:
                    yield _record(packed.read(entry), f"{source}:{entry.filename}")
    else:
        msg = f"{source}: neither a zip nor a folder of OSV records; get PyPI/all.zip from osv.dev"
        raise ValueError(msg)


def findings(locks: Mapping[str, Mapping[str, str]], records: Iterator[Mapping[str, Any]]) -> list[Finding]:
    """Compare pins, by lock, with records; withdrawn ones do not count."""
    where: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for lock, versions in locks.items():
        for name, version in versions.items():
            where[name].append((lock, version))
    found = []
    for record in records:
        if record.get("withdrawn"):
            continue
        for affected in record.get("affected", ()):
            package = affected.get("package", {})
            name = canonicalize_name(str(package.get("name", "")))
            if package.get("ecosystem") != "PyPI" or name not in where:
                continue
            found += [
                Finding(
                    lock=lock,
                    package=name,
                    version=version,
                    advisory=str(record.get("id")),
                    aliases=tuple(record.get("aliases", ())),
                    fixed=_fixed(affected, version),
                    summary=str(record.get("summary", "")),
                )
                for lock, version in where[name]
                if is_affected(affected, version)
            ]
    return sorted(set(found), key=str)


def is_affected(affected: Mapping[str, Any], version: str) -> bool:
    """Whether a version is listed, or lies in a range, by the algorithm of the OSV schema."""
    if version in affected.get("versions", ()):
        return True
    mine = Version(version.split("+", maxsplit=1)[0])
    return any(
        _within(mine, rule.get("events", ())) for rule in affected.get("ranges", ()) if rule.get("type") == "ECOSYSTEM"
    )


def _within(version: Version, events: Sequence[Mapping[str, str]]) -> bool:
    inside = False
    for kind, at in sorted(_events(events), key=lambda event: (event[1], event[0] != "introduced")):
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _events(events: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, Version]]:
    for event in events:
        for kind, at in event.items():
            try:
                yield kind, Version("0.dev0" if at == "0" else at)
            except InvalidVersion:
                continue


def _fixed(affected: Mapping[str, Any], version: str) -> tuple[str, ...]:
    mine = Version(version.split("+", maxsplit=1)[0])
    later = {
        at
        for rule in affected.get("ranges", ())
        if rule.get("type") == "ECOSYSTEM"
        for kind, at in _events(rule.get("events", ()))
        if kind == "fixed" and at > mine
    }
    return tuple(str(at) for at in sorted(later))


def _record(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        record = json.loads(data)
    except ValueError as error:
        msg = f"{where}: not JSON ({error})"
        raise ValueError(msg) from None
    if not isinstance(record, dict):
        msg = f"{where}: not an OSV record, which is a JSON object"
        raise TypeError(msg)
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """Check locks; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("advisories", type=Path, help="zip or folder of OSV records")
    parser.add_argument("locks", type=Path, nargs="+", help="lock files")
    given = parser.parse_args(argv)
    try:
        locks = {str(lock): pins(lock) for lock in given.locks}
        known = findings(locks, advisories(given.advisories))
    except (OSError, ValueError, TypeError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return 2
    for finding in known:
        print(finding)
    checked = sum(map(len, locks.values()))
    print(f"audit: {checked} locked packages, {len(known)} known vulnerabilities", file=sys.stderr)
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
