"""Writes a report: report.json for programs, report.html for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from controller.domain.record import TickRecord
from controller.errors import BadInputError
from controller.load.result import LoadResult
from controller.report.build import build_report
from controller.report.model import Report
from controller.report.page import render_page

_REPORT = TypeAdapter(Report)


def write_report(directory: Path, *, records: Sequence[TickRecord], load: LoadResult | None, title: str) -> None:
    """Write ``report.json`` and ``report.html`` into ``directory``, which is made if it is not there.

    Raises:
        BadInputError: the directory cannot be written to.

    """
    report = build_report(records, load, title=title)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "report.json").write_bytes(_REPORT.dump_json(report, indent=1))
        (directory / "report.html").write_text(render_page(report), encoding="utf-8")
    except OSError as exc:
        msg = f"{directory}: the report cannot be written: {exc.strerror or exc}"
        raise BadInputError(msg) from exc
