"""Mutations of recorded documents, drawn by hypothesis: what is almost right finds more than noise does."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

_ODD_TEXT = [
    "",
    "\x00",
    "\u202e",
    "A" * 5000,
    "../../etc/passwd",
    "{{7*7}}",
    "<script>",
    "NaN",
    "-0",
    "1e999",
    "é" * 300,
]

odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(_ODD_TEXT),
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: [[[[[[[[]]]]]]]]),
    st.text(max_size=20),
)

_OPERATIONS = st.sampled_from(["replace", "delete", "duplicate", "rename"])


@st.composite
def mutated_json(draw: st.DrawFn, document: Any, *, most: int = 4) -> Any:
    """``document`` with a few of its parts replaced, deleted, doubled or renamed."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        _mutate(draw, changed)
    return changed


def _mutate(draw: st.DrawFn, document: Any) -> None:
    part = document
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(part[key], dict | list) and part[key] and draw(st.integers(0, 5)):
            part = part[key]
            continue
        break
    operation = draw(_OPERATIONS)
    if operation == "replace":
        part[key] = copy.deepcopy(draw(odd_values))
    elif operation == "delete":
        del part[key]
    elif isinstance(part, list):
        part.append(copy.deepcopy(part[key]))
    else:
        part[draw(st.text(max_size=8))] = copy.deepcopy(part[key])


@st.composite
def mutated_bytes(draw: st.DrawFn, document: bytes, *, most: int = 6) -> bytes:
    """``document`` with a few stretches cut, doubled, overwritten, or moved."""
    changed = bytearray(document)
    for _ in range(draw(st.integers(1, most))):
        if not changed:
            break
        start = draw(st.integers(0, len(changed) - 1))
        end = min(len(changed), start + draw(st.integers(0, 200)))
        operation = draw(st.sampled_from(["cut", "double", "noise", "flip", "end"]))
        if operation == "cut":
            del changed[start:end]
        elif operation == "double":
            changed[start:start] = changed[start:end]
        elif operation == "noise":
            changed[start:end] = draw(st.binary(max_size=30))
        elif operation == "flip":
            changed[start] ^= 1 << draw(st.integers(0, 7))
        else:
            del changed[start:]
    return bytes(changed)
