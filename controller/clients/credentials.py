"""Checks of addresses and tokens, before anything is sent with them."""

from __future__ import annotations

from yarl import URL

from controller.errors import BadInputError


def checked_address(base_url: str, *, setting: str, token_setting: str, what: str, example: str) -> URL:
    """Parse the address of ``what``.

    Raises:
        BadInputError: it is no plain http(s) address. The message names ``setting`` and never the address' password.

    """
    try:
        url = URL(base_url)
    except ValueError:
        url = URL()
    if url.user or url.password:
        msg = f"{setting} holds a user name or password; leave it out and set {token_setting}"
        raise BadInputError(msg)
    if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.fragment:
        msg = f"{setting}: {base_url!r} is not the address of {what}; expected one like {example}"
        raise BadInputError(msg)
    return url


def checked_token(token: str | None, *, setting: str) -> str | None:
    """Return the token without surrounding space, None when there is none.

    Raises:
        BadInputError: it cannot stand in a header.

    """
    token = (token or "").strip()
    if not token:
        return None
    if not (token.isascii() and token.isprintable()):
        msg = f"{setting} holds characters that cannot be sent; expected printable ASCII on one line"
        raise BadInputError(msg)
    return token
