"""One writer for each store."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from controller.ports import StoreError


class WriterLock:
    """An advisory lock on ``<store>.lock``, held until released or until the process ends in any way.

    The file stays behind: the kernel keeps the lock, not the file. That it is there tells a damaged store
    from a file that never was one.
    """

    def __init__(self, store: Path) -> None:
        """Take the lock. Raises StoreError when another process has it, or the file cannot be made."""
        path = lock_path(store)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            msg = (
                f"{path}: cannot be written ({exc.strerror}); choose a directory for the store that this user may write"
            )
            raise StoreError(msg) from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            msg = (
                f"{store}: another controller (process {holder}) writes to it; "
                "stop that one, or choose another file for the store"
            )
            raise StoreError(msg) from exc
        self._name_holder()

    def release(self) -> None:
        """Give the lock up. Doing it twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _name_holder(self) -> None:
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # A full disk costs only the number in the message above.
            return


def lock_path(store: Path) -> Path:
    """Return where the lock of a store is."""
    return store.with_name(f"{store.name}.lock")
