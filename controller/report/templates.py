"""The templates of the reports, and what they are rendered with."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_PACKAGE = "controller.report"
_VENDORED_IN = "controller.web"


def templates() -> Environment:
    """Return the environment of every page: escaped, and an unknown name is an error."""
    return Environment(
        loader=PackageLoader(_PACKAGE, "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def assets(names: Iterable[str]) -> str:
    """Return style sheets or scripts, one after the other: the package's own, and those in ``vendor/``."""
    return "".join(_file(name).read_text(encoding="utf-8") for name in names)


def _file(name: str) -> Traversable:
    return files(_VENDORED_IN if name.startswith("vendor/") else _PACKAGE).joinpath(name)
