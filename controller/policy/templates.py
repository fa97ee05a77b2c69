"""Templates of webhook bodies: Jinja in a sandbox that sees one event and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_CHARACTERS = 65_536

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
_ENVIRONMENT.globals.clear()
_EXAMPLE = {
    "id": "0",
    "type": "io.foreserve.test.happened",
    "topic": "test",
    "phase": "happened",
    "time": "2026-01-01T00:00:00Z",
    "key": "test",
    "severity": "info",
    "summary": "a test",
    "deployment": "application/deployment",
    "source": "foreserve",
    "facts": {},
}
"""What a template sees as ``event``."""

NAMES = tuple(_EXAMPLE)


def rendered(template: str, event: Mapping[str, Any]) -> str:
    """Return the body. Raises ValueError: it cannot be made, or has more than ``MOST_CHARACTERS``."""
    parts: list[str] = []
    size = 0
    try:
        for part in _ENVIRONMENT.from_string(template).generate(event=event):
            size += len(part)
            if size > MOST_CHARACTERS:
                msg = f"the template makes more than {MOST_CHARACTERS} characters"
                raise ValueError(msg)
            parts.append(part)
    except (TemplateError, TypeError, OverflowError, ZeroDivisionError, LookupError) as error:
        msg = f"the template cannot be used ({error})"
        raise ValueError(msg) from None
    return "".join(parts)


def check_template(template: str) -> None:
    """Try a template on an example. Raises ValueError."""
    try:
        rendered(template, _EXAMPLE)
    except ValueError as error:
        msg = f"template: {error}; it sees event.{', event.'.join(NAMES)}"
        raise ValueError(msg) from None
