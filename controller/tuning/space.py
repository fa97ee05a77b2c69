"""What may be varied: parameters of a policy with their ranges, as points of the unit cube."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from controller.errors import BadInputError

_MAX_BYTES = 100_000
_DIGITS = 4

BUILTIN = "builtin"
_BUILTIN = """\
parameters:
  forecast.quantile: {low: 0.5, high: 0.98}
  stabilisation.downscale_delay_s: {low: 10, high: 900, scale: log}
  limits.max_step_down: {low: 1, high: 16, whole: true, scale: log}
  capacity.target_ongoing_requests: {low: 4, high: 80, scale: log}
"""

Value = float | int | bool | str


class Scale(StrEnum):
    """How a range is walked through."""

    LINEAR = "linear"
    LOG = "log"


class Range(BaseModel):
    """One parameter: ``low`` to ``high``, or one of ``choices``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float | None = None
    high: float | None = None
    scale: Scale = Scale.LINEAR
    whole: bool = Field(default=False, description="Whole numbers only.")
    choices: tuple[bool | int | float | str, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None:
                msg = "give either choices, or low and high"
                raise ValueError(msg)
        elif self.low is None or self.high is None or self.low >= self.high:
            msg = "give low and high, low < high; or choices"
            raise ValueError(msg)
        elif self.scale is Scale.LOG and self.low <= 0:
            msg = f"low ({self.low:g}) must be above 0 on a logarithmic scale"
            raise ValueError(msg)
        return self

    def at(self, place: float) -> Value:
        """Return the value at a place in [0, 1]."""
        if self.choices:
            return self.choices[min(int(place * len(self.choices)), len(self.choices) - 1)]
        low, high = float(self.low or 0.0), float(self.high or 0.0)
        if self.scale is Scale.LOG:
            value = math.exp(math.log(low) + place * (math.log(high) - math.log(low)))
        else:
            value = low + place * (high - low)
        return round(value) if self.whole else float(f"{value:.{_DIGITS}g}")


@dataclass(frozen=True, slots=True)
class Space:
    """Parameters by their path in a deployment's policy, or in ``control``."""

    ranges: Mapping[str, Range]

    def values(self, point: Sequence[float]) -> dict[str, Value]:
        """Return the values at a point of the unit cube."""
        return {path: one.at(place) for (path, one), place in zip(self.ranges.items(), point, strict=True)}


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: dict[str, Range] = Field(min_length=1, max_length=50)


def load_space(name: str) -> Space:
    """Read a search file, or the built-in one by the name ``builtin``.

    Raises:
        BadInputError: it cannot be read, or a key is wrong; each is named.

    """
    text = _BUILTIN if name == BUILTIN else _text(Path(name))
    try:
        document = YAML(typ="safe", pure=True).load(io.StringIO(text))
        return Space(_File.model_validate(document).parameters)
    except YAMLError as error:
        msg = f"{name}: is not YAML: {error}"
        raise BadInputError(msg) from None
    except ValidationError as error:
        said = (f"{name}: {'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise BadInputError("\n".join(said)) from None


def with_values(document: Any, values: Mapping[str, Value], *, deployment: int) -> None:
    """Set the values in a policy document, in place; a section that is not there yet is begun."""
    for path, value in values.items():
        *sections, key = path.split(".")
        place = document if sections[:1] == ["control"] else document["deployments"][deployment]
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        if path == "forecast.quantile":
            place.pop("costs", None)
        place[key] = value


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()[: _MAX_BYTES + 1]
        if len(data) > _MAX_BYTES:
            msg = f"{path}: longer than {_MAX_BYTES} bytes; is this a search file?"
            raise BadInputError(msg)
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}; give a search file, or the word {BUILTIN}"
        raise BadInputError(msg) from None
