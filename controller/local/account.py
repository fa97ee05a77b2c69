"""What came of a run: the report, and the few lines that a person reads at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.domain.plan import Action, OutcomeStatus
from controller.domain.record import TickRecord
from controller.errors import BadInputError
from controller.load.result import LoadResult, read_load_result
from controller.local.stack import LocalStack
from controller.local.views import decision_line
from controller.report import write_report
from controller.store.reader import StoreReader

TITLE = "Foreserve on one machine"
_CHANGES = (Action.SCALE_UP, Action.SCALE_DOWN, Action.REASSERT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sum of a run. ``changes`` has a line per change of a target that was made."""

    first_token_s: float | None
    ticks: int
    max_target: int | None
    changes: tuple[str, ...]
    load: LoadResult | None
    files: Path
    report: Path | None

    def lines(self) -> list[str]:
        """Return the account as lines of text."""
        text = [f"First token {self.first_token_s:.0f} s after the start." if self.first_token_s else ""]
        text.append(f"{self.ticks} ticks; most replicas wanted: {self.max_target}.")
        text.extend(self.changes or ("No target was changed.",))
        if self.load is not None:
            total = self.load.summary
            text.append(
                f"Requests: {total.sent} sent, {total.completed} completed, {total.failed} failed; "
                f"TTFT p50 {_seconds(total.ttft.p50)}, p95 {_seconds(total.ttft.p95)}."
            )
        text.append(f"Files: {self.files}")
        if self.report is not None:
            text.append(f"Report: {self.report / 'report.html'}")
        return [line for line in text if line]


def take_account(stack: LocalStack, *, report: Path | None) -> Account:
    """Read a run's records and requests, write the report where asked for, and sum it all up."""
    records = _records(stack.files.records)
    load = _load(stack.files.requests)
    if report is not None:
        write_report(report, records=records, load=load, title=TITLE)
    return Account(
        first_token_s=stack.first_token_s,
        ticks=len(records),
        max_target=max(_targets(records), default=None),
        changes=changes(records),
        load=load,
        files=stack.files.root,
        report=report,
    )


def changes(records: Sequence[TickRecord]) -> tuple[str, ...]:
    """Return a line per change that was made: seconds since the first tick, from, to, and why."""
    return tuple(f"+{record.at - records[0].at:.0f} s {change}" for record in records for change in changes_in(record))


def changes_in(record: TickRecord) -> Iterator[str]:
    """Say which targets of deployments one tick changed: from, to, why, and what came of it."""
    for deployment in record.deployments:
        decision, outcome = deployment.decision, deployment.outcome
        if decision.action in _CHANGES and outcome.status != OutcomeStatus.NOTHING_TO_DO:
            yield f"{decision_line(decision)}: {outcome.status.value}"


def _targets(records: Sequence[TickRecord]) -> list[int]:
    wanted = [d.decision.desired for record in records for d in record.deployments]
    return [target for target in wanted if target is not None]


def _records(path: Path) -> list[TickRecord]:
    if not path.exists():
        return []
    with StoreReader(path) as store:
        return store.records()


def _load(path: Path) -> LoadResult | None:
    try:
        return read_load_result(path)
    except BadInputError:
        return None


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"
