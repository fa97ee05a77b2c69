"""One decision explained as data: what was seen, expected, decided, done, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.domain.canary import CanaryPhase
from controller.domain.cluster_record import ClusterRecord
from controller.domain.forecast import Forecast, ForecastStanding, LeadTime
from controller.domain.override import Override
from controller.domain.plan import Action, Capacity, Decision, OutcomeStatus, Step
from controller.domain.reading import Reading, Unknown
from controller.domain.record import DeploymentRecord, PolicyTerms, TickRecord
from controller.domain.snapshot import Snapshot
from controller.domain.supply import SupplyStatus
from controller.explain.aftermath import aftermath
from controller.explain.cluster import deed_words, group_words, lead_words, needs_words, order_words, pool_words
from controller.explain.wording import SIGNALS, duration, number, plural, reading


class Mood(StrEnum):
    """How much attention a line deserves."""

    PLAIN = "plain"
    QUIET = "quiet"
    STRONG = "strong"
    GOOD = "good"
    NOTED = "noted"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled sentence."""

    label: str
    text: str
    mood: Mood = Mood.PLAIN


@dataclass(frozen=True, slots=True)
class Input:
    """One reading: its value, how old it is or why it is unknown, and how much attention value and note deserve."""

    name: str
    value: str
    note: str = ""
    mood: Mood = Mood.PLAIN
    note_mood: Mood = Mood.QUIET


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything there is to say about one deployment in one tick, in the order in which it is asked for."""

    record: TickRecord
    entry: DeploymentRecord
    done: tuple[Line, ...]
    troubles: tuple[Line, ...]
    inputs: tuple[Input, ...]
    expectations: tuple[Line, ...]
    cluster: tuple[Line, ...] = ()
    """Nodes and workers, where they are planned."""

    @property
    def stages(self) -> tuple[Step, ...]:
        """Each stage's number and reason."""
        return self.entry.decision.steps


_MOOD = {
    OutcomeStatus.APPLIED: Mood.GOOD,
    OutcomeStatus.ADVISED: Mood.NOTED,
    OutcomeStatus.AWAITING: Mood.NOTED,
    OutcomeStatus.STANDBY: Mood.QUIET,
    OutcomeStatus.REFUSED: Mood.WARN,
    OutcomeStatus.FAILED: Mood.BAD,
    OutcomeStatus.PENDING: Mood.WARN,
}

_RESULT = {
    OutcomeStatus.NOTHING_TO_DO: "nothing to do",
    OutcomeStatus.APPLIED: "applied, and read back",
    OutcomeStatus.ADVISED: "advised only: nothing was touched",
    OutcomeStatus.AWAITING: "awaiting approval: nothing was touched",
    OutcomeStatus.STANDBY: "standing by: another controller acts",
    OutcomeStatus.REFUSED: "refused: not written",
    OutcomeStatus.FAILED: "failed: no confirmed effect",
    OutcomeStatus.PENDING: "unknown: the result was never recorded",
}


def explanation(record: TickRecord, entry: DeploymentRecord, later: Sequence[TickRecord]) -> Explanation:
    """Explain one decision; ``later`` are the following records of the same deployment, oldest first."""
    return Explanation(
        record=record,
        entry=entry,
        done=tuple(_done(record, entry, later)),
        troubles=tuple(_troubles(record, entry)),
        inputs=tuple(_inputs(entry)),
        expectations=tuple(_expectations(record, entry)),
        cluster=() if record.cluster is None else tuple(_cluster(record.cluster, entry, record.at)),
    )


def verdict(decision: Decision) -> str:
    """Say what was decided, and the binding reason, in one phrase."""
    why = decision.binding.value
    if decision.desired is None:
        return f"no opinion, the target stays as it is (reason: {why})"
    if decision.action is Action.NONE:
        return f"keep {plural(decision.desired, 'replica')} (reason: {why})"
    current = "unknown" if decision.current is None else str(decision.current)
    return f"{current} → {plural(decision.desired, 'replica')}: {decision.action.value} (reason: {why})"


def _done(record: TickRecord, entry: DeploymentRecord, later: Sequence[TickRecord]) -> Iterator[Line]:
    decision, outcome = entry.decision, entry.outcome
    yield Line("Decided", verdict(decision), Mood.STRONG)
    details = [_RESULT[outcome.status]]
    if outcome.attempts:
        details.append(f"{plural(outcome.attempts, 'attempt')} in {duration(outcome.duration_s)}")
    if outcome.detail:
        details.append(outcome.detail)
    yield Line("Result", "; ".join(details), _MOOD.get(outcome.status, Mood.PLAIN))
    came = aftermath(record, entry, later)
    if came is not None:
        yield Line("Then", came, Mood.WARN if came.startswith("late") or ", late" in came else Mood.PLAIN)


def _troubles(record: TickRecord, entry: DeploymentRecord) -> Iterator[Line]:
    for conflict in record.conflicts:
        if conflict.id == entry.decision.id:
            said = f"target expected at {conflict.expected}, found at {conflict.found}: {conflict.cause}"
            yield Line("Conflict", said, Mood.BAD)
    for one in record.overrides:
        if one.covers(entry.decision.id):
            yield Line("Asked for", asked(one, record.at), Mood.NOTED)
    if record.leading is not None and not record.leading.leads:
        yield Line("Standby", record.leading.standing, Mood.NOTED)
    for canary in record.canaries:
        progress = canary.progress
        mood = Mood.WARN if progress.phase is CanaryPhase.TAKEN_BACK else Mood.NOTED
        said = f"{canary.name}, build {progress.build}: {progress.phase.value.replace('_', ' ')}, {progress.why}"
        yield Line("Canary", said + (f" ({canary.problem})" if canary.problem else ""), mood)
    for sentence in record.degraded:
        yield Line("Degraded", sentence, Mood.WARN)
    for source in entry.snapshot.blind_spots:
        yield Line("Blind spot", f"{source}: nothing is lowered meanwhile", Mood.WARN)


def asked(one: Override, at: float) -> str:
    """Say what somebody asks of the planner, and for how long, as of ``at`` (Unix seconds)."""
    more = f" by {one.replicas}" if one.replicas else ""
    what = f"{one.action.value.replace('_', ' ')}{more} for another {duration(one.until - at)}"
    return f"{what}, by {one.owner} ({one.id}): {one.reason}"


def _inputs(entry: DeploymentRecord) -> Iterator[Input]:
    snapshot = entry.snapshot
    for name, (value, note), goal in _readings(snapshot, entry.terms):
        yield Input(name, value, f"{note}{goal}", Mood.WARN if value == "unknown" else Mood.PLAIN)
    if snapshot.idle:
        yield Input("traffic", "none; two sources agree")
    yield Input("replicas", _replicas(snapshot))
    for source in snapshot.sources:
        age = "never answered" if source.age_s is None else f"{duration(round(source.age_s, 1))} old"
        state = f"{age}, stale" if source.stale else age
        said = f"{state}: {source.error}" if source.error else state
        mood = Mood.WARN if source.stale or source.error else Mood.QUIET
        yield Input("source", source.source, said, note_mood=mood)


def _readings(snapshot: Snapshot, terms: PolicyTerms | None) -> Iterator[tuple[str, tuple[str, str], str]]:
    for signal, (name, unit) in SIGNALS.items():
        yield name, reading(snapshot.reading(signal), unit), ""
    yield "queued requests", reading(snapshot.queued_requests, "requests"), ""
    yield "shed requests", reading(snapshot.shed_per_s, "/s"), ""
    yield "errors", reading(snapshot.errors_per_s, "/s"), ""
    yield "KV cache in use", _share(snapshot.kv_cache_usage), ""
    latency = snapshot.latency
    ttft = f", objective {number(terms.ttft_s)} s" if terms else ""
    itl = f", objective {number(terms.itl_s)} s" if terms else ""
    yield "TTFT p50", reading(latency.ttft_p50_s, "s"), ""
    yield "TTFT p95", reading(latency.ttft_p95_s, "s"), ttft
    yield "ITL p50", reading(latency.itl_p50_s, "s"), ""
    yield "ITL p95", reading(latency.itl_p95_s, "s"), itl


def _share(value: Reading) -> tuple[str, str]:
    if isinstance(value, Unknown):
        return reading(value, "")
    return f"{value.value:.0%}", f"{duration(round(value.age_s, 1))} old"


def _replicas(snapshot: Snapshot) -> str:
    target = "unknown" if snapshot.target_replicas is None else str(snapshot.target_replicas)
    counts = snapshot.replicas
    found = f"{counts.ready} ready, {counts.starting} starting, {counts.stopping} stopping" if counts else "unknown"
    return f"target {target}; {found}; Serve says {snapshot.status}"


def _expectations(record: TickRecord, entry: DeploymentRecord) -> Iterator[Line]:
    decision = entry.decision
    if decision.forecast_unavailable is not None:
        yield Line("Forecast", f"none: {decision.forecast_unavailable}", Mood.WARN)
    for forecast in decision.forecasts:
        yield Line("Forecast", _forecast(forecast))
    for standing in entry.standings:
        yield Line("On record", standing_words(standing, record.at), Mood.PLAIN if standing.trusted else Mood.WARN)
    if entry.terms is not None and entry.terms.quantile is not None:
        yield Line("Sized for", f"p{100 * entry.terms.quantile:g} ({entry.terms.quantile_from})")
    lead = decision.lead
    starts = f", {plural(lead.samples, 'start')}" if lead.samples else ""
    quantiles = f"p50 {duration(lead.p50_s)}, p90 {duration(lead.p90_s)}, p95 {duration(lead.p95_s)}"
    yield Line("Lead time", f"{quantiles} ({lead.source.value}{starts}){_layers(lead)}")
    yield Line("Capacity", _capacity(decision.capacity))


def _cluster(cluster: ClusterRecord, entry: DeploymentRecord, at: float) -> Iterator[Line]:
    if cluster.plan.held is not None:
        yield Line("Held", cluster.unseen or cluster.plan.held, Mood.WARN)
    if cluster.frozen is not None:
        yield Line("Frozen", f"worker groups are left alone: {cluster.frozen}", Mood.WARN)
    for sentence in needs_words(cluster, entry.decision.id):
        yield Line(
            "Ahead", sentence, Mood.WARN if "without a place" in sentence or "too late" in sentence else Mood.PLAIN
        )
    for name, sentence in pool_words(cluster):
        yield Line("Nodes", f"{name}: {sentence}")
    for name, sentence in group_words(cluster):
        yield Line("Workers", f"{name}: {sentence}")
    for sentence, status in deed_words(cluster):
        yield Line("Set", sentence, _MOOD.get(status, Mood.PLAIN))
    for sentence, standing in order_words(cluster, at):
        yield Line("On its way", sentence, Mood.PLAIN if standing is SupplyStatus.PENDING else Mood.WARN)
    for sentence in lead_words(cluster):
        yield Line("Took", sentence, Mood.QUIET)
    if cluster.plan.binding:
        yield Line("Bound by", "; ".join(cluster.plan.binding))


def _layers(lead: LeadTime) -> str:
    parts = [f"{one.layer.value} {duration(one.p90_s)} ({one.source.value})" for one in lead.layers]
    return f"; p90 is {' + '.join(parts)}" if len(parts) > 1 else ""


def _forecast(forecast: Forecast) -> str:
    name, unit = SIGNALS[forecast.signal]
    band = ", ".join(f"p{100 * probability:g} {number(value)}" for probability, value in forecast.quantiles)
    past = f"{forecast.method} from {duration(forecast.history_s)} of history"
    return f"{name}, most within {duration(forecast.horizon_s)}: {band} {unit} ({past})"


def standing_words(standing: ForecastStanding, at: float) -> str:
    """Say how a forecast has done, as of ``at`` (Unix seconds)."""
    name, unit = SIGNALS[standing.signal]
    kept = f"{standing.coverage:.0%} of outcomes within p{100 * standing.probability:g}"
    loss = f"pinball loss {number(standing.pinball_loss)}, bias {standing.bias:+.3g} {unit}"
    model = "" if standing.fitted_at is None else f"; model fitted {duration(at - standing.fitted_at)} ago"
    problem = "" if standing.fit_problem is None else f"; last fit failed: {standing.fit_problem}"
    trust = "" if standing.trusted else "; not trusted, so only measured demand is followed"
    over = f"{number(standing.horizons)} horizons of {duration(standing.horizon_s)}"
    return f"{name}: {kept} over {over}; {loss}; leading {standing.method}{model}{problem}{trust}"


def _capacity(capacity: Capacity) -> str:
    parts = [f"{number(value)} {SIGNALS[signal][1]}" for signal, value in capacity.per_replica.items()]
    detail = f": {capacity.detail}" if capacity.detail else ""
    return f"{', '.join(parts)} per replica ({capacity.source.value}{detail})"
