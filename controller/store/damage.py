"""Files that are not, or are no longer, a store: refuse the first, keep the second aside."""

from __future__ import annotations

from pathlib import Path

from controller.ports import StoreError
from controller.store.connecting import looks_like_a_database


def refuse_other_files(path: Path, *, used_before: bool) -> None:
    """Refuse a directory, and a file that is no database.

    A file that was a store before (``used_before``) and is no database any more is damaged, not foreign.

    Raises:
        StoreError: it is somebody else's, or cannot be read.

    """
    if path.is_dir():
        msg = f"{path}: is a directory; name a file in it for the store"
        raise StoreError(msg)
    try:
        empty = not path.exists() or path.stat().st_size == 0
        foreign = not empty and not looks_like_a_database(path) and not used_before
    except OSError as exc:
        msg = (
            f"{path}: cannot be read ({exc.strerror}); give this user permission, or choose another file for the store"
        )
        raise StoreError(msg) from exc
    if foreign:
        msg = f"{path}: is not a database; choose another file for the store"
        raise StoreError(msg)


def move_aside(path: Path) -> Path:
    """Rename a damaged file and its log to the first free ``.corrupt-<n>``, and return that.

    Raises:
        StoreError: they cannot be renamed.

    """
    number = 1
    while (kept := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    try:
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(kept.with_name(kept.name + suffix))
    except OSError as exc:
        msg = f"{path}: its content is damaged and it cannot be moved aside ({exc.strerror}); move it away"
        raise StoreError(msg) from exc
    return kept
