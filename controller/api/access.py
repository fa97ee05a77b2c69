"""Who may ask what of the API. The verdict is a pure function of the request's head and the known tokens.

Reading is free on this machine and needs a token from elsewhere; changing anything needs a token with scope ``act``
from anywhere. A token stands in the Authorization header only, never in a cookie or an address, so that no other
page can make a browser use it; what a browser sends for another site is refused all the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from controller.api.tokens import Caller, Scope, Tokens

THIS_MACHINE = Caller("this machine", Scope.READ)
"""Who reads over loopback without a token."""

HOOKS = "/hooks/"
"""Below it every receiver checks its own senders."""

DRY = frozenset({"/what-if", "/api/v1/what-if"})
"""What is sent there is only planned with: reading, although it has a body."""

_OPEN = frozenset({"/", "/healthz", "/readyz", "/metrics"})
_OPEN_BELOW = ("/assets/",)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_SITE = frozenset({"same-origin", "none"})
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_HOW = "send one in the header Authorization: Bearer TOKEN"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, as an HTTP status and a sentence; ``reason`` is one word for counting."""

    status: int
    reason: str
    sentence: str


_CROSS_SITE = Refusal(
    403, "cross_site", "a page of another site may not change anything here; use this controller's own page"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is judged of a request. ``peer`` is the address at the other end of the connection."""

    method: str
    path: str
    peer: str | None
    headers: Mapping[str, str]


def judge(head: Head, tokens: Tokens) -> Caller | Refusal | None:
    """Return who asks, why they may not, or None for what is open to all."""
    fetches = head.method in _READING
    if head.path.startswith(HOOKS) or (fetches and _is_open(head.path)):
        return None
    if not fetches and _from_another_site(head):
        return _CROSS_SITE
    return _by_token(head, Scope.READ if fetches or head.path in DRY else Scope.ACT, tokens)


def reader(scope: AsgiScope, tokens: Tokens) -> Caller | Refusal:
    """Return who reads, or why they may not, whether or not what is asked for is open to all."""
    return _by_token(_head(scope), Scope.READ, tokens)


def _by_token(head: Head, wanted: Scope, tokens: Tokens) -> Caller | Refusal:
    given = head.headers.get("authorization")
    if given is not None:
        return _bearer(given, wanted, tokens)
    if wanted is Scope.READ and _on_this_machine(head):
        return THIS_MACHINE
    why = "reading from another machine" if wanted is Scope.READ else "changing something"
    return Refusal(401, "no_token", f"{why} needs a token with scope {wanted}; {_HOW}{_none(tokens)}")


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def _bearer(given: str, wanted: Scope, tokens: Tokens) -> Caller | Refusal:
    kind, _, token = given.partition(" ")
    caller = tokens.caller(token.strip()) if kind.lower() == "bearer" else None
    if caller is None:
        return Refusal(401, "wrong_token", f"this token is not known here; {_HOW}{_none(tokens)}")
    if not caller.scope.covers(wanted):
        sentence = f"the token of {caller.name} may read only; this changes something, which needs the scope act"
        return Refusal(403, "scope", sentence)
    return caller


def _none(tokens: Tokens) -> str:
    return "" if tokens else ". This controller has no tokens yet: name a file of them in FORESERVE_API_TOKENS_FILE"


def _from_another_site(head: Head) -> bool:
    """What a browser says about the page that makes it send this. Other clients say nothing."""
    site, origin = head.headers.get("sec-fetch-site"), head.headers.get("origin")
    if site is not None and site not in _SAME_SITE:
        return True
    return origin is not None and origin.partition("://")[2] != head.headers.get("host")


def _on_this_machine(head: Head) -> bool:
    """Whether both ends are here, no proxy stands between, and no other site's name leads here."""
    if not _is_loopback(head.peer) or any(name in head.headers for name in _FORWARDED):
        return False
    host = head.headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name == "localhost" or _is_loopback(name)


def _is_loopback(address: str | None) -> bool:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _head(scope: AsgiScope) -> Head:
    client = scope.get("client")
    return Head(
        method=scope["method"], path=scope["path"], peer=client[0] if client else None, headers=Headers(scope=scope)
    )


class AccessControl:
    """Refuses what may not be asked; tells the routes who asks, as ``request.state.caller``."""

    def __init__(self, app: ASGIApp, *, tokens: Callable[[], Tokens], refused: Callable[[str], None]) -> None:
        """``refused`` is called with the reason of every refusal."""
        self._app = app
        self._tokens = tokens
        self._refused = refused

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        verdict = judge(_head(scope), self._tokens())
        if isinstance(verdict, Refusal):
            self._refused(verdict.reason)
            headers = {"WWW-Authenticate": "Bearer"} if verdict.status == HTTPStatus.UNAUTHORIZED else {}
            await JSONResponse({"detail": verdict.sentence}, verdict.status, headers)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = verdict
        await self._app(scope, receive, send)
