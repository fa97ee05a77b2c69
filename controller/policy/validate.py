"""Check a parsed document against the policy model and name every fault with its place."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from controller.policy.document import Document, Plain
from controller.policy.model import Policy
from controller.policy.problems import DocumentError, KeyPath, Problem, dotted
from controller.policy.schema import Key, key_at

_SHOWN = 60
"""Characters of a wrong text that are repeated in a message."""


def validate(document: Document) -> Policy:
    """Build the policy, strictly: text is not taken for a number, nor a number for text.

    Raises:
        DocumentError: with every problem, in the order of the file.

    """
    problems = list(_listed_twice(document))
    policy: Policy | None = None
    try:
        policy = Policy.model_validate_json(json.dumps(document.values), strict=True)
    except ValidationError as exc:
        faults = _without_echoes(exc.errors(include_url=False), listed_twice=bool(problems))
        problems += [_problem(fault, document) for fault in faults]
    if policy is None or problems:
        raise DocumentError(sorted(set(problems)))
    return policy


def _without_echoes(faults: Sequence[Mapping[str, Any]], *, listed_twice: bool) -> list[Mapping[str, Any]]:
    """Drop what only follows from another fault: a list counted without its faulty entries."""
    lists = {
        fault["loc"][:index] for fault in faults for index, part in enumerate(fault["loc"]) if isinstance(part, int)
    }
    return [
        fault
        for fault in faults
        if not (fault["type"] == "too_short" and fault["loc"] in lists) and not (listed_twice and not fault["loc"])
    ]


def _problem(fault: Mapping[str, Any], document: Document) -> Problem:
    path: KeyPath = tuple(fault["loc"])
    kind = fault["type"]
    if kind == "extra_forbidden":
        return _at(document, path, *_unknown_key(path))
    if kind == "value_error":
        return _cross_check(document, path, str(fault["ctx"]["error"]))
    key = key_at(path)
    if key is None:
        return _at(document, path, "is wrong", str(fault["msg"]))
    if kind == "missing":
        return _at(document, path, "is missing", f"{_expected(key)} ({key.description.rstrip('.')})")
    value = _value_at(document.values, path)
    if value is None:
        return _at(document, path, "is empty", _expected(key) + ("" if key.required else ", or leave the key out"))
    return _at(document, path, f"is {_show(value)}", f"{_expected(key)}{_quotes(key, value)}")


def _at(document: Document, path: KeyPath, wrong: str, right: str) -> Problem:
    place = document.place(path)
    return Problem(place.line, place.column, dotted(path), wrong, right)


def _unknown_key(path: KeyPath) -> tuple[str, str]:
    section = key_at(path[:-1])
    allowed = section.keys if section else ()
    close = difflib.get_close_matches(str(path[-1]), allowed, n=1)
    question = f"did you mean {close[0]}? " if close else ""
    return "unknown key", f"{question}allowed here: {', '.join(allowed)}"


def _cross_check(document: Document, path: KeyPath, said: str) -> Problem:
    """Place a rule between several keys at the one that it names first, of those that the file has."""
    wrong, _, right = said.partition("; ")
    section = _value_at(document.values, path)
    named = [key for key in section if key in said] if isinstance(section, dict) else []
    where = (*path, min(named, key=said.index)) if named else path
    place = document.place(where)
    return Problem(place.line, place.column, dotted(path), wrong, right or "change one of the two")


def _listed_twice(document: Document) -> Iterator[Problem]:
    """Find repeated deployments even where other faults keep the model from being built."""
    entries = document.values.get("deployments")
    first: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        names = (entry.get("application"), entry.get("deployment")) if isinstance(entry, dict) else (None, None)
        application, deployment = names
        if not (isinstance(application, str) and isinstance(deployment, str)):
            continue
        earlier = first.setdefault((application, deployment), index)
        if earlier != index:
            line = document.place(("deployments", earlier)).line
            wrong = f"{application}/{deployment} is listed twice (first on line {line})"
            yield _at(document, ("deployments", index), wrong, "keep one entry for each deployment")


def _value_at(values: Plain, path: KeyPath) -> Plain:
    current: Plain = values
    for part in path:
        if isinstance(current, dict) and isinstance(part, str):
            current = current.get(part)
        elif isinstance(current, list) and isinstance(part, int):
            current = current[part]
        else:
            return None
    return current


def _show(value: Plain) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        short = textwrap.shorten(value, _SHOWN, placeholder="...")
        return f"the text {json.dumps(short, ensure_ascii=False)}"
    return f"{value}"


def _expected(key: Key) -> str:
    return f"expected {key.expected}" + (f" with the keys {', '.join(key.keys)}" if key.keys else "")


def _quotes(key: Key, value: Plain) -> str:
    """Say it where only quotes are missing or too many."""
    wants_text = key.expected.startswith("text")
    if wants_text and isinstance(value, bool | int | float):
        return ", so put it in quotes"
    if (
        "number" in key.expected
        and isinstance(value, str)
        and value.strip().lstrip("+-").replace(".", "", 1).isdecimal()
    ):
        return ", without quotes"
    return ""
