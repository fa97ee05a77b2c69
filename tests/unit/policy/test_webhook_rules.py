"""What is wrong in the sections on overrides, approvals and webhooks, with its place and what would be right."""

from pathlib import Path

import pytest

from controller.errors import BadInputError
from controller.policy.load import load_policy

HEAD = """\
version: 1
deployments:
  - application: chat
    deployment: LLMServer:tiny
    limits: {max_replicas: 4}
    capacity: {target_ongoing_requests: 8}
"""


def problem(tmp_path: Path, section: str) -> str:
    file = tmp_path / "policy.yaml"
    file.write_text(HEAD + section)
    with pytest.raises(BadInputError) as caught:
        load_policy(file)
    return str(caught.value).removeprefix(str(file))


def out(entry: str) -> str:
    return f"webhooks:\n  out:\n    - {{{entry}}}\n"


def taken(entry: str) -> str:
    return f"webhooks:\n  in:\n    - {{{entry}}}\n"


ALERT = "actions: [{match: {alertname: A}, action: freeze, for_s: 60}]"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (out("name: a, kind: slack"), "webhooks.out[0]: url is given 0 times; give one of url, url_file, url_env"),
        (out("name: a, kind: slack, url: 'https://h', url_env: U"), "url is given 2 times; give one of url, url_file"),
        (
            out("name: A_b, kind: slack, url: 'https://h'"),
            "name is 'A_b'; write lower-case letters, digits and hyphens",
        ),
        (
            out("name: a, kind: carrier, url: 'https://h'"),
            'webhooks.out[0].kind: is the text "carrier"; expected one of',
        ),
        (out("name: a, kind: slack, url: 'ftp://h'"), "url is no address to send to; write one like https://"),
        (out("name: a, kind: slack, url: 'https://u:p4ss@h'"), "write one like https://hooks.example.com/x, without"),
        (out("name: a, kind: pagerduty"), "secret is given 0 times; give one of secret_file, secret_env"),
        (out("name: a, kind: slack, url_env: FORESERVE_X"), "url_env is 'FORESERVE_X'; name an environment variable"),
        (out("name: a, kind: slack, url_env: 'a b'"), "url_env is 'a b'; name an environment variable"),
        (out("name: a, kind: template, url: 'https://h'"), "template belongs to kind template, and that needs one"),
        (out("name: a, kind: slack, url: 'https://h', template: x"), "template belongs to kind template"),
        (
            out("name: a, kind: template, url: 'https://h', template: '{{ event.nope }}'"),
            "template: the template cannot be used ('dict object' has no attribute 'nope'); it sees event.id,",
        ),
        (out("name: a, kind: slack, url: 'https://h', events: [lunch]"), "webhooks.out[0].events[0]: is the text"),
        (
            out("name: a, kind: slack, url: 'https://h', allow_addresses: [home]"),
            "allow_addresses: 'home' is no network; write one like 127.0.0.0/8",
        ),
        (
            out("name: a, kind: slack, url_env: U}\n    - {name: a, kind: slack, url_env: U"),
            "a is listed twice",
        ),
        (out("name: a, kind: slack, uri: 'https://h'"), "webhooks.out[0].uri: unknown key; did you mean url?"),
        (taken(f"name: a, kind: alertmanager, {ALERT}"), "webhooks.in[0]: nothing proves who sends; give token_file"),
        (taken("name: a, kind: alertmanager, token_env: T"), "actions belong to kind alertmanager, and that needs at"),
        (taken(f"name: a, kind: approval, token_env: T, {ALERT}"), "actions belong to kind alertmanager"),
        (
            taken("name: a, kind: alertmanager, token_env: T, actions: [{match: {}, action: freeze, for_s: 60}]"),
            "webhooks.in[0].actions[0].match: is a mapping; expected a mapping of 1 to 20 names to text",
        ),
        (
            taken("name: a, kind: alertmanager, token_env: T, actions: [{match: {a: 1}, action: freeze, for_s: 60}]"),
            "webhooks.in[0].actions[0].match",
        ),
        (
            taken(
                "name: a, kind: alertmanager, token_env: T, actions: [{match: {a: b}, action: raise_floor, for_s: 60}]"
            ),
            "replicas (0) belongs to action raise_floor, and that needs at least 1",
        ),
        (
            taken(f"name: a, kind: alertmanager, token_env: T, {ALERT.replace('60', '60, target: chat')}"),
            "target: 'chat' does not name a deployment; expected APPLICATION/DEPLOYMENT; or write labels, or all",
        ),
        (
            taken(f"name: a, kind: alertmanager, token_env: T, {ALERT.replace('60', '60, target: a/b')}"),
            "webhooks.in: a: actions[0].target (a/b) is no deployment of this policy",
        ),
        (
            taken(f"name: a, kind: alertmanager, token_env: T, {ALERT.replace('60', '90000')}"),
            "actions[0].for_s (90000) is more than overrides.max_duration_s (86400)",
        ),
        ("overrides: {max_duration_s: 1}\n", "overrides.max_duration_s: is 1; expected a number from 60 to 604800"),
        ("approval: {expires_after_s: 1}\n", "approval.expires_after_s: is 1; expected a number from 30 to 86400"),
    ],
)
def test_a_fault_names_its_key_and_what_would_be_right(tmp_path: Path, section: str, said: str) -> None:
    found = problem(tmp_path, section)

    assert said in found
    assert found.startswith(":")
    assert "p4ss" not in found


def test_the_section_is_shown_by_the_names_it_has_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(HEAD + taken(f"name: a, kind: alertmanager, token_env: T, {ALERT}"))

    webhooks = load_policy(file).policy.model_dump(mode="json")["webhooks"]

    assert list(webhooks) == ["source", "out", "in"]
    assert webhooks["in"][0]["actions"][0]["match"] == {"alertname": "A"}
