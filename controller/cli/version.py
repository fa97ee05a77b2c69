"""foreserve version."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

import typer


def version() -> None:
    """Print the version of Foreserve and of Python.

    \b
    Examples:
      foreserve version
    """  # noqa: D301 - click reads the backspace
    typer.echo(f"foreserve {installed('foreserve')} (Python {platform.python_version()})")
