"""The policy's JSON Schema, and each key as people ask about it: what it takes, its bounds, its default."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controller.policy.model import Policy
from controller.policy.problems import KeyPath

Schema = Mapping[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NOUNS = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the policy file.

    ``name`` is its dotted path with ``[]`` for the items of a list; ``expected`` says what it takes,
    with bounds. ``default`` is None both when there is none and when it is null: see ``required``.
    ``keys`` are the keys inside a section, empty for a plain value.
    """

    name: str
    expected: str
    required: bool
    default: Any
    description: str
    keys: tuple[str, ...] = ()


def policy_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a policy file, for editors and other tools."""
    return {"$schema": _DIALECT, **Policy.model_json_schema()}


def policy_keys() -> tuple[Key, ...]:
    """Every key of the policy file, sections before what is in them, in the order of the model."""
    return tuple(key for key in _keys_by_name().values() if key.name)


def key_at(path: KeyPath) -> Key | None:
    """Describe the key at a path of a real file; None when the policy has no such key."""
    return _keys_by_name().get(_pattern(path))


@functools.cache
def _keys_by_name() -> dict[str, Key]:
    schema = policy_json_schema()
    root = Key(
        name="",
        expected="a mapping",
        required=True,
        default=None,
        description=schema["description"],
        keys=tuple(schema["properties"]),
    )
    return {"": root} | {key.name: key for key in _walk(schema, "", schema["$defs"])}


def _pattern(path: KeyPath) -> str:
    text = "".join("[]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _walk(section: Schema, prefix: str, definitions: Schema) -> Iterator[Key]:
    for name, raw in section["properties"].items():
        schema = _resolve(raw, definitions)
        full = f"{prefix}.{name}".removeprefix(".")
        yield Key(
            name=full,
            expected=_expected(schema),
            required=name in section.get("required", ()),
            default=None if "properties" in schema else schema.get("default"),
            description=schema.get("description", ""),
            keys=tuple(schema.get("properties", ())),
        )
        if "properties" in schema:
            yield from _walk(schema, full, definitions)
        elif schema.get("type") == "array":
            item = _resolve(schema["items"], definitions)
            yield Key(
                name=f"{full}[]",
                expected=_expected(item),
                required=True,
                default=None,
                description=item.get("description", schema.get("description", "")),
                keys=tuple(item.get("properties", ())),
            )
            if "properties" in item:
                yield from _walk(item, f"{full}[]", definitions)


def _resolve(schema: Schema, definitions: Schema) -> dict[str, Any]:
    """Follow a reference and drop the null of an optional value; what stands beside them wins."""
    own = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
    target: Schema = {}
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
    elif "anyOf" in schema:
        target = _resolve(next(kind for kind in schema["anyOf"] if kind.get("type") != "null"), definitions)
    return {**target, **own}


def _expected(schema: Schema) -> str:
    if "const" in schema:
        return f"{schema['const']}"
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    return "a mapping" if "properties" in schema else _expected_plain(schema)


def _expected_plain(schema: Schema) -> str:
    if schema["type"] == "array":
        return f"a list of {schema['minItems']} to {schema['maxItems']} entries"
    if schema["type"] == "object":
        return f"a mapping of {schema['minProperties']} to {schema['maxProperties']} names to text"
    if schema["type"] == "string":
        return f"text of {schema['minLength']} to {schema['maxLength']} characters"
    return _NOUNS[schema["type"]] + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, above, high = (schema.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    parts = []
    if low is not None:
        parts.append(f"at least {low:g}")
    if above is not None:
        parts.append(f"above {above:g}")
    if high is not None:
        parts.append(f"at most {high:g}")
    return " " + ", ".join(parts) if parts else ""
