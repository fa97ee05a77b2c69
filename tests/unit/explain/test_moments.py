"""Times as people type them."""

import pytest

from controller.errors import BadInputError
from controller.explain.moments import parse_moment

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-09-21T14:13:20Z", NOW),
        ("2026-09-21T14:13:20", NOW),
        ("2026-09-21 14:13:20", NOW),
        ("2026-09-21T16:13:20+02:00", NOW),
        ("2026-09-21T14:13:20.500Z", NOW + 0.5),
        ("2026-09-21", NOW - 51_200),
        ("20260921", NOW - 51_200),
        ("1790000000", NOW),
        ("1790000000.25", NOW + 0.25),
        ("-90s", NOW - 90),
        ("-5m", NOW - 300),
        ("-1.5h", NOW - 5400),
        (" -1d ", NOW - 86_400),
    ],
)
def test_a_time_is_read(text: str, expected: float) -> None:
    assert parse_moment(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "5m", "-5", "-5w", "2026-13-01", "14:00", "1e9", "nan", "²"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInputError, match="is not a time; write 2026-"):
        parse_moment(text, now=NOW)
