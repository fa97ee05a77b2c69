"""Files of the page: read once, compressed once, named by their content so that browsers may keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_FILES: dict[str, tuple[str, ...]] = {
    # One stylesheet, because a browser paints nothing before it has them all.
    "page.css": ("vendor/uPlot.min.css", "static/page.css"),
    "app.js": ("static/app.js",),
    "charts.js": ("static/charts.js",),
    "morph.js": ("static/morph.js",),
    "words.js": ("static/words.js",),
    "theme.js": ("static/theme.js",),
    "icon.svg": ("static/icon.svg",),
    "uPlot.js": ("vendor/uPlot.iife.min.js",),
}
_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    content_type: str
    body: bytes
    compressed: bytes


@cache
def assets() -> dict[str, Asset]:
    """Every file by its name."""
    folder = files("controller.web")
    return {
        name: _asset(name, b"\n".join(folder.joinpath(path).read_bytes() for path in paths))
        for name, paths in _FILES.items()
    }


@cache
def version() -> str:
    """Name of this set of files."""
    digest = hashlib.sha256()
    for name, asset in sorted(assets().items()):
        digest.update(name.encode() + asset.body)
    return digest.hexdigest()[:12]


def _asset(name: str, body: bytes) -> Asset:
    return Asset(_TYPES[name.rpartition(".")[2]], body, gzip.compress(body, mtime=0))
