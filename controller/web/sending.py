"""How the page's answers are sent: compressed where that pays, with headers that allow only what it needs."""

from __future__ import annotations

import gzip

from fastapi import Request, Response

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types foreserve"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Scripts and styles from files only, nothing from elsewhere, no HTML from strings but where the page's own is read."""

_WORTH_COMPRESSING = 1024


def html(request: Request, body: bytes, status: int = 200) -> Response:
    """Answer with a page."""
    return compressed(request, Response(body, status_code=status, media_type="text/html", headers=HEADERS))


def compressed(request: Request, response: Response) -> Response:
    """Compress an answer that is whole already, if the client takes that and it is worth it."""
    response.headers["Vary"] = "Accept-Encoding"
    if len(response.body) > _WORTH_COMPRESSING and takes_gzip(request):
        response.body = gzip.compress(bytes(response.body), compresslevel=5)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.body))
    return response


def takes_gzip(request: Request) -> bool:
    """Whether the client reads gzip."""
    return "gzip" in request.headers.get("accept-encoding", "")
