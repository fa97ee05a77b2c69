from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import BadInputError, UnavailableError
from controller.live.startup import StepStatus
from controller.local.steps import StepFailedError, Steps


class HandClock:
    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


class Seen:
    def __init__(self) -> None:
        self.changes: list[tuple[str, str, float]] = []

    def changed(self, step: StepStatus) -> None:
        self.changes.append((step.name, step.state, step.seconds))


def test_a_step_is_shown_when_it_begins_and_when_it_ends_with_its_seconds() -> None:
    clock, seen = HandClock(), Seen()
    steps = Steps(["Ray", "Serve"], clock=clock, display=seen)

    with steps.step("Ray"):
        clock.at += 3.5

    assert seen.changes == [("Ray", "running", 0.0), ("Ray", "done", 3.5)]


def test_the_running_step_counts_its_seconds_and_tells_its_detail() -> None:
    clock = HandClock()
    steps = Steps(["Ray", "Serve"], clock=clock, display=Seen())

    with steps.step("Ray"):
        clock.at += 2.0
        steps.detail("waiting for the dashboard")
        ray, serve = steps.statuses()

    assert (ray.state, ray.seconds, ray.detail) == ("running", 2.0, "waiting for the dashboard")
    assert serve.state == "waiting"


def test_before_the_first_step_all_of_them_wait() -> None:
    steps = Steps(["Ray", "Serve"], clock=HandClock(), display=Seen())

    assert [step.state for step in steps.statuses()] == ["waiting", "waiting"]


def test_a_failed_step_names_itself_its_log_and_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "ray.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    seen = Seen()
    steps = Steps(["Ray"], clock=HandClock(), display=seen)

    with pytest.raises(StepFailedError) as caught, steps.step("Ray", log=log):
        raise FileNotFoundError(2, "no such program")

    message = str(caught.value)
    assert message.startswith("Ray: [Errno 2] no such program")
    assert str(log) in message
    assert "line 99" in message
    assert "line 10\n" not in message
    assert seen.changes[-1][:2] == ("Ray", "failed")


@pytest.mark.parametrize("error", [BadInputError("port 8000 is taken"), UnavailableError("refused")])
def test_an_error_with_an_exit_code_of_its_own_keeps_it(error: Exception) -> None:
    steps = Steps(["Ports"], clock=HandClock(), display=Seen())

    with pytest.raises(type(error), match=str(error)), steps.step("Ports"):
        raise error


def test_a_step_without_any_output_says_so(tmp_path: Path) -> None:
    steps = Steps(["Ray"], clock=HandClock(), display=Seen())

    with pytest.raises(StepFailedError, match="no log was written"), steps.step("Ray", log=tmp_path / "none.log"):
        raise TimeoutError
