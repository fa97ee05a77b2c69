"""Tracks and fitted models as bytes that survive a restart, and nothing that runs code when read."""

from __future__ import annotations

import base64
import json
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from controller.forecast.conformal import Correction
from controller.forecast.experts import Experts
from controller.forecast.fitted import FittedModel, Forest
from controller.forecast.levels import Levels
from controller.forecast.momentum import Momentum
from controller.forecast.online import NAMES, Spec, Track
from controller.forecast.target import Target
from controller.forecast.trust import Score, Trust
from controller.forecast.unrest import Unrest

VERSION = 1
"""Changes with the meaning of what is written; another version is not read."""

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Correction, Experts, FittedModel, Forest, Levels, Momentum, Score, Spec, Target, Track, Trust, Unrest)
}


def dump(value: Track | FittedModel) -> bytes:
    """Write a track without its open predictions (a horizon's learning is lost), or a fitted model."""
    if isinstance(value, Track):
        value = replace(value, waiting=(), look=None, coming=None)
    return json.dumps({"version": VERSION, "variants": NAMES, "value": _plain(value)}).encode()


def load_track(body: bytes) -> Track | None:
    """Read a track; None when it was written by another version or with other candidates."""
    value = _loaded(body)
    return value if isinstance(value, Track) else None


def load_model(body: bytes) -> FittedModel | None:
    """Read a fitted model; None when it was written by another version."""
    value = _loaded(body)
    return value if isinstance(value, FittedModel) else None


def _loaded(body: bytes) -> Any:
    try:
        document = json.loads(body)
        if document["version"] != VERSION or document["variants"] != list(NAMES):
            return None
        return _rich(document["value"])
    except (KeyError, TypeError, ValueError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": base64.b64encode(value.tobytes()).decode(), "of": value.dtype.str, "shape": value.shape}
    if is_dataclass(value):
        return {"kind": type(value).__name__} | {
            field.name: _plain(getattr(value, field.name)) for field in fields(value)
        }
    if isinstance(value, Target):
        return {"kind": "Target", "value": value.value}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return float(value) if isinstance(value, np.floating) else value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_rich(entry) for entry in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        flat = np.frombuffer(base64.b64decode(value["array"]), dtype=np.dtype(value["of"]))
        return flat.reshape(value["shape"])
    kind = _KINDS[value["kind"]]
    return kind(**{name: _rich(entry) for name, entry in value.items() if name != "kind"})
