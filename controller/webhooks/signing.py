"""Signatures by the Standard Webhooks specification: HMAC-SHA256 over id, timestamp and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300.0
"""How far a timestamp may be from now, either way."""

_PREFIX = "whsec_"
_MOST_ID = 128
_MOST_SIGNATURES = 10


class BadSignatureError(Exception):
    """Not signed by who has the key, or not now; ``str()`` says which."""


def headers(secret: str | None, *, name: str, at: float, body: bytes) -> dict[str, str]:
    """Return the headers that go with a body; without a secret it is named and not signed."""
    given = {ID: name, TIMESTAMP: str(int(at)), "Idempotency-Key": name}
    return given if secret is None else {**given, SIGNATURE: f"v1,{_digest(secret, name, str(int(at)), body)}"}


def verify(secret: str, given: Mapping[str, str], body: bytes, *, now: float) -> str:
    """Return the id of a webhook that was signed with the key at about this time. Raises BadSignatureError."""
    name, stamp, signatures = (given.get(header, "") for header in (ID, TIMESTAMP, SIGNATURE))
    if not (name and stamp and signatures) or len(name) > _MOST_ID or not name.isprintable():
        msg = f"it lacks one of the headers {ID}, {TIMESTAMP} and {SIGNATURE}"
        raise BadSignatureError(msg)
    if not (stamp.isascii() and stamp.isdecimal()) or abs(now - int(stamp[:16])) > TOLERANCE_S:
        msg = f"its {TIMESTAMP} is not within {TOLERANCE_S:g} s of the time here"
        raise BadSignatureError(msg)
    right = f"v1,{_digest(secret, name, stamp, body)}"
    # Several signatures stand there while a key is changed.
    offered = signatures.split(" ")[:_MOST_SIGNATURES]
    if not any(hmac.compare_digest(right.encode(), one.encode()) for one in offered):
        msg = "its signature was not made with this key over this body"
        raise BadSignatureError(msg)
    return name


def _digest(secret: str, name: str, stamp: str, body: bytes) -> str:
    signed = b".".join((name.encode(), stamp.encode(), body))
    return base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    """``whsec_`` and base64, as the specification writes keys; any other text is the key itself."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            return secret.encode()
    return secret.encode()
