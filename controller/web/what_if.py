"""The page on which another policy is tried, as the template needs it."""

from __future__ import annotations

from typing import Any

from controller.decisions.what_if import Difference, WhatIf
from controller.domain.plan import Step

_FORM_FIELD = b"policy="


def policy_of(body: bytes) -> bytes:
    """Return the policy that a form, or a script, sent."""
    if body.startswith(_FORM_FIELD):
        return body.removeprefix(_FORM_FIELD).replace(b"\r\n", b"\n")
    return body


def what_if_view(text: str, *, problem: str | None = None, answer: WhatIf | None = None) -> dict[str, Any]:
    """Build everything that ``what_if.html`` shows: a policy's text, and what came of planning with it."""
    changed = 0 if answer is None else sum(one.differs for one in answer.differences)
    return {
        "text": text,
        "problem": problem,
        "answer": answer,
        "beneath": None if answer is None else answer.beneath,
        "changed": changed,
        "steps": side_by_side,
    }


def side_by_side(one: Difference) -> list[tuple[Step | None, Step | None]]:
    """Both policies' stages, in the order of planning; None where one of them has no such stage."""
    before = {step.stage: step for step in one.before.steps}
    after = {step.stage: step for step in one.after.steps}
    # Stages that only one of them has keep the place that they have there.
    names = sorted({**before, **after}, key=lambda name: max(_place(before, name), _place(after, name)))
    return [(before.get(name), after.get(name)) for name in names]


def _place(steps: dict[str, Step], name: str) -> int:
    return list(steps).index(name) if name in steps else -1
