"""Load a policy file, and follow it while it changes."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from controller.errors import BadInputError
from controller.policy.document import MAX_BYTES, read_document
from controller.policy.model import Policy
from controller.policy.problems import DocumentError
from controller.policy.schema import policy_json_schema
from controller.policy.validate import validate

__all__ = ["LoadedPolicy", "PolicyChange", "PolicyFile", "load_policy", "parse_policy", "policy_json_schema"]


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy, and which file with which content it came from.

    ``version`` is the first 12 hexadecimal digits of the SHA-256 of the file, ``text`` what it says.
    """

    policy: Policy
    version: str
    path: Path
    text: str = ""


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """News about a policy file: a policy to use from now on, or why the one in use stays."""

    loaded: LoadedPolicy | None = None
    problem: str | None = None


def load_policy(path: Path) -> LoadedPolicy:
    """Load and check a policy file.

    Raises:
        BadInputError: it cannot be read or is wrong. The message has one line for each problem:
            ``file:line:column: key: what was wrong; what would be right``.

    """
    return parse_policy(path, _read(path)[0])


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What changes when a file is written, replaced, or its symbolic link is swapped."""

    device: int
    inode: int
    size: int
    modified_ns: int


class PolicyFile:
    """A policy file that is looked at again on every tick. The last good policy stays in force."""

    def __init__(self, path: Path) -> None:
        """Load the file for the first time. Raises BadInputError like ``load_policy``."""
        data, stamp = _read(path)
        self.current = parse_policy(path, data)
        self._path = path
        self._seen = _digest(data)
        self._stamp: _Stamp | None = stamp
        self._settled = False
        self._gone: str | None = None

    def poll(self) -> PolicyChange | None:
        """Look at the file; return news once for each new content, otherwise None.

        Costs one ``stat`` while nothing changes. Never raises: a file that is gone or wrong is a
        ``problem``, told once, and so is its recovery, as ``loaded``.
        """
        try:
            if self._settled and self._stamp == _stamp(self._path.stat()):
                return None
            data, stamp = _read(self._path)
        except OSError as exc:
            return self._unreadable(str(_unreadable(self._path, exc)))
        except BadInputError as exc:
            return self._unreadable(str(exc))
        # Two writes within one tick of the file system's clock leave the same stamp, so a stamp is
        # trusted only after the content was read a second time under it.
        self._settled = stamp == self._stamp
        self._stamp = stamp
        return self._take(data)

    def _take(self, data: bytes) -> PolicyChange | None:
        digest, was_gone = _digest(data), self._gone is not None
        self._gone = None
        if digest == self._seen and not was_gone:
            return None
        self._seen = digest
        try:
            self.current = parse_policy(self._path, data)
        except BadInputError as exc:
            return PolicyChange(problem=self._kept(str(exc)))
        return PolicyChange(loaded=self.current)

    def _unreadable(self, problem: str) -> PolicyChange | None:
        self._settled = False
        if problem == self._gone:
            return None
        self._gone = problem
        return PolicyChange(problem=self._kept(problem))

    def _kept(self, problem: str) -> str:
        return f"policy {self.current.version} stays in force: {problem}"


def parse_policy(path: Path, data: bytes) -> LoadedPolicy:
    """Check what a policy file says; ``path`` is what it is called. Raises BadInputError like ``load_policy``."""
    try:
        policy = validate(read_document(data))
    except DocumentError as exc:
        raise BadInputError("\n".join(problem.describe(path) for problem in exc.problems)) from exc
    return LoadedPolicy(policy, _digest(data)[:12], path, data.decode("utf-8-sig"))


def _read(path: Path) -> tuple[bytes, _Stamp]:
    """Read at most one byte more than a policy may have, and the stamp of exactly what was read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                msg = f"{path}: is not a regular file; name a policy file (YAML)"
                raise BadInputError(msg)
            return file.read(MAX_BYTES + 1), _stamp(status)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _unreadable(path: Path, exc: OSError) -> BadInputError:
    rights = {
        FileNotFoundError: "check the path; docs/policy.md shows how to write a policy",
        IsADirectoryError: "name a policy file inside it",
        NotADirectoryError: "check the path; a part of it is a file",
        PermissionError: "give this user permission to read it",
    }
    right = rights.get(type(exc), "a policy is a readable YAML file")
    return BadInputError(f"{path}: cannot be read ({exc.strerror or exc}); {right}")


def _stamp(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
