"""A policy file is followed while it changes; the last good policy stays in force."""

import os
from pathlib import Path

import pytest

from controller.errors import BadInputError
from controller.policy.load import PolicyChange, PolicyFile


def policy_text(replicas: int | str) -> str:
    return (
        "version: 1\ndeployments:\n  - application: chat\n    deployment: tiny\n"
        f"    limits: {{max_replicas: {replicas}}}\n    capacity: {{target_ongoing_requests: 8}}\n"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(policy_text(4), encoding="utf-8")
    return path


def in_force(file: PolicyFile) -> int:
    return file.current.policy.deployments[0].limits.max_replicas


def problem_of(change: PolicyChange | None) -> str:
    assert change is not None
    assert change.loaded is None
    assert change.problem is not None
    return change.problem


def test_an_unchanged_file_is_no_news(path: Path) -> None:
    file = PolicyFile(path)

    assert [file.poll() for _ in range(3)] == [None] * 3


def test_a_touched_file_with_the_same_content_is_no_news(path: Path) -> None:
    file = PolicyFile(path)

    os.utime(path, (1, 1))

    assert file.poll() is None


def test_a_changed_file_takes_effect_once(path: Path) -> None:
    file = PolicyFile(path)

    path.write_text(policy_text(6), encoding="utf-8")

    assert file.poll() == PolicyChange(loaded=file.current)
    assert in_force(file) == 6
    assert file.poll() is None


def test_a_second_write_within_one_tick_of_the_file_system_clock_is_seen(path: Path) -> None:
    """Same size, same inode, same modification time: only the content tells them apart."""
    file = PolicyFile(path)
    path.write_text(policy_text(6), encoding="utf-8")
    written = path.stat()
    file.poll()

    path.write_text(policy_text(7), encoding="utf-8")
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    file.poll()

    assert in_force(file) == 7


def test_an_atomic_replacement_is_seen(path: Path) -> None:
    file = PolicyFile(path)
    file.poll()
    old = path.stat()

    fresh = path.with_name("fresh")
    fresh.write_text(policy_text(6), encoding="utf-8")
    os.utime(fresh, ns=(old.st_atime_ns, old.st_mtime_ns))
    fresh.replace(path)

    assert file.poll() == PolicyChange(loaded=file.current)
    assert in_force(file) == 6


def test_a_kubernetes_configmap_update_is_seen(tmp_path: Path) -> None:
    """The kubelet swaps the ``..data`` link to a new directory; the file's own link never changes."""
    for name, replicas in (("..first", 4), ("..second", 6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(policy_text(replicas), encoding="utf-8")
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    file = PolicyFile(tmp_path / "policy.yaml")

    (tmp_path / "..data_tmp").symlink_to("..second")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    change = file.poll()

    assert change == PolicyChange(loaded=file.current)
    assert in_force(file) == 6


def test_a_broken_file_is_told_once_and_changes_nothing(path: Path) -> None:
    file = PolicyFile(path)
    version = file.current.version

    path.write_text(policy_text("many"), encoding="utf-8")
    problem = problem_of(file.poll())

    assert problem.startswith(f"policy {version} stays in force: {path}:5:")
    assert in_force(file) == 4
    assert [file.poll(), file.poll()] == [None, None]


def test_each_new_broken_content_is_told(path: Path) -> None:
    file = PolicyFile(path)

    path.write_text(policy_text("many"), encoding="utf-8")
    first = problem_of(file.poll())
    path.write_text(policy_text("lots"), encoding="utf-8")
    second = problem_of(file.poll())

    assert '"many"' in first
    assert '"lots"' in second


def test_recovery_is_told_also_when_the_old_content_comes_back(path: Path) -> None:
    file = PolicyFile(path)
    version = file.current.version
    path.write_text(policy_text("many"), encoding="utf-8")
    file.poll()

    path.write_text(policy_text(4), encoding="utf-8")
    change = file.poll()

    assert change is not None
    assert change.loaded is not None
    assert change.loaded.version == version


def test_a_file_that_vanishes_is_told_once_and_its_return_too(path: Path) -> None:
    file = PolicyFile(path)
    for _ in range(2):
        file.poll()

    path.unlink()
    problem = problem_of(file.poll())
    again = file.poll()
    path.write_text(policy_text(4), encoding="utf-8")
    back = file.poll()

    assert "cannot be read (No such file or directory)" in problem
    assert again is None
    assert in_force(file) == 4
    assert back == PolicyChange(loaded=file.current)


def test_the_first_load_of_a_broken_file_is_refused(path: Path) -> None:
    path.write_text("version: 1\n", encoding="utf-8")

    with pytest.raises(BadInputError, match="deployments: is missing"):
        PolicyFile(path)
