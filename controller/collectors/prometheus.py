"""The catalogue through a Prometheus-compatible query API, given back as if scraped directly.

One instant query asks for a range, ``{__name__=~"..."}[30s]``, and only each series' newest point is used:

* A range vector carries the real time of every sample. An instant vector carries the time of the query,
  so a target that died four minutes ago would look fresh, and ``timestamp()`` would take a second query
  that may see another scrape.
* All samples of one scrape have one time, and ``up`` is written at that time even when the scrape fails or
  brings nothing. So a series whose newest point is older than its target's newest ``up`` was not in the
  last scrape: it has expired, and is left out, exactly as on the page itself.
* One query is one consistent view: no scrape can land between its parts.

The price is a few points more for each series, which is little beside its labels. A server works on a query with one
core, most of a second for tens of thousands of series. So where the last answer was large, the next one is asked for
in parts at once, told apart by the last character of the instance's host: every target is in one of them as a whole,
whatever it is called, and each part is a consistent view of its targets. Of histograms only the number of
first tokens is read this way; the rest is added up by Prometheus (see ``prometheus_latency``).
"""

from __future__ import annotations

import asyncio
import string
from collections.abc import Sequence

from controller.collectors.pages import READ_INLINE_BYTES
from controller.collectors.prometheus_api import PrometheusApi
from controller.collectors.prometheus_latency import HISTOGRAMS
from controller.collectors.query_answer import COUNT_AS_BUCKET, Answer, AnswerError, AnswerReader, TargetName
from controller.domain.scrape import Scrape, SourceKind
from controller.errors import UnavailableError
from controller.ports import Clock
from controller.window.recorded import READ

NAMES = (
    "up",
    *(name for name, metric in READ.items() if metric not in HISTOGRAMS or name.endswith("_count")),
    *COUNT_AS_BUCKET,
)
"""What is asked for by name. A histogram's ``_count`` stands for its bucket without a bound."""

_MAX_PARTS = 4
_LAST_CHARACTERS = string.digits + string.ascii_lowercase

_Key = tuple[SourceKind, TargetName]


class PrometheusCollector:
    """Reads every series of Ray and HAProxy that the controller uses, all with one query, or with a few at once.

    There is one scrape for each instance and kind of metric, named like a direct one (``ray/<instance>``).
    Its ``at`` is when Prometheus scraped the instance, by Prometheus' clock. An instance that Prometheus
    could not scrape is reported as failed, and so is every known one while Prometheus gives no answer (one
    scrape named ``prometheus/<host:port>`` when none is known yet). Nothing is retried within one pass: the
    next tick does that.

    ``look_back_s`` must hold at least one scrape interval of the server; ``matchers`` narrows the selector
    where several clusters share a server (``cluster="prod"``). An answer of more than ``part_bytes``, before
    compression, is asked for in parts the next time.
    """

    def __init__(
        self,
        *,
        api: PrometheusApi,
        clock: Clock,
        look_back_s: int = 30,
        matchers: str = "",
        part_bytes: int = 16_000_000,
    ) -> None:
        self._api = api
        self._source = f"prometheus/{api.address}"
        self._clock = clock
        self._look_back_s = look_back_s
        self._matchers = (f'__name__=~"{"|".join(NAMES)}"', *((matchers,) if matchers else ()))
        self._part_bytes = part_bytes
        self._parts = 1
        self._reader = AnswerReader()
        self._known: frozenset[_Key] = frozenset()

    async def collect(self, now: float) -> Sequence[Scrape]:
        """One scrape per instance and kind that Prometheus knows, failed ones included."""
        started = self._clock.monotonic()
        try:
            answer = await self._ask()
            present = self._present(answer)
        except UnavailableError as error:
            return self._all_failed(str(error), at=now, duration_s=self._clock.monotonic() - started)
        duration_s = self._clock.monotonic() - started
        scrapes = [_scrape(key, answer, duration_s) for key in sorted(present)]
        if answer.warnings:
            reason = "missing from a partial answer: " + "; ".join(answer.warnings)
            scrapes += [_failed(key, now, reason, duration_s) for key in sorted(self._known - present)]
            present |= self._known
        self._known = present
        return _one_per_source(scrapes)

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""

    async def _ask(self) -> Answer:
        """Send the query, in as many parts as the last answer was large. Raises UnavailableError."""
        parts = await asyncio.gather(*map(self._ask_part, parting(self._parts)), return_exceptions=True)
        answers: list[Answer] = []
        size = 0
        for part in parts:
            if isinstance(part, BaseException):
                raise part
            answers.append(part[0])
            size += part[1]
        self._parts = min(_MAX_PARTS, 1 + size // self._part_bytes)
        try:
            return Answer.joined(answers)
        except AnswerError as error:
            msg = f"{self._api.url}: {error}"
            raise UnavailableError(msg) from error

    async def _ask_part(self, matcher: str) -> tuple[Answer, int]:
        """One part's answer, and its size in bytes. Raises UnavailableError."""
        chosen = ",".join((*self._matchers, *((matcher,) if matcher else ())))
        body = await self._api.ask(f"{{{chosen}}}[{self._look_back_s}s]")
        try:
            if len(body) <= READ_INLINE_BYTES:
                return self._reader.read(body), len(body)
            return await asyncio.to_thread(self._reader.read, body), len(body)
        except AnswerError as error:
            msg = f"{self._api.url}: {error}"
            raise UnavailableError(msg) from error

    def _present(self, answer: Answer) -> frozenset[_Key]:
        """Which targets of ours the answer tells about. Raises UnavailableError when there is none."""
        seen = {(kind, name) for name, target in answer.targets.items() for kind in target.kinds}
        # A target that is down or idle for long has no series left; what kind it is was learned before.
        present = seen | {(kind, name) for kind, name in self._known if name in answer.targets}
        if not present:
            msg = f"{self._api.url}: no sample of a catalogued metric in the last {self._look_back_s} s"
            raise UnavailableError(msg)
        return frozenset(present)

    def _all_failed(self, reason: str, *, at: float, duration_s: float) -> Sequence[Scrape]:
        if self._known:
            return _one_per_source([_failed(key, at, reason, duration_s) for key in sorted(self._known)])
        return (
            Scrape(source=self._source, kind=SourceKind.RAY, at=at, ok=False, errors=(reason,), duration_s=duration_s),
        )


def parting(count: int) -> tuple[str, ...]:
    """Matchers of which every series fits exactly one: the last takes what none of the others does."""
    if count == 1:
        return ("",)
    classes = [_LAST_CHARACTERS[place::count] for place in range(count - 1)]
    return (*(_ending("=~", one) for one in classes), _ending("!~", "".join(classes)))


def _ending(operator: str, characters: str) -> str:
    return rf'instance{operator}".*[{characters}]\\]?:[^:]*"'


def _scrape(key: _Key, answer: Answer, duration_s: float) -> Scrape:
    kind, name = key
    target = answer.targets[name]
    if target.down:
        return _failed(key, target.at, "Prometheus could not scrape it (up is 0)", duration_s)
    samples, ambiguous = target.last_scrape(kind)
    errors = answer.warnings
    if answer.unreadable:
        errors = (*errors, f"{answer.unreadable} series without an instance or a readable value")
    if ambiguous:
        errors = (*errors, f"{ambiguous} series differ only in labels that are not read, none is used")
    return Scrape(
        source=_source(key),
        kind=kind,
        at=target.at,
        ok=True,
        samples=samples,
        errors=errors,
        duration_s=duration_s,
    )


def _failed(key: _Key, at: float, reason: str, duration_s: float) -> Scrape:
    return Scrape(source=_source(key), kind=key[0], at=at, ok=False, errors=(reason,), duration_s=duration_s)


def _source(key: _Key) -> str:
    kind, (instance, _job) = key
    return f"{kind}/{instance}"


def _one_per_source(scrapes: Sequence[Scrape]) -> Sequence[Scrape]:
    """Keep the newest scrape of each source: two jobs may scrape one instance."""
    return tuple({scrape.source: scrape for scrape in sorted(scrapes, key=lambda scrape: scrape.at)}.values())
