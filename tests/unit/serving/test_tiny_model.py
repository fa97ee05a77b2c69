from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving import tiny_model


def test_a_complete_model_is_not_made_again(tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    out.mkdir()
    (out / tiny_model.STAMP).write_text(json.dumps(tiny_model.RECIPE))

    assert tiny_model.make(out) is False


@pytest.mark.parametrize(
    "stamp",
    [
        pytest.param(None, id="cut short"),
        pytest.param("{", id="damaged"),
        pytest.param(json.dumps(tiny_model.RECIPE | {"layers": 99}), id="made by another recipe"),
    ],
)
def test_anything_else_is_not_complete(tmp_path: Path, stamp: str | None) -> None:
    if stamp is not None:
        (tmp_path / tiny_model.STAMP).write_text(stamp)

    assert not tiny_model.is_complete(tmp_path)


def test_the_command_line_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny_model.main([]) == 2
    assert "usage: python -m serving.tiny_model OUT" in capsys.readouterr().err
