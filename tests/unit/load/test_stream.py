from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.load.prompts import PromptSource, TokenScale
from controller.load.sse import BadStreamError, ChatStream, carries_token


def chunk(**choice: object) -> bytes:
    return json.dumps({"id": "x", "choices": [{"index": 0, **choice}]}).encode()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(chunk(delta={"content": " word"}, finish_reason=None), True, id="text"),
        pytest.param(chunk(delta={"content": " word"}).replace(b" ", b""), True, id="without-blanks"),
        pytest.param(chunk(delta={"content": ""}, finish_reason=None), True, id="half-a-character"),
        pytest.param(chunk(delta={"content": "end"}, finish_reason="length"), True, id="last-with-text"),
        pytest.param(chunk(delta={"role": "assistant", "content": "A"}), True, id="opening-with-text"),
        pytest.param(chunk(delta={"reasoning_content": "hm"}), True, id="reasoning"),
        pytest.param(chunk(delta={"reasoning": "hm", "content": None}), True, id="reasoning-by-its-new-name"),
        pytest.param(chunk(delta={"role": "assistant", "content": ""}), False, id="opening"),
        pytest.param(chunk(delta={"content": ""}, finish_reason="stop"), False, id="closing"),
        pytest.param(chunk(delta={}, finish_reason="stop"), False, id="closing-without-content"),
        pytest.param(chunk(delta={"content": None}), False, id="null"),
        pytest.param(b'{"choices": [], "usage": {"prompt_tokens": 3}}', False, id="usage"),
        pytest.param(b"not json", False, id="garbage"),
    ],
)
def test_a_chunk_counts_when_it_stands_for_a_token(payload: bytes, expected: bool) -> None:
    assert carries_token(payload) is expected


@settings(deadline=None)
@given(st.text())
def test_generated_text_is_never_taken_for_protocol(text: str) -> None:
    hostile = text + '"error": {} "prompt_tokens": "finish_reason": "stop" "role" data: [DONE]\n\n'
    stream = ChatStream()

    tokens = stream.feed(b"data: " + chunk(delta={"content": "x" + hostile}, finish_reason=None) + b"\n\n")

    assert (tokens, stream.done, stream.error, stream.prompt_tokens) == (1, False, None, None)


@settings(deadline=None)
@given(st.data())
def test_a_stream_reads_the_same_however_it_is_cut(data: st.DataObject) -> None:
    body = (
        b": comment\r\n\r\ndata: "
        + chunk(delta={"role": "assistant", "content": ""}) + b"\r\n\r\n"
        + b"data: " + chunk(delta={"content": "ä\n"}) + b"\n\n"
        + b"data: " + chunk(delta={"content": "b"}) + b"\n\n"
        + b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
    )  # fmt: skip
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    stream = ChatStream()

    tokens = sum(stream.feed(body[a:b]) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True))

    assert tokens == 2
    assert (stream.done, stream.error, stream.prompt_tokens, stream.output_tokens) == (True, None, 7, 2)


def test_an_error_in_the_stream_is_kept() -> None:
    stream = ChatStream()

    stream.feed(b'data: {"error": {"message": "engine died"}}\n\ndata: [DONE]\n\n')

    assert stream.error is not None
    assert "engine died" in stream.error


def test_usage_that_makes_no_sense_is_left_out() -> None:
    stream = ChatStream()

    stream.feed(b'data: {"choices":[],"usage":{"prompt_tokens":null}}\n\ndata: {"prompt_tokens":\n\n')

    assert stream.prompt_tokens is None


def test_an_endless_line_is_no_stream() -> None:
    stream = ChatStream()

    with pytest.raises(BadStreamError):
        stream.feed(b"x" * 1_000_001)


@settings(deadline=None)
@given(st.integers(1, 100_000), st.integers(0, 100_000))
def test_a_prompt_has_the_wanted_number_of_words(tokens: int, index: int) -> None:
    assert len(SOURCE.prompt(index, tokens).split(" ")) == tokens


def test_words_make_up_for_the_template_and_the_tokenizer() -> None:
    source = PromptSource(seed=1, scale=TokenScale(per_word=4.0, overhead=7.0))

    assert len(source.prompt(0, 107).split()) == 25
    assert len(source.prompt(0, 1).split()) == 1


def test_prompts_differ_from_their_first_words_on() -> None:
    beginnings = {" ".join(SOURCE.prompt(index, 100).split()[:2]) for index in range(2000)}

    assert len(beginnings) > 1900


def test_the_same_seed_writes_the_same_prompts() -> None:
    again = PromptSource(seed=1, scale=TokenScale(per_word=1.0))
    other = PromptSource(seed=2, scale=TokenScale(per_word=1.0))

    assert again.prompt(5, 50) == SOURCE.prompt(5, 50) != other.prompt(5, 50)


SOURCE = PromptSource(seed=1, scale=TokenScale(per_word=1.0))
