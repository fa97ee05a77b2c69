"""Write what a command made into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from controller.errors import BadInputError


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write each file (its path below ``folder``) and name it on standard output.

    Raises:
        BadInputError: the folder or a file cannot be written.

    """
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"{path}: cannot be written ({error.strerror or error}); --out names a folder that you may write to"
            raise BadInputError(msg) from None
        typer.echo(str(path))
