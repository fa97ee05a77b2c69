"""One explanation as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from controller.domain.plan import Decision, Reason
from controller.domain.record import DeploymentRecord, TickRecord
from controller.explain.explanation import Input, Line, Mood, explanation
from controller.explain.wording import duration, moment

_LABEL = 11
_NAME = 20
_VALUE = 18
_STAGE = 11

_STYLE = {
    Mood.PLAIN: "",
    Mood.QUIET: "dim",
    Mood.STRONG: "bold",
    Mood.GOOD: "green",
    Mood.NOTED: "cyan",
    Mood.WARN: "yellow",
    Mood.BAD: "bold red",
}


def page(record: TickRecord, entry: DeploymentRecord, later: Sequence[TickRecord], *, now: float) -> Text:
    """Explain one decision: what was seen, expected, decided, done, and what came of it.

    ``later`` are the following records of the same deployment, oldest first; ``now`` only says how long
    ago it was. No line is broken; widths do not depend on the terminal.
    """
    told = explanation(record, entry, later)
    lines = [
        _title(record, entry, now),
        Text(),
        *map(_line, (*told.done, *told.troubles)),
        Text(),
        Text("Inputs", "bold"),
        *map(_input, told.inputs),
        Text(),
        *map(_line, told.expectations),
        Text(),
        *_stages(entry.decision),
        *_cluster(told.cluster),
    ]
    return Text("\n").join(lines)


def _title(record: TickRecord, entry: DeploymentRecord, now: float) -> Text:
    return Text.assemble(
        (str(entry.decision.id), "bold"),
        f"  tick {record.tick}  {moment(record.at)} ({duration(now - record.at)} ago)",
        (f"  mode {record.mode}  policy {record.policy_version}", "dim"),
    )


def _line(line: Line) -> Text:
    return Text.assemble((f"{line.label:<{_LABEL}}", "bold"), (line.text, _STYLE[line.mood]))


def _input(given: Input) -> Text:
    value = f"{given.value:<{_VALUE}} " if given.note else given.value
    return Text.assemble(
        f"  {given.name:<{_NAME}} ", (value, _STYLE[given.mood]), (given.note, _STYLE[given.note_mood])
    )


def _cluster(lines: Sequence[Line]) -> Iterator[Text]:
    if lines:
        yield Text()
        yield Text("Cluster", "bold")
        yield from map(_line, lines)


def _stages(decision: Decision) -> Iterator[Text]:
    yield Text("Stages", "bold")
    if not decision.steps:
        yield Text("  none ran")
    width = max((len(reason.value) for reason in Reason), default=0)
    for step in decision.steps:
        yield Text.assemble(
            f"  {step.stage:<{_STAGE}}",
            (f"{step.replicas:>4}  ", "bold"),
            f"{step.reason.value:<{width}}  {step.detail}".rstrip(),
        )
