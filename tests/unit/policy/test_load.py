"""A policy file is loaded, or every fault in it is named with its place and what would be right."""

import os
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadInputError
from controller.policy.document import MAX_BYTES, read_document
from controller.policy.load import load_policy
from controller.policy.problems import DocumentError, Problem

GOOD = """\
version: 1
deployments:
  - application: chat
    deployment: tiny
    limits:
      max_replicas: 4
    capacity: {target_ongoing_requests: 8}
"""


def problems_of(tmp_path: Path, text: str | bytes) -> list[str]:
    """Return the lines of the error, without the file name in front."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BadInputError) as raised:
        load_policy(path)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_right_file_is_loaded_with_the_version_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("abc: 1", encoding="utf-8")
    path.write_text(GOOD, encoding="utf-8")

    loaded = load_policy(path)

    assert loaded.policy.deployments[0].limits.max_replicas == 4
    assert loaded.path == path
    assert len(loaded.version) == 12
    path.write_text(f"{GOOD}# one more remark\n", encoding="utf-8")
    assert load_policy(path).version != loaded.version


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "max_replicas: 4",
            "max_replcas: 4",
            [
                (
                    "5:5: deployments[0].limits.max_replicas: is missing; expected a whole number from 1 to 10000 "
                    "(Most replicas ever wanted)"
                ),
                (
                    "6:7: deployments[0].limits.max_replcas: unknown key; did you mean max_replicas? "
                    "allowed here: min_replicas, max_replicas, max_step_up, max_step_down"
                ),
            ],
            id="misspelt-key",
        ),
        pytest.param(
            "version: 1\n",
            "version: 1\nzzz: 1\n",
            [
                (
                    "2:1: zzz: unknown key; allowed here: version, mode, control, budget, deployments, cluster, "
                    "canaries, overrides, approval, webhooks"
                )
            ],
            id="key-like-no-other",
        ),
        pytest.param(
            "max_replicas: 4",
            "max_replicas: four",
            ['6:7: deployments[0].limits.max_replicas: is the text "four"; expected a whole number from 1 to 10000'],
            id="text-for-a-number",
        ),
        pytest.param(
            "max_replicas: 4",
            'max_replicas: "4"',
            [
                (
                    '6:7: deployments[0].limits.max_replicas: is the text "4"; '
                    "expected a whole number from 1 to 10000, without quotes"
                )
            ],
            id="quoted-number",
        ),
        pytest.param(
            "max_replicas: 4",
            "max_replicas: true",
            ["6:7: deployments[0].limits.max_replicas: is true; expected a whole number from 1 to 10000"],
            id="true-is-not-one",
        ),
        pytest.param(
            "max_replicas: 4",
            "max_replicas: 0",
            ["6:7: deployments[0].limits.max_replicas: is 0; expected a whole number from 1 to 10000"],
            id="out-of-range",
        ),
        pytest.param(
            "target_ongoing_requests: 8",
            "target_ongoing_requests: .nan",
            [
                (
                    "7:16: deployments[0].capacity.target_ongoing_requests: is nan; "
                    "expected a number above 0, at most 100000"
                )
            ],
            id="nan",
        ),
        pytest.param(
            "application: chat",
            "application: 2024",
            ["3:5: deployments[0].application: is 2024; expected text of 1 to 253 characters, so put it in quotes"],
            id="number-for-text",
        ),
        pytest.param(
            "max_replicas: 4",
            "min_replicas: 5\n      max_replicas: 3",
            ["6:7: deployments[0].limits: min_replicas (5) must be <= max_replicas (3); change one of the two"],
            id="min-above-max",
        ),
        pytest.param(
            "version: 1\n",
            "",
            ["1:1: version: is missing; expected 1 (Version of this file format)"],
            id="missing-at-the-top",
        ),
        pytest.param("version: 1\n", "version: 2\n", ["1:1: version: is 2; expected 1"], id="another-format"),
        pytest.param(
            "version: 1\n",
            "version: 1\nmode: dryrun\n",
            ['2:1: mode: is the text "dryrun"; expected one of direct, approve, guided, advisory'],
            id="choice",
        ),
        pytest.param(
            "version: 1\n",
            "version: 1\ncontrol:\n",
            [
                (
                    "2:1: control: is empty; expected a mapping with the keys interval_s, window_s, max_signal_age_s, "
                    "or leave the key out"
                )
            ],
            id="empty-section",
        ),
        pytest.param(
            "limits:\n      max_replicas: 4",
            "limits: 4",
            [
                (
                    "5:5: deployments[0].limits: is 4; expected a mapping with the keys "
                    "min_replicas, max_replicas, max_step_up, max_step_down"
                )
            ],
            id="number-for-a-section",
        ),
        pytest.param(
            "version: 1\n",
            "version: 1\nversion: 1\n",
            ["2:1: version: is given twice (first on line 1); keep one of the two"],
            id="duplicate-key",
        ),
        pytest.param(
            "application: chat",
            "application: !!python/object:os.system chat",
            [
                (
                    "3:18: deployments[0].application: has the tag !!python/object:os.system; "
                    "leave the tag out; values are plain YAML"
                )
            ],
            id="tag",
        ),
        pytest.param(
            "version: 1\n",
            "version: 1\n---\n",
            ["2:1: a second document begins; keep one document, without `---`"],
            id="two-documents",
        ),
        pytest.param(
            "    limits:\n", "\tlimits:\n", ["5:1: a tab in the indentation; indent with spaces only"], id="tab"
        ),
        pytest.param(
            "deployments:\n",
            "deployments: [}\n",
            [
                (
                    "2:15: invalid YAML: while parsing a flow node, expected the node content, but found '}'; "
                    "check indentation, colons and quotes here"
                )
            ],
            id="broken-yaml",
        ),
    ],
)
def test_a_fault_is_named_with_its_place_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    assert old in GOOD

    assert problems_of(tmp_path, GOOD.replace(old, new, 1)) == expected


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems_of(
        tmp_path,
        textwrap.dedent("""\
            version: 3
            mod: direct
            deployments:
              - application: chat
                deployment: tiny
                limits: {min_replicas: 5, max_replicas: 3}
                capacity: {}
              - application: chat
                deployment: tiny
                limits: {max_replicas: 3}
                capacity: {target_ongoing_requests: 8}
                forecast: {quantile: 0.9, costs: {miss: 1, spare: 1}}
            """),
    )

    assert [line.split(": ")[:2] for line in found] == [
        ["1:1", "version"],
        ["2:1", "mod"],
        ["6:14", "deployments[0].limits"],
        ["7:5", "deployments[0].capacity.target_ongoing_requests"],
        ["8:5", "deployments[1]"],
        ["12:16", "deployments[1].forecast"],
    ]
    assert found[4].endswith("chat/tiny is listed twice (first on line 4); keep one entry for each deployment")


def test_a_deployment_listed_twice_is_told_once(tmp_path: Path) -> None:
    entry = GOOD.partition("deployments:\n")[2]

    found = problems_of(tmp_path, GOOD + entry)

    assert found == [
        "8:5: deployments[1]: chat/tiny is listed twice (first on line 3); keep one entry for each deployment"
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            b"", "1:1: the file is empty; write at least version, and one entry under deployments", id="empty"
        ),
        pytest.param(b"# only a remark\n", "1:1: the file is empty; write at least version", id="comment-only"),
        pytest.param(b"- a\n- b\n", "1:1: the file is a list; a policy is a mapping that begins with", id="list"),
        pytest.param(b"hello\n", "1:1: the file is the plain value 'hello'; a policy is a mapping", id="text"),
        pytest.param(b"a: b\xff\n", "1:5: the file is not UTF-8 text; a policy is a YAML text file", id="latin-1"),
        pytest.param(b"a: 1\nb: \x00\n", "2:4: the character '\\x00' is not allowed in YAML", id="binary"),
        pytest.param(b"#" * (MAX_BYTES + 1), " the file is larger than 1024 KiB; a policy is a short", id="large"),
        pytest.param(b"[" * 1500, " values are nested more than 20 levels deep; a policy needs", id="deep-flow"),
        pytest.param(
            b"a: " + b"{a: " * 40 + b"1" + b"}" * 40, "1:84: a.a.a: values are nested more than 20 levels", id="deep"
        ),
        pytest.param(b"a: &a [*a]\n", "1:4: a[0][0]: values are nested more than", id="alias-of-itself"),
        pytest.param(b"a: *nowhere\n", "1:4: invalid YAML: found undefined alias", id="alias-of-nothing"),
        pytest.param(b"? [a, b]\n: 1\n", "1:3: a list stands where a key should; write `key: value`", id="list-as-key"),
        pytest.param(b"a: 1\nb:\n  <<: 3\n", "3:7: b: `<<` merges the plain value '3'; name a mapping", id="bad-merge"),
        pytest.param(b"version: " + b"9" * 5000, "1:10: version: is not a readable number; write", id="endless-number"),
    ],
)
def test_what_is_no_policy_at_all_is_one_clear_message(tmp_path: Path, content: bytes, expected: str) -> None:
    found = problems_of(tmp_path, content)

    assert len(found) == 1
    assert found[0].startswith(expected)


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    levels = [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9)}]" for level in range(1, 10)]

    found = problems_of(tmp_path, "x0: &x0 [1, 2]\n" + "\n".join(levels))

    assert "more than 200000 values once aliases are followed; use fewer aliases" in found[0]


def test_anchors_and_merge_keys_save_repetition(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        textwrap.dedent("""\
            version: 1
            deployments:
              - &first
                application: chat
                deployment: a
                limits: &limits {min_replicas: 2, max_replicas: 4}
                capacity: {target_ongoing_requests: 8}
              - <<: *first
                deployment: b
                limits: {<<: *limits, max_replicas: 6}
            """),
        encoding="utf-8",
    )

    first, second = load_policy(path).policy.deployments

    assert (second.deployment, second.limits.min_replicas, second.limits.max_replicas) == ("b", 2, 6)
    assert second.capacity == first.capacity


def test_a_byte_order_mark_is_accepted_and_dates_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD.replace("tiny", "2026-11-21"), encoding="utf-8-sig")

    assert load_policy(path).policy.deployments[0].deployment == "2026-11-21"


def test_a_missing_file_a_directory_and_a_device_are_named(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))

    for path, reason in [
        (tmp_path / "none.yaml", "cannot be read (No such file or directory); check the path"),
        (tmp_path, "cannot be read (Is a directory); name a policy file inside it"),
        (Path("/dev/null"), "is not a regular file; name a policy file"),
    ]:
        with pytest.raises(BadInputError) as raised:
            load_policy(path)
        assert str(raised.value).startswith(f"{path}: {reason}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(GOOD, encoding="utf-8")
    path.chmod(0)

    with pytest.raises(BadInputError, match="give this user permission"):
        load_policy(path)


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*#!|>'\"\n\t %@?,<0.~", max_size=80).map(str.encode))
def test_any_bytes_give_values_or_named_problems(data: bytes) -> None:
    try:
        document = read_document(data)
        problems: tuple[Problem, ...] = ()
        first_line = document.place(("no", "such", "key")).line
    except DocumentError as exc:
        problems, first_line = exc.problems, 1

    assert first_line >= 1
    assert all(problem.wrong and problem.right for problem in problems)
