"""Settings come from the environment and the command line; tokens never show."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from controller.errors import BadInputError
from controller.settings import Settings, load_settings, prometheus_token

POLICY = Path("policy.yaml")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("FORESERVE_") or name == "RAY_AUTH_TOKEN":
            monkeypatch.delenv(name)


def test_defaults_are_those_of_one_machine() -> None:
    settings = load_settings(policy=POLICY)

    assert settings.serve_url == "http://127.0.0.1:8265"
    assert (settings.host, settings.port) == ("127.0.0.1", 9900)
    assert settings.store == Path(".foreserve/foreserve.db")
    assert settings.haproxy_urls == ()
    assert settings.advisory is False
    assert settings.serve_secret() is None


def test_the_environment_sets_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_POLICY", "env.yaml")
    monkeypatch.setenv("FORESERVE_PORT", "9100")
    monkeypatch.setenv("FORESERVE_HAPROXY_URLS", "http://a:9101, http://b:9101")

    settings = load_settings(port=9200, host=None)

    assert settings.policy == Path("env.yaml")
    assert settings.port == 9200
    assert settings.haproxy_urls == ("http://a:9101", "http://b:9101")


@pytest.mark.parametrize("variable", ["FORESERVE_SERVE_TOKEN", "RAY_AUTH_TOKEN"])
def test_the_token_is_read_from_either_variable(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "s3cret")

    assert load_settings(policy=POLICY).serve_secret() == "s3cret"


def test_foreserves_own_token_comes_before_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_SERVE_TOKEN", "ours")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "rays")

    assert load_settings(policy=POLICY).serve_secret() == "ours"


def test_a_token_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_SERVE_TOKEN", "s3cret")
    monkeypatch.setenv("FORESERVE_PROMETHEUS_TOKEN", "s3cret")

    settings = load_settings(policy=POLICY)

    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_token_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")

    assert load_settings(policy=POLICY, serve_token_file=file).serve_secret() == "s3cret"
    assert load_settings(policy=POLICY, prometheus_token_file=file).prometheus_secret() == "s3cret"


@pytest.mark.parametrize(("content", "problem"), [(None, "No such file"), (b"", "is empty"), (b"\xff", "not text")])
def test_a_bad_token_file_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(BadInputError, match=f"token.*{problem}.*serve_token_file"):
        load_settings(policy=POLICY, serve_token_file=file).serve_secret()


def test_an_unknown_variable_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_PROT", "9100")

    with pytest.raises(BadInputError, match=r"FORESERVE_PROT .*known are .*FORESERVE_PORT"):
        load_settings(policy=POLICY)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FORESERVE_PORT", "ninety", r"FORESERVE_PORT or --port .*valid integer"),
        ("FORESERVE_PORT", "70000", r"FORESERVE_PORT or --port .*less than or equal to 65535"),
        ("FORESERVE_ADVISORY", "perhaps", r"FORESERVE_ADVISORY or --advisory .*valid boolean"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(BadInputError, match=message):
        load_settings(policy=POLICY)


def test_a_missing_policy_says_how_to_give_one() -> None:
    with pytest.raises(BadInputError, match=r"policy is missing; give --policy or FORESERVE_POLICY"):
        load_settings()


def test_two_ways_to_find_metrics_are_refused() -> None:
    with pytest.raises(BadInputError, match="give one of ray_sd_file, prometheus_url"):
        load_settings(policy=POLICY, ray_sd_file=Path("sd.json"), prometheus_url="http://127.0.0.1:9090")


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(policy=POLICY)

    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_prometheus_token_is_found_without_other_settings(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("from-file\n")
    assert prometheus_token(None) is None
    monkeypatch.setenv("FORESERVE_PROMETHEUS_TOKEN", "from-environment")
    assert prometheus_token(None) == "from-environment"
    assert prometheus_token(tmp_path / "token") == "from-file"


def test_api_tokens_come_from_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_API_TOKENS", "alice act 0123456789abcdef")

    assert "0123456789abcdef" not in repr(load_settings(policy=POLICY))
    with pytest.raises(BadInputError, match="give api_tokens or api_tokens_file, not both"):
        load_settings(policy=POLICY, api_tokens_file=Path("tokens"))
