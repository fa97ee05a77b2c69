"""Which token is whose, and what is wrong with a file of them."""

import os
from pathlib import Path

import pytest

from controller.api.tokens import Caller, Scope, TokenFile, parse_tokens
from controller.errors import BadInputError

ALICE, GRAFANA = "alice-secret-0123456789", "grafana-secret-0123456789"
LINES = f"# people\nalice act {ALICE}\n\ngrafana read {GRAFANA}\n"


def test_a_token_says_who_calls_and_what_they_may_do() -> None:
    tokens = parse_tokens(LINES, "tokens")

    assert tokens.caller(ALICE) == Caller("alice", Scope.ACT)
    assert tokens.caller(GRAFANA) == Caller("grafana", Scope.READ)


@pytest.mark.parametrize("guess", ["", "alice", ALICE[:-1], f"{ALICE}x", ALICE.upper()])
def test_any_other_text_is_nobodys(guess: str) -> None:
    assert parse_tokens(LINES, "tokens").caller(guess) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("alice act", "tokens:1: has 2 words"),
        ("# one\nalice write 0123456789abcdef", "tokens:2: the scope of alice is neither read nor act"),
        ("al/ce act 0123456789abcdef", "tokens:1: the name is not usable"),
        ("alice act 0123456789abcde", "tokens:1: the token of alice is not usable; it needs 16"),
        ("alice act 0123456789abcdeé", "tokens:1: the token of alice is not usable"),
        (f"alice act {ALICE}\nalice read {GRAFANA}", "tokens:2: the name alice is on line 1 too"),
        (f"alice act {ALICE}\nbob read {ALICE}", "tokens:2: this token is on line 1 too"),
    ],
)
def test_a_wrong_line_is_named_and_no_token_is_shown(text: str, problem: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_tokens(text, "tokens")

    assert problem in str(caught.value)
    assert "0123456789abcd" not in str(caught.value)


def test_tokens_do_not_show_when_printed() -> None:
    tokens = parse_tokens(LINES, "tokens")

    assert ALICE not in f"{tokens!r} {vars(tokens)!r}"


def test_a_changed_file_gives_and_takes_tokens_without_a_restart(tmp_path: Path) -> None:
    file, said = tmp_path / "tokens", list[str]()
    file.write_text(LINES)
    tokens = TokenFile(file, complain=said.append)

    file.write_text(f"bob act {ALICE}-new\n")

    assert tokens.current().caller(ALICE) is None
    assert tokens.current().caller(f"{ALICE}-new") == Caller("bob", Scope.ACT)
    assert said == []


def test_a_change_that_is_wrong_leaves_the_tokens_in_force_and_is_said_once(tmp_path: Path) -> None:
    file, said = tmp_path / "tokens", list[str]()
    file.write_text(LINES)
    tokens = TokenFile(file, complain=said.append)

    file.write_text("nonsense\n")
    found = [tokens.current().caller(ALICE) for _ in range(3)]

    assert found == [Caller("alice", Scope.ACT)] * 3
    assert [sentence.partition(":")[0] for sentence in said] == ["the tokens read before stay in force"]


def test_a_file_that_is_gone_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"tokens: cannot be read \(No such file or directory\); api_tokens_file"):
        TokenFile(tmp_path / "tokens", complain=print)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "tokens").touch(mode=0)

    with pytest.raises(BadInputError, match="Permission denied"):
        TokenFile(tmp_path / "tokens", complain=print)
