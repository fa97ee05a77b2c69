"""A folder as a read-only S3 bucket on this machine, so that adapters can be tried without a cloud.

Ray loads LoRA adapters from object stores only. ``python -m serving.bucket FOLDER PORT`` serves ``FOLDER/BUCKET/KEY``
on loopback, without keys; Ray finds it by ``environment.LOCAL_BUCKET``, and its addresses begin with
``pyarrow-s3://anonymous@BUCKET``. It knows what reading needs: HEAD, GET with a range, and ListObjectsV2.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_XML = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass(frozen=True, slots=True)
class _Found:
    key: str
    size: int
    changed_s: float


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, root: Path, *args: object) -> None:
        self._root = root
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer_object(body=False)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "list-type" in asked:
            bucket = unquote(parts.path).strip("/")
            self._send(HTTPStatus.OK, _listing(self._root, bucket, asked).encode(), "application/xml")
            return
        self._answer_object(body=True)

    def _answer_object(self, *, body: bool) -> None:
        path = (self._root / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        if not path.is_file() or self._root not in path.parents:
            self._send(HTTPStatus.NOT_FOUND, b"", "application/xml")
            return
        data, changed_s = path.read_bytes(), path.stat().st_mtime
        first, last = _range(self.headers.get("Range"), len(data))
        part = data[first : last + 1]
        self.send_response(HTTPStatus.PARTIAL_CONTENT if self.headers.get("Range") else HTTPStatus.OK)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Last-Modified", formatdate(changed_s, usegmt=True))
        self.send_header("ETag", f'"{changed_s:.0f}-{len(data)}"')
        self.end_headers()
        if body:
            self.wfile.write(part)

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def server(root: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server that is bound and not yet running; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, root.resolve()))


def _range(header: str | None, size: int) -> tuple[int, int]:
    if not header:
        return 0, size - 1
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(first or 0), min(int(last), size - 1) if last else size - 1


def _objects(root: Path, bucket: str) -> Iterator[_Found]:
    for path in sorted((root / bucket).rglob("*")):
        if path.is_file():
            seen = path.stat()
            yield _Found(path.relative_to(root / bucket).as_posix(), seen.st_size, seen.st_mtime)


def _listing(root: Path, bucket: str, asked: dict[str, str]) -> str:
    """Answer ListObjectsV2 in one page: objects, and with a delimiter the folders below the prefix."""
    prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
    objects, folders = [], set()
    for found in _objects(root, bucket):
        if not found.key.startswith(prefix):
            continue
        head, cut, _ = found.key[len(prefix) :].partition(delimiter) if delimiter else (found.key, "", "")
        if cut:
            folders.add(prefix + head + cut)
            continue
        when = formatdate(found.changed_s, usegmt=True)
        objects.append(
            f"<Contents><Key>{escape(found.key)}</Key><LastModified>{when}</LastModified>"
            f"<Size>{found.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    common = [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
    return (
        f'{_XML}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{escape(bucket)}</Name>'
        f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(objects) + len(common)}</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>false</IsTruncated>{''.join(objects)}{''.join(common)}</ListBucketResult>"
    )


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    if len(arguments) != 2 or not arguments[1].isdecimal():  # noqa: PLR2004 - the two of the usage
        sys.stderr.write("usage: python -m serving.bucket FOLDER PORT\n")
        return 2
    server(Path(arguments[0]), int(arguments[1])).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
