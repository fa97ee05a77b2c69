"""The policy's section on canaries: new builds that get traffic step by step."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, model_validator

from controller.policy.section import PositiveSeconds, Section

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class CanaryPolicy(Section):
    """One new build beside a stable one, behind ``serving.split``. Driven in modes direct and guided."""

    name: str = Field(min_length=1, max_length=63, description="What people call it: lower-case letters, digits, '-'.")
    build: str = Field(
        min_length=1, max_length=128, description="The build that is tried; another one begins at the first step."
    )
    split_url: str = Field(min_length=1, max_length=4096, description="Base address of the split application.")
    token_file: str = Field(
        min_length=1, max_length=4096, description="File with the token that may set the split application's share."
    )
    steps: tuple[float, ...] = Field(
        default=(0.01, 0.05, 0.25, 1.0), min_length=1, max_length=20, description="Shares of the requests, rising."
    )
    hold_s: PositiveSeconds = Field(default=300.0, description="How long each step is held at least.")
    longest_s: PositiveSeconds = Field(
        default=3600.0, description="A step that cannot be judged for so long ends it: too few requests, no answer."
    )
    ttft_s: PositiveSeconds = Field(default=2.0, description="Objective of the time to the first byte, seconds.")
    min_requests: int = Field(default=100, ge=1, le=1_000_000, description="Requests that a step is judged by.")
    max_slowdown: float = Field(
        default=1.5, ge=1, le=100, description="Its median to the first byte over the stable build's, at most."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not _NAME.fullmatch(self.name):
            msg = f"name {self.name!r}: use lower-case letters, digits and hyphens"
            raise ValueError(msg)
        if not self.split_url.startswith(("http://", "https://")):
            msg = f"split_url {self.split_url!r}: give an address that begins with http:// or https://"
            raise ValueError(msg)
        if list(self.steps) != sorted(set(self.steps)) or not 0 < self.steps[0] <= self.steps[-1] <= 1:
            msg = f"steps {list(self.steps)}: give rising shares above 0 and up to 1, such as [0.01, 0.05, 0.25, 1]"
            raise ValueError(msg)
        if self.longest_s < self.hold_s:
            msg = f"longest_s ({self.longest_s:g}) must not be below hold_s ({self.hold_s:g})"
            raise ValueError(msg)
        return self
