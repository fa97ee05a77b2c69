"""No file of the repository holds a credential."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_MOST_BYTES = 2_000_000

_FORMS = {
    "private key": rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}",
    "Google API key": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "Google service account": rb'"private_key_id"\s*:\s*"[0-9a-f]{40}"',
    "AWS access key": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36,}\b",
    "Slack token": rb"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "Slack webhook": rb"hooks\.slack\.com/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/\w{20,}",
    "Grafana token": rb"\bgl(?:sa|c)_[A-Za-z0-9]{32}",
    "Hugging Face token": rb"\bhf_[A-Za-z0-9]{34}\b",
    "JSON web token": rb"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}",
}


def _files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the repository is not known")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def _found(content: bytes) -> list[str]:
    return [name for name, form in _FORMS.items() if re.search(form, content)]


def test_no_file_holds_a_credential() -> None:
    found = [
        (str(path.relative_to(ROOT)), names)
        for path in _files()
        if path.is_file() and path.stat().st_size <= _MOST_BYTES and (names := _found(path.read_bytes()))
    ]

    assert found == []


@pytest.mark.parametrize(
    "secret",
    [
        b"-----BEGIN " + b"PRIVATE KEY-----\n" + b"A" * 64,
        b"AKIA" + b"ABCDEFGHIJKLMNOP",
        b"ghp_" + b"a" * 36,
        b"hf_" + b"a" * 34,
        b".".join([b"eyJ" + b"a" * 30] * 2 + [b"b" * 30]),
    ],
)
def test_the_scan_sees_what_it_looks_for(secret: bytes) -> None:
    assert len(_found(b"token = " + secret)) == 1
