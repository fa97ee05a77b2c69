"""Signatures by the Standard Webhooks specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.webhooks.signing import BadSignatureError, headers, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_614_265_330.0
BODY = b'{"test": 2432232314}'


def signed(body: bytes = BODY, secret: str | None = SECRET, at: float = NOW) -> dict[str, str]:
    return headers(secret, name="msg_p5jXN8AQM9LWM0D4loKWxJek", at=at, body=body)


def test_the_example_of_the_specification_is_signed_as_it_says() -> None:
    assert signed()["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_signed_here_is_taken_here() -> None:
    assert verify(SECRET, signed(), BODY, now=NOW + 299) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_one_of_several_signatures_will_do_while_a_key_is_changed() -> None:
    both = {**signed(), "webhook-signature": f"v1,AAAA v1a,BBBB {signed()['webhook-signature']}"}

    assert verify(SECRET, both, BODY, now=NOW)


def test_without_a_secret_it_is_named_and_not_signed() -> None:
    assert set(signed(secret=None)) == {"webhook-id", "webhook-timestamp", "Idempotency-Key"}


@pytest.mark.parametrize(
    ("given_headers", "body", "now", "problem"),
    [
        (signed(), b"{}", NOW, "was not made with this key over this body"),
        (signed(secret="another key"), BODY, NOW, "was not made with this key"),
        ({**signed(), "webhook-id": "msg_other"}, BODY, NOW, "was not made with this key"),
        ({**signed(), "webhook-timestamp": str(int(NOW) + 1)}, BODY, NOW, "was not made with this key"),
        ({**signed(), "webhook-signature": ""}, BODY, NOW, "lacks one of the headers"),
        ({**signed(), "webhook-signature": "v1,"}, BODY, NOW, "was not made with this key"),
        ({**signed(), "webhook-signature": "ünïcode"}, BODY, NOW, "was not made with this key"),
        ({**signed(), "webhook-id": "x" * 200}, BODY, NOW, "lacks one of the headers"),
        ({**signed(), "webhook-timestamp": "yesterday"}, BODY, NOW, "is not within 300 s"),
        ({**signed(), "webhook-timestamp": "9" * 400}, BODY, NOW, "is not within 300 s"),
        ({**signed(), "webhook-timestamp": "²"}, BODY, NOW, "is not within 300 s"),
        ({**signed(), "webhook-timestamp": "-5"}, BODY, NOW, "is not within 300 s"),
        (signed(), BODY, NOW + 301, "is not within 300 s"),
        (signed(), BODY, NOW - 301, "is not within 300 s"),
        ({}, BODY, NOW, "lacks one of the headers"),
    ],
)
def test_what_was_not_signed_with_the_key_now_is_refused(
    given_headers: dict[str, str], body: bytes, now: float, problem: str
) -> None:
    with pytest.raises(BadSignatureError, match=problem):
        verify(SECRET, given_headers, body, now=now)


@given(st.text(min_size=1), st.binary(), st.binary(min_size=1))
def test_no_changed_body_is_taken(secret: str, body: bytes, more: bytes) -> None:
    given_headers = signed(body, secret)

    assert verify(secret, given_headers, body, now=NOW)
    with pytest.raises(BadSignatureError):
        verify(secret, given_headers, body + more, now=NOW)
