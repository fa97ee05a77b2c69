"""What the filter remembers, in one file that is replaced as a whole."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from controller.codec import dump_histories, dump_state, load_histories, load_state
from controller.decisions.session import Pending, Session
from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.errors import BadInputError
from controller.forecast.checkpoint import dump, load_track

_FORMAT = "foreserve-decide"
_VERSION = 1
_MAX_BYTES = 512_000_000

_PENDING: TypeAdapter[Pending | None] = TypeAdapter(Pending | None)


def save(session: Session, path: Path) -> None:
    """Write the memory beside ``path`` and move it there, so that a kill at any moment leaves a whole file.

    Raises:
        BadInputError: it cannot be written.

    """
    tracks = session.foresight.forecaster.tracks()
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "state": dump_state(session.state).decode(),
        "pending": _PENDING.dump_json(session.pending).decode(),
        "recent": dump_histories(session.histories.entries()).decode(),
        "long": dump_histories(session.foresight.histories.entries()).decode(),
        "tracks": [
            [str(deployment), signal.value, horizon_s, base64.b64encode(dump(track)).decode()]
            for (deployment, signal, horizon_s), track in tracks.items()
        ],
    }
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            file.write(zlib.compress(json.dumps(document).encode(), level=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        msg = f"{path}: the state cannot be written: {error.strerror or error}"
        raise BadInputError(msg) from error


def restore(session: Session, path: Path) -> None:
    """Go on from a file; one that is not there yet is a fresh start.

    Raises:
        BadInputError: it cannot be read, or is not such a file of this version.

    """
    document = _read(path)
    if document is None:
        return
    try:
        session.state = load_state(document["state"])
        session.pending = _PENDING.validate_json(document["pending"])
        session.histories.restore(load_histories(document["recent"]))
        session.foresight.restore(load_histories(document["long"]))
        tracks = {
            (DeploymentId.parse(deployment), Signal(signal), float(horizon_s)): load_track(base64.b64decode(body))
            for deployment, signal, horizon_s, body in document["tracks"]
        }
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        msg = f"{path}: cannot be read back ({error}); was it written by another version? Name another file"
        raise BadInputError(msg) from error
    session.foresight.forecaster.restore({key: track for key, track in tracks.items() if track is not None})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            raw = zlib.decompressobj().decompress(file.read(_MAX_BYTES), _MAX_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, zlib.error) as error:
        msg = f"{path}: cannot be read: {error}; name a file that foreserve decide wrote, or one that is not there yet"
        raise BadInputError(msg) from error
    try:
        document = json.loads(raw)
        found = (document["format"], document["version"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path}: is not a file that foreserve decide wrote; name another one"
        raise BadInputError(msg) from error
    if found != (_FORMAT, _VERSION):
        msg = f"{path}: was written in format {found[0]} {found[1]}, this is {_FORMAT} {_VERSION}; name another file"
        raise BadInputError(msg)
    return dict(document)
