"""Write the committed files anew: ``python -m dashboards.generate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dashboards.autoscaling import autoscaling
from dashboards.engine import engine
from dashboards.fleet import fleet
from dashboards.normalise import text
from dashboards.service import service

GENERATED = Path(__file__).parent / "generated"


def files() -> Mapping[str, str]:
    """Return every dashboard's file by name."""
    return {f"{board.uid}.json": text(board) for board in (service(), engine(), autoscaling(), fleet())}


def main() -> None:
    """Write every file and name it."""
    for name, content in files().items():
        (GENERATED / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
