"""Events as each sink wants them, and templates that can do nothing but write text."""

import json
from typing import Any

import pytest

from controller.domain.event import Gravity, Phase
from controller.policy.templates import check_template, rendered
from controller.webhooks.formats import body
from tests.webhooks import event, sink

URL = "https://hooks.example.com/x"


def written(kind: str, one: Any = None, **changes: Any) -> Any:
    made = body(one or event(), sink(URL, kind=kind, **changes), source="foreserve/prod", routing_key="R0UT1NG")
    return json.loads(made.content)


def test_a_cloudevent_has_all_that_the_specification_requires() -> None:
    made = body(event(), sink(URL), source="foreserve/prod")

    assert made.content_type == "application/cloudevents+json"
    assert json.loads(made.content) == {
        "specversion": "1.0",
        "id": f"{1:032x}",
        "source": "foreserve/prod",
        "type": "io.foreserve.capacity_late.began",
        "subject": "chat/LLMServer:tiny",
        "time": "2023-11-14T22:13:21.000Z",
        "datacontenttype": "application/json",
        "data": {
            "key": "capacity_late/chat",
            "severity": "error",
            "summary": "chat/LLMServer:tiny: 2 → 3 replicas are late to serve",
            "deployment": "chat/LLMServer:tiny",
            "from": 2,
            "to": 3,
        },
    }


def test_an_event_about_no_deployment_has_no_subject() -> None:
    made = written("cloudevents", event(deployment=None))

    assert "subject" not in made
    assert made["data"]["deployment"] is None


def test_nothing_in_a_slack_message_is_taken_for_markup_or_mentions_anybody() -> None:
    made = written("slack", event(summary="<!channel> & <https://evil.example|click>"))

    text = made["blocks"][0]["text"]["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;" in text
    assert "<" not in made["text"]
    assert text.startswith(":red_circle: *capacity late* began\n")


def test_what_ended_looks_well_in_slack() -> None:
    assert ":white_check_mark:" in written("slack", event(phase=Phase.ENDED))["blocks"][0]["text"]["text"]


def test_pagerduty_is_triggered_and_resolved_by_the_same_key() -> None:
    secret = {"kind": "pagerduty", "secret_env": "KEY"}

    began, ended = (
        written(one=event(number, phase=phase), **secret) for number, phase in enumerate((Phase.BEGAN, Phase.ENDED))
    )

    assert (began["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert began["dedup_key"] == ended["dedup_key"] == "foreserve/prod/capacity_late/chat"
    assert began["routing_key"] == "R0UT1NG"
    assert began["payload"]["severity"] == "error"
    assert {"summary", "source", "severity", "timestamp", "component", "class", "custom_details"} == set(
        began["payload"]
    )


def test_what_only_happened_is_an_incident_of_its_own_at_pagerduty() -> None:
    made = written("pagerduty", event(7, phase=Phase.HAPPENED), secret_env="KEY")

    assert (made["event_action"], made["dedup_key"]) == ("trigger", f"{7:032x}")


def test_pagerduty_gets_no_more_than_it_takes() -> None:
    made = written("pagerduty", event(summary="x" * 5000, key="k" * 999), secret_env="KEY")

    assert len(made["payload"]["summary"]) == 1024
    assert len(made["dedup_key"]) == 255


@pytest.mark.parametrize("gravity", Gravity)
def test_every_gravity_is_one_that_pagerduty_knows(gravity: Gravity) -> None:
    assert gravity.value in {"info", "warning", "error", "critical"}


def test_a_template_writes_a_body_of_its_own() -> None:
    template = '{"msg": {{ event.summary | tojson }}, "n": {{ event.facts.get("to", 0) }}, "at": "{{ event.time }}"}'

    wanted = sink(URL, kind="template", template=template, content_type="text/x")

    made = body(event(summary='quotes " and \\'), wanted, source="s")

    assert json.loads(made.content) == {"msg": 'quotes " and \\', "n": 3, "at": "2023-11-14T22:13:21.000Z"}
    assert made.content_type == "text/x"


@pytest.mark.parametrize(
    "template",
    [
        "{{ event.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ event.items.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{% import 'os' as os %}{{ os }}",
        "{% include '/etc/passwd' %}",
        "{{ range(10) }}",
        "{{ cycler.__init__.__globals__.os.popen('id') }}",
        "{{ event.update({'a': 1}) }}",
        "{{ nothing }}",
        "{{ event.summary ",
        "{{ 'x' * 100000 }}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_reaches_nothing_and_makes_no_more_than_a_body(template: str) -> None:
    with pytest.raises(ValueError, match=r"template: the template (cannot be used|makes more)"):
        check_template(template)


def test_what_a_template_makes_of_one_event_is_bounded_too() -> None:
    with pytest.raises(ValueError, match="more than 65536 characters"):
        rendered("{{ event.summary }}{{ event.summary }}", {"summary": "x" * 40_000})
