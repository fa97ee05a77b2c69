"""The policy's section on webhooks: whom to tell what, and whose word counts for what."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_validator

from controller.domain.event import Topic
from controller.domain.identity import DeploymentId
from controller.domain.override import OverrideAction
from controller.policy.section import Section
from controller.policy.templates import check_template

FROM_LABELS = "labels"
EVERYWHERE = "all"

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Label = Annotated[str, Field(min_length=1, max_length=256)]
Name = Annotated[str, Field(min_length=1, max_length=63)]
Variable = Annotated[str, Field(min_length=1, max_length=128)]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SinkKind(StrEnum):
    """What a sink understands."""

    CLOUDEVENTS = "cloudevents"
    """CloudEvents 1.0, structured JSON."""
    SLACK = "slack"
    """Slack's incoming webhooks."""
    PAGERDUTY = "pagerduty"
    """PagerDuty's Events API v2."""
    TEMPLATE = "template"
    """A body of one's own."""


class SinkPolicy(Section):
    """Somebody who is told of events. Give one of ``url``, ``url_file`` and ``url_env``."""

    name: Name = Field(description="What people call it: lower-case letters, digits and hyphens.")
    kind: SinkKind = Field(description="What it understands.")
    url: Text | None = Field(default=None, description="Where to send to.")
    url_file: Text | None = Field(default=None, description="File with that address, where it is a secret.")
    url_env: Variable | None = Field(default=None, description="Or the environment variable that has it.")
    secret_file: Text | None = Field(
        default=None, description="File with the key that signs; for pagerduty the routing key, which it needs."
    )
    secret_env: Variable | None = Field(default=None, description="Or the environment variable that has it.")
    events: tuple[Topic, ...] = Field(
        default=(), min_length=0, max_length=len(Topic), description="Topics that it is told of; none: all."
    )
    template: Text | None = Field(
        default=None, description="Jinja template of the body, in a sandbox; kind template needs it."
    )
    content_type: Label = Field(default="application/json", description="Content type of that body.")
    rate_per_minute: int = Field(default=60, ge=1, le=6000, description="Most that are sent in a minute; others wait.")
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="Longest wait for an answer.")
    give_up_after_s: float = Field(
        default=86_400.0, ge=60, le=604_800, description="An event older than this is a dead letter."
    )
    allow_addresses: tuple[Label, ...] = Field(
        default=(),
        min_length=0,
        max_length=20,
        description="Networks (CIDR) of its own choice, though loopback, link-local and metadata are refused.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _check_name(self.name)
        _one_source("url", self.url_file, self.url_env, also=self.url, required=self.kind is not SinkKind.PAGERDUTY)
        _one_source("secret", self.secret_file, self.secret_env, required=self.kind is SinkKind.PAGERDUTY)
        if self.url is not None:
            _check_url(self.url)
        for network in self.allow_addresses:
            _check_network(network)
        if (self.template is not None) != (self.kind is SinkKind.TEMPLATE):
            msg = "template belongs to kind template, and that needs one; give both or neither"
            raise ValueError(msg)
        if self.template is not None:
            check_template(self.template)
        return self


class AlertAction(Section):
    """What an alert asks for while it fires."""

    match: dict[Label, Label] = Field(
        min_length=1, max_length=20, description="Labels that an alert must have, each with this value."
    )
    action: OverrideAction = Field(description="What is asked for.")
    for_s: float = Field(
        ge=60, le=604_800, description="How long it lasts after an alert was last heard of; it ends with the alert."
    )
    replicas: int = Field(
        default=0, ge=0, le=10_000, description="raise_floor only: so many more than ``limits.min_replicas``."
    )
    target: Label = Field(
        default=FROM_LABELS,
        description="labels: the alert's application and deployment; all; or APPLICATION/DEPLOYMENT.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.action is OverrideAction.RAISE_FLOOR) != (self.replicas > 0):
            msg = f"replicas ({self.replicas}) belongs to action raise_floor, and that needs at least 1; change one"
            raise ValueError(msg)
        if self.target not in {FROM_LABELS, EVERYWHERE}:
            try:
                DeploymentId.parse(self.target)
            except ValueError as error:
                msg = f"target: {error}; or write labels, or all"
                raise ValueError(msg) from None
        return self


class ReceiverKind(StrEnum):
    """Who sends."""

    ALERTMANAGER = "alertmanager"
    """Alertmanager's webhook, version 4."""
    APPROVAL = "approval"
    """Words on plans that wait."""


class ReceiverPolicy(Section):
    """Somebody whose webhooks are taken at ``/hooks/NAME``: with a bearer token, or signed, or either."""

    name: Name = Field(description="Last part of its address: lower-case letters, digits and hyphens.")
    kind: ReceiverKind = Field(description="Who sends.")
    token_file: Text | None = Field(default=None, description="File with the bearer token that it sends.")
    token_env: Variable | None = Field(default=None, description="Or the environment variable that has it.")
    secret_file: Text | None = Field(default=None, description="File with the key that it signs with.")
    secret_env: Variable | None = Field(default=None, description="Or the environment variable that has it.")
    rate_per_minute: int = Field(default=60, ge=1, le=6000, description="Most that are taken in a minute.")
    actions: tuple[AlertAction, ...] = Field(
        default=(), min_length=0, max_length=100, description="What its alerts ask for; the first that matches."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        _check_name(self.name)
        _one_source("token", self.token_file, self.token_env)
        _one_source("secret", self.secret_file, self.secret_env)
        if not any((self.token_file, self.token_env, self.secret_file, self.secret_env)):
            msg = "nothing proves who sends; give token_file, token_env, secret_file or secret_env"
            raise ValueError(msg)
        if bool(self.actions) != (self.kind is ReceiverKind.ALERTMANAGER):
            msg = "actions belong to kind alertmanager, and that needs at least one; give both or neither"
            raise ValueError(msg)
        return self


class WebhookPolicy(Section):
    """Webhooks."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    source: Label = Field(default="foreserve", description="Who tells: the ``source`` of CloudEvents.")
    out: tuple[SinkPolicy, ...] = Field(default=(), min_length=0, max_length=20, description="Who is told of events.")
    incoming: tuple[ReceiverPolicy, ...] = Field(
        default=(), alias="in", min_length=0, max_length=20, description="Whose webhooks are taken."
    )

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        for key, names in (("out", [one.name for one in self.out]), ("in", [one.name for one in self.incoming])):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                msg = f"{key}: {twice} is listed twice; keep one entry"
                raise ValueError(msg)
        return self


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        msg = f"name is {name!r}; write lower-case letters, digits and hyphens, as in ops-slack"
        raise ValueError(msg)


def _one_source(
    what: str, file: str | None, variable: str | None, *, also: str | None = None, required: bool = False
) -> None:
    given = [value for value in (also, file, variable) if value is not None]
    keys = [*((what,) if what == "url" else ()), f"{what}_file", f"{what}_env"]
    if len(given) > 1 or (required and not given):
        msg = f"{what} is given {len(given)} times; give one of {', '.join(keys)}"
        raise ValueError(msg)
    if variable is not None and (not _VARIABLE.fullmatch(variable) or variable.upper().startswith("FORESERVE_")):
        msg = f"{what}_env is {variable!r}; name an environment variable that does not begin with FORESERVE_"
        raise ValueError(msg)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or parts.username or parts.password:
        # An address may be a secret, so it is not repeated.
        msg = "url is no address to send to; write one like https://hooks.example.com/x, without a password"
        raise ValueError(msg)


def _check_network(network: str) -> None:
    try:
        ipaddress.ip_network(network)
    except ValueError:
        msg = f"allow_addresses: {network!r} is no network; write one like 127.0.0.0/8 or fd00::/8"
        raise ValueError(msg) from None
