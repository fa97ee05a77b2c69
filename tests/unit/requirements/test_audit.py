"""The audit of locks against OSV records, by the schema's own examples and by what users would do wrong."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
_SPEC = importlib.util.spec_from_file_location("audit", ROOT / "requirements" / "audit.py")
assert _SPEC is not None
assert _SPEC.loader is not None
audit = importlib.util.module_from_spec(_SPEC)
sys.modules["audit"] = audit
_SPEC.loader.exec_module(audit)


def record(*events: dict[str, str], name: str = "Jinja2", **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": "PyPI", "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
    }
    return {"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "escape", "affected": [affected], **more}


@pytest.mark.parametrize(
    ("events", "affected"),
    [
        ([{"introduced": "0"}, {"fixed": "3.1.4"}], False),
        ([{"introduced": "0"}, {"fixed": "3.1.7"}], True),
        ([{"introduced": "0"}], True),
        ([{"introduced": "3.2"}], False),
        ([{"introduced": "0"}, {"last_affected": "3.1.6"}], True),
        ([{"introduced": "0"}, {"last_affected": "3.1.5"}], False),
        ([{"introduced": "0"}, {"fixed": "2.0"}, {"introduced": "3.0"}, {"fixed": "3.2"}], True),
        ([{"fixed": "3.2"}, {"introduced": "3.1.7"}], False),
        ([{"introduced": "0"}, {"fixed": "no version"}], True),
    ],
)
def test_ranges(events: list[dict[str, str]], *, affected: bool) -> None:
    known = audit.findings({"a.lock": {"jinja2": "3.1.6"}}, iter([record(*events)]))

    assert bool(known) is affected


def test_withdrawn_records_other_ecosystems_and_other_packages_do_not_count() -> None:
    open_ended = {"introduced": "0"}
    npm = record(open_ended)
    npm["affected"][0]["package"]["ecosystem"] = "npm"

    records = [record(open_ended, withdrawn="2026-01-01"), npm, record(open_ended, name="other")]

    assert audit.findings({"a.lock": {"jinja2": "3.1.6"}}, iter(records)) == []


def run(tmp_path: Path, *records: dict[str, Any], packed: bool) -> tuple[Path, Path]:
    lock = tmp_path / "a.lock"
    lock.write_text(
        "jinja2==3.1.6 \\\n    --hash=sha256:00\nray[serve]==2.60.0 ; python_version > '3'\n", encoding="utf-8"
    )
    if packed:
        source = tmp_path / "all.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for number, one in enumerate(records):
                archive.writestr(f"{number}.json", json.dumps(one))
    else:
        source = tmp_path / "osv"
        source.mkdir()
        for number, one in enumerate(records):
            (source / f"{number}.json").write_text(json.dumps(one), encoding="utf-8")
    return source, lock


@pytest.mark.parametrize("packed", [True, False])
def test_a_finding_is_one_line_with_its_remedy_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, packed: bool
) -> None:
    source, lock = run(tmp_path, record({"introduced": "0"}, {"fixed": "3.1.7"}), packed=packed)

    code = audit.main([str(source), str(lock)])

    said = capsys.readouterr()
    assert code == 1
    assert said.out == f"{lock}: jinja2 3.1.6: PYSEC-1, CVE-1: escape (fixed in 3.1.7)\n"
    assert "2 locked packages, 1 known" in said.err


def test_nothing_known_is_exit_code_0(tmp_path: Path) -> None:
    source, lock = run(tmp_path, record({"introduced": "4"}), packed=True)

    assert audit.main([str(source), str(lock)]) == 0


@pytest.mark.parametrize("what", ["no zip", "no lock", "no json"])
def test_bad_input_is_exit_code_2_and_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    source, lock = run(tmp_path, record({"introduced": "4"}), packed=False)
    bad = {"no zip": lock, "no lock": source / "0.json", "no json": source / "1.json"}[what]
    if what == "no json":
        bad.write_text("{", encoding="utf-8")
    given = [str(bad if what == "no zip" else source), str(bad if what == "no lock" else lock)]

    assert audit.main(given) == 2
    assert str(bad) in capsys.readouterr().err


@pytest.mark.parametrize("lock", ["base.lock", "local.lock", "gpu.lock"])
def test_every_lock_of_the_project_can_be_audited(lock: str) -> None:
    found = audit.pins(ROOT / "requirements" / lock)

    assert len(found) > 30
    assert "pydantic" in found
    assert all(audit.is_affected({"ranges": []}, version) is False for version in found.values())


@pytest.mark.parametrize("lock", ["base.lock", "local.lock", "gpu.lock"])
def test_every_pin_has_a_hash(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    blocks = text.replace("\\\n", " ").splitlines()

    assert [line[:60] for line in blocks if "==" in line and "--hash=sha256:" not in line] == []
