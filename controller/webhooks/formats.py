"""An event as each kind of sink wants it. Pure functions."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.domain.event import Event, Gravity, Phase
from controller.policy.templates import rendered
from controller.policy.webhooks import SinkKind, SinkPolicy

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"

_JSON = "application/json"
_MOST_SUMMARY = 1024
"""PagerDuty cuts there; elsewhere a longer one would not be read."""
_MOST_KEY = 255
_MARKS = {
    Gravity.INFO: ":information_source:",
    Gravity.WARNING: ":warning:",
    Gravity.ERROR: ":red_circle:",
    Gravity.CRITICAL: ":rotating_light:",
}


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent, and as what."""

    content: bytes
    content_type: str


def body(event: Event, sink: SinkPolicy, *, source: str, routing_key: str | None = None) -> Body:
    """Write an event for a sink. Raises ValueError when the sink's template cannot be used on it."""
    if sink.kind is SinkKind.TEMPLATE:
        text = rendered(sink.template or "", {**_facts(event, source), "facts": dict(event.facts)})
        return Body(text.encode(), sink.content_type)
    writers: Mapping[SinkKind, Callable[[], tuple[dict[str, Any], str]]] = {
        SinkKind.CLOUDEVENTS: lambda: (cloudevent(event, source), "application/cloudevents+json"),
        SinkKind.SLACK: lambda: (slack(event, source), _JSON),
        SinkKind.PAGERDUTY: lambda: (pagerduty(event, source, routing_key or ""), _JSON),
    }
    content, content_type = writers[sink.kind]()
    return Body(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), content_type)


def cloudevent(event: Event, source: str) -> dict[str, Any]:
    """CloudEvents 1.0.2 in structured JSON mode."""
    subject = {} if event.deployment is None else {"subject": str(event.deployment)}
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": event.type,
        **subject,
        "time": _time(event.at),
        "datacontenttype": _JSON,
        "data": {
            "key": event.key,
            "severity": event.gravity.value,
            "summary": event.summary,
            "deployment": None if event.deployment is None else str(event.deployment),
            **event.facts,
        },
    }


def slack(event: Event, source: str) -> dict[str, Any]:
    """Return a message of Slack's incoming webhooks. No text of ours is taken for markup or mentions anybody."""
    summary = _escaped(_short(event.summary))
    mark = ":white_check_mark:" if event.phase is Phase.ENDED else _MARKS[event.gravity]
    title = f"{mark} *{_escaped(event.topic.value.replace('_', ' '))}* {event.phase.value}"
    context = f"{_escaped(source)} · {_time(event.at)} · {event.id}"
    return {
        "text": f"{event.topic.value.replace('_', ' ')} {event.phase.value}: {summary}",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"{title}\n{summary}"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": context}]},
        ],
    }


def pagerduty(event: Event, source: str, routing_key: str) -> dict[str, Any]:
    """Events API v2: what begins or happens triggers, what ends resolves, by the same ``dedup_key``."""
    lasts = event.phase is not Phase.HAPPENED
    call = {
        "routing_key": routing_key,
        "event_action": "resolve" if event.phase is Phase.ENDED else "trigger",
        "dedup_key": (f"{source}/{event.key}" if lasts else event.id)[:_MOST_KEY],
    }
    if event.phase is Phase.ENDED:
        return call
    payload = {
        "summary": _short(event.summary),
        "source": source,
        "severity": event.gravity.value,
        "timestamp": _time(event.at),
        "component": None if event.deployment is None else str(event.deployment),
        "class": event.topic.value,
        "custom_details": {"id": event.id, **event.facts},
    }
    return {**call, "payload": {key: value for key, value in payload.items() if value is not None}}


def _facts(event: Event, source: str) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "topic": event.topic.value,
        "phase": event.phase.value,
        "time": _time(event.at),
        "key": event.key,
        "severity": event.gravity.value,
        "summary": event.summary,
        "deployment": None if event.deployment is None else str(event.deployment),
        "source": source,
    }


def _time(at: float) -> str:
    """RFC 3339, in UTC."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SUMMARY else f"{text[: _MOST_SUMMARY - 1]}…"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
