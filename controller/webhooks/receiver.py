"""Webhooks from outside: who sends is proven, how often is bounded, and nothing counts twice."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from structlog.typing import FilteringBoundLogger

from controller.catalog import exported
from controller.errors import BadInputError
from controller.interventions.approvals import ApprovalBoard, StaleProposalError, UnknownProposalError
from controller.interventions.overrides import OverrideBoard, Request
from controller.policy.webhooks import ReceiverKind, ReceiverPolicy, WebhookPolicy
from controller.ports import Clock, Count, Shelf, StoreError
from controller.webhooks import alertmanager, signing
from controller.webhooks.alertmanager import Alert, MalformedError
from controller.webhooks.rate import PerMinute
from controller.webhooks.remembered import Remembered
from controller.webhooks.secrets import secret_of

RESULTS = ("accepted", "unauthenticated", "replayed", "malformed", "flooded", "failed")


_MOST_ALERTS = 100
"""Each costs a write or two, and a tick waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told: an HTTP status and a sentence for each thing that came of it."""

    status: int
    sentences: tuple[str, ...]


class _RefusedError(Exception):
    """``result`` is one of RESULTS; ``str()`` is for the sender."""

    def __init__(self, status: int, result: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.result = result


class _Word(BaseModel):
    """A word on a plan that waits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    proposal: Annotated[str, Field(min_length=1, max_length=64)]
    verdict: Literal["approve", "reject"]
    by: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
    note: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class Receivers:
    """Takes webhooks for the receivers of the policy in force."""

    def __init__(
        self,
        *,
        policy: Callable[[], WebhookPolicy],
        overrides: OverrideBoard,
        approvals: ApprovalBoard,
        shelf: Shelf,
        clock: Clock,
        count: Count,
        log: FilteringBoundLogger,
        standby: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take up what an earlier process remembered; ``standby`` says why another one acts. Raises StoreError."""
        self._standby = standby
        self._policy = policy
        self._overrides = overrides
        self._approvals = approvals
        self._clock = clock
        self._count = count
        self._log = log
        self._paces: dict[str, tuple[int, PerMinute]] = {}
        self._ids = Remembered(shelf, "webhook-id", for_s=2 * signing.TOLERANCE_S, clock=clock)
        for receiver in policy().incoming:
            for result in RESULTS:
                count(exported.WEBHOOKS_RECEIVED, receiver.name, result, by=0)
        self._resolved = Remembered(shelf, "resolved", for_s=86_400.0, clock=clock)

    def take(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Take one webhook; None when there is no such receiver. Never raises."""
        receiver = next((one for one in self._policy().incoming if one.name == name), None)
        if receiver is None:
            return None
        try:
            sentences = self._take(receiver, headers, body)
        except _RefusedError as refusal:
            return self._refused(name, refusal)
        except StoreError as error:
            sentence = f"what it asks for cannot be kept: {error}"
            return self._refused(name, _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "failed", sentence))
        self._count(exported.WEBHOOKS_RECEIVED, name, "accepted")
        return Answer(HTTPStatus.OK, tuple(sentences))

    def _refused(self, name: str, refusal: _RefusedError) -> Answer:
        self._count(exported.WEBHOOKS_RECEIVED, name, refusal.result)
        self._log.warning("webhook_refused", receiver=name, result=refusal.result, problem=str(refusal))
        return Answer(refusal.status, (str(refusal),))

    def _take(self, receiver: ReceiverPolicy, headers: Mapping[str, str], body: bytes) -> list[str]:
        name = self._authenticate(receiver, headers, body)
        if (why := self._standby()) is not None:
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "failed", why)
        now = self._clock.now()
        if not self._pace(receiver).take(now):
            sentence = f"more than {receiver.rate_per_minute} webhooks within a minute (rate_per_minute)"
            raise _RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "flooded", sentence)
        if name is not None and self._ids.get(f"{receiver.name}/{name}") is not None:
            raise _RefusedError(HTTPStatus.CONFLICT, "replayed", f"the webhook {name} was taken before")
        try:
            alerting = receiver.kind is ReceiverKind.ALERTMANAGER
            sentences = self._alerts(receiver, body) if alerting else [self._word(receiver, body)]
        except MalformedError as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "malformed", str(error)) from None
        if name is not None:
            self._ids.put(f"{receiver.name}/{name}", str(now))
        return sentences

    def _authenticate(self, receiver: ReceiverPolicy, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return the id of a signed webhook, None for one with the right token."""
        try:
            token = secret_of(receiver.token_file, receiver.token_env, key="token")
            secret = secret_of(receiver.secret_file, receiver.secret_env, key="secret")
        except BadInputError as error:
            self._log.error("webhook_secret_unreadable", receiver=receiver.name, problem=str(error))
            sentence = "the secret of this receiver cannot be read here; its log says why"
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "failed", sentence) from None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if token is not None and kind.lower() == "bearer":
            if hmac.compare_digest(given.strip().encode(), token.encode()):
                return None
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, "unauthenticated", "this token is not the receiver's")
        if secret is not None:
            try:
                return signing.verify(secret, headers, body, now=self._clock.now())
            except signing.BadSignatureError as error:
                raise _RefusedError(HTTPStatus.UNAUTHORIZED, "unauthenticated", str(error)) from None
        sentence = "nothing proves who sends this; send Authorization: Bearer TOKEN"
        raise _RefusedError(HTTPStatus.UNAUTHORIZED, "unauthenticated", sentence)

    def _pace(self, receiver: ReceiverPolicy) -> PerMinute:
        most, pace = self._paces.get(receiver.name, (0, PerMinute(0)))
        if most != receiver.rate_per_minute:
            pace = PerMinute(receiver.rate_per_minute)
            self._paces[receiver.name] = (receiver.rate_per_minute, pace)
        return pace

    def _alerts(self, receiver: ReceiverPolicy, body: bytes) -> list[str]:
        message = alertmanager.parse(body)
        wanted = [alert for alert in message.alerts if alertmanager.matching(alert, receiver.actions)]
        if len(wanted) > _MOST_ALERTS:
            msg = f"{len(wanted)} alerts ask for something; at most {_MOST_ALERTS} may at once: set max_alerts"
            raise MalformedError(msg)
        sentences = [sentence for alert in wanted for sentence in self._alert(receiver, alert)]
        # What an alert asked for ends with it, though the policy has changed meanwhile.
        others = [alert for alert in message.alerts if not alert.is_firing and alert not in wanted]
        sentences += [sentence for alert in others for sentence in self._end(receiver, alert)]
        if message.truncated_alerts:
            sentences.append(f"{message.truncated_alerts} alerts were left out by Alertmanager (max_alerts)")
        for sentence in sentences:
            self._log.info("alert_taken", receiver=receiver.name, said=sentence)
        return sentences

    def _alert(self, receiver: ReceiverPolicy, alert: Alert) -> list[str]:
        memory = f"{receiver.name}/{alert.fingerprint}"
        resolved_start = float(self._resolved.get(memory) or "-inf")
        if not alert.is_firing:
            self._resolved.put(memory, str(max(resolved_start, alert.started_at)))
            return self._end(receiver, alert)
        if alert.started_at <= resolved_start:
            self._count(exported.WEBHOOKS_RECEIVED, receiver.name, "replayed")
            return [f"{alert.name} that began then was resolved before: nothing was done"]
        try:
            return [self._begin(alert, one) for one in alertmanager.asked(receiver.name, alert, receiver.actions)]
        except MalformedError as error:
            return [str(error)]

    def _end(self, receiver: ReceiverPolicy, alert: Alert) -> list[str]:
        ended = self._overrides.end_all(alertmanager.prefix(receiver.name, alert))
        return [f"{alert.name} is over: ended {one.id} ({one.action.value})" for one in ended]

    def _begin(self, alert: Alert, request: Request) -> str:
        try:
            begun = self._overrides.begin(request)
        except BadInputError as error:
            return f"{alert.name}: {request.action.value} was not begun: {error}"
        return f"{alert.name}: {begun.id} ({begun.action.value}) holds until {begun.until:.0f}"

    def _word(self, receiver: ReceiverPolicy, body: bytes) -> str:
        try:
            word = _Word.model_validate_json(body)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            msg = f'expected {{"proposal": ID, "verdict": "approve" or "reject", "by": NAME}}: {faults[:500]}'
            raise MalformedError(msg) from None
        say = self._approvals.approve if word.verdict == "approve" else self._approvals.reject
        try:
            said = say(word.proposal, by=f"{receiver.name}/{word.by}", note=word.note)
        except UnknownProposalError as error:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "malformed", str(error)) from None
        except StaleProposalError as error:
            raise _RefusedError(HTTPStatus.CONFLICT, "replayed", str(error)) from None
        return f"{said.id} is {said.status.value}"
