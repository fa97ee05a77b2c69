"""What Alertmanager sends (webhook version 4), and what its alerts ask for by the policy. Pure functions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from controller.domain.identity import DeploymentId
from controller.interventions.overrides import Request
from controller.policy.webhooks import EVERYWHERE, FROM_LABELS, AlertAction

MOST_ALERTS = 1000
_MOST_REASON = 300
_SHOWN_FAULTS = 3

Labels = Annotated[
    dict[Annotated[str, Field(max_length=256)], Annotated[str, Field(max_length=4096)]], Field(max_length=100)
]


class MalformedError(Exception):
    """The body is not what it should be; ``str()`` says where."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Alert(_Part):
    """One alert."""

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = {}
    starts_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: str = Field(pattern=r"^[0-9a-fA-F]{1,64}$")

    @property
    def name(self) -> str:
        """Its alertname."""
        return self.labels.get("alertname", "alert")

    @property
    def is_firing(self) -> bool:
        """Whether it fires."""
        return self.status == "firing"

    @property
    def started_at(self) -> float:
        """When it began to fire (Unix seconds)."""
        return self.starts_at.astimezone(dt.UTC).timestamp()


class Message(_Part):
    """One webhook."""

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    alerts: tuple[Alert, ...] = Field(max_length=MOST_ALERTS)
    truncated_alerts: int = Field(default=0, ge=0, alias="truncatedAlerts")


def parse(body: bytes) -> Message:
    """Read a webhook. Raises MalformedError."""
    try:
        return Message.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(map(_fault, faults[:_SHOWN_FAULTS]))
        msg = f"this is no webhook of Alertmanager (version 4): {told}"
        raise MalformedError(msg) from None


def prefix(receiver: str, alert: Alert) -> str:
    """Return what the keys of everything begin with that an alert asked for."""
    return f"{receiver}:{alert.fingerprint}:"


def matching(alert: Alert, actions: Sequence[AlertAction]) -> list[AlertAction]:
    """Return what the policy has for an alert."""
    return [rule for rule in actions if all(alert.labels.get(name) == value for name, value in rule.match.items())]


def asked(receiver: str, alert: Alert, actions: Sequence[AlertAction]) -> tuple[Request, ...]:
    """Return what a firing alert asks for: by each kind of action, the first of the policy's that matches.

    Raises:
        MalformedError: an action is about the deployment of the alert's labels, and they name none.

    """
    return tuple(_requests(receiver, alert, actions))


def _requests(receiver: str, alert: Alert, actions: Sequence[AlertAction]) -> Iterator[Request]:
    seen = set()
    for rule in matching(alert, actions):
        if rule.action not in seen:
            seen.add(rule.action)
            yield Request(
                action=rule.action,
                deployment=_deployment(alert, rule),
                for_s=rule.for_s,
                owner=f"{receiver}/{_printable(alert.name)[:64]}",
                reason=_reason(alert),
                replicas=rule.replicas,
                key=f"{prefix(receiver, alert)}{rule.action.value}",
            )


def _deployment(alert: Alert, rule: AlertAction) -> DeploymentId | None:
    if rule.target == EVERYWHERE:
        return None
    if rule.target != FROM_LABELS:
        return DeploymentId.parse(rule.target)
    application, deployment = alert.labels.get("application"), alert.labels.get("deployment")
    if not (application and deployment):
        msg = f"the alert {alert.name} has no labels application and deployment; give its action a target in the policy"
        raise MalformedError(msg)
    return DeploymentId(application, deployment)


def _reason(alert: Alert) -> str:
    summary = alert.annotations.get("summary") or f"the alert {alert.name} fires"
    return _printable(summary)[:_MOST_REASON] or "an alert fires"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])
