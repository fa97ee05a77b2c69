"""Templates to HTML."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from controller.domain.identity import DeploymentId
from controller.explain.wording import REASONS, duration, plural
from controller.web import assets, words


def link(deployment: DeploymentId, tick: int | None = None) -> str:
    """Address of a deployment, or of one of its decisions."""
    return "/?" + urlencode({"deployment": str(deployment)} | ({} if tick is None else {"tick": tick}))


def render(template: str, context: dict[str, Any]) -> str:
    """One whole page. Everything in ``context`` is escaped: names come from outside."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("controller.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clock=words.clock,
        iso=words.iso,
        words=words.words,
        figure=words.figure,
        seconds=words.seconds,
        duration=duration,
        plural=plural,
        digest=_digest,
    )
    environment.globals.update(link=link, reasons=REASONS, static=f"/assets/{assets.version()}", foreserve=_version())
    return environment


def _digest(name: object) -> str:
    """A short name that is safe as an identifier."""
    return hashlib.sha256(str(name).encode()).hexdigest()[:10]


def _version() -> str:
    try:
        return version("foreserve")
    except PackageNotFoundError:
        return "unknown"
