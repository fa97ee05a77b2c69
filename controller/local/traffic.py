"""The traffic of a local stack: what is sent, and its numbers as they come."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from controller.load.tick import LoadTick, load_tick


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficOptions:
    """Which trace is sent, how fast and how much of it.

    The defaults suit two cores: the bundled trace rises threefold and falls again within three minutes, thinned to
    what two replicas of the tiny model carry, with answers that end while one watches.
    """

    trace: str = "day_rise_fall"
    speed: float = 120.0
    rate_scale: float = 0.1
    prompt_tokens_max: int = 256
    output_tokens_max: int = 128

    def arguments(self, out: Path) -> list[str]:
        """Arguments of ``foreserve load``, the requests written to ``out``."""
        return [
            f"--trace={self.trace}",
            f"--speed={self.speed}",
            f"--rate-scale={self.rate_scale}",
            f"--prompt-tokens-max={self.prompt_tokens_max}",
            f"--output-tokens-max={self.output_tokens_max}",
            "--loop",
            "--json",
            f"--out={out}",
        ]


class TickReader:
    """Reads the numbers of a load generator in a thread of its own and keeps the newest."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._latest: LoadTick | None = None
        self._thread = threading.Thread(target=self._read, name="traffic-numbers", daemon=True)
        self._thread.start()

    @property
    def latest(self) -> LoadTick | None:
        """The newest numbers; None before the first."""
        return self._latest

    def join(self, timeout_s: float) -> None:
        """Wait until the stream has ended."""
        self._thread.join(timeout_s)

    def _read(self) -> None:
        for line in self._stream:
            tick = load_tick(line)
            if tick is not None:
                self._latest = tick
