"""One deployment's part of one record, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from controller.domain.forecast import Forecast, ForecastStanding, LeadTime
from controller.domain.override import Override
from controller.domain.plan import Action, Capacity, Decision, OutcomeStatus, Reason
from controller.domain.record import DeploymentRecord, PolicyTerms, TickRecord
from controller.domain.snapshot import Snapshot
from controller.explain.aftermath import aftermath
from controller.explain.wording import SIGNALS, duration, moment, number, plural, reading

_LABEL = 11
_NAME = 20
_VALUE = 18
_STAGE = 11

_STYLE = {
    OutcomeStatus.APPLIED: "green",
    OutcomeStatus.ADVISED: "cyan",
    OutcomeStatus.AWAITING: "cyan",
    OutcomeStatus.REFUSED: "yellow",
    OutcomeStatus.FAILED: "bold red",
    OutcomeStatus.PENDING: "yellow",
}

_RESULT = {
    OutcomeStatus.NOTHING_TO_DO: "nothing to do",
    OutcomeStatus.APPLIED: "applied, and read back",
    OutcomeStatus.ADVISED: "advised only: nothing was touched",
    OutcomeStatus.AWAITING: "awaiting approval: nothing was touched",
    OutcomeStatus.REFUSED: "refused: not written",
    OutcomeStatus.FAILED: "failed: no confirmed effect",
    OutcomeStatus.PENDING: "unknown: the result was never recorded",
}


def page(record: TickRecord, entry: DeploymentRecord, later: Sequence[TickRecord], *, now: float) -> Text:
    """Explain one decision: what was seen, expected, decided, done, and what came of it.

    ``later`` are the following records of the same deployment, oldest first; ``now`` only says how long
    ago it was. No line is broken; widths do not depend on the terminal.
    """
    lines = [
        _title(record, entry, now),
        Text(),
        *_done(record, entry, later),
        *_troubles(record, entry),
        Text(),
        *_inputs(entry),
        Text(),
        *_expectations(record, entry),
        Text(),
        *_stages(entry.decision),
    ]
    return Text("\n").join(lines)


def _title(record: TickRecord, entry: DeploymentRecord, now: float) -> Text:
    return Text.assemble(
        (str(entry.decision.id), "bold"),
        f"  tick {record.tick}  {moment(record.at)} ({duration(now - record.at)} ago)",
        (f"  mode {record.mode}  policy {record.policy_version}", "dim"),
    )


def _done(record: TickRecord, entry: DeploymentRecord, later: Sequence[TickRecord]) -> Iterator[Text]:
    decision, outcome = entry.decision, entry.outcome
    yield _line("Decided", _verdict(decision), "bold")
    details = [_RESULT[outcome.status]]
    if outcome.attempts:
        details.append(f"{plural(outcome.attempts, 'attempt')} in {duration(outcome.duration_s)}")
    if outcome.detail:
        details.append(outcome.detail)
    yield _line("Result", "; ".join(details), _STYLE.get(outcome.status, ""))
    came = aftermath(record, entry, later)
    if came is not None:
        yield _line("Then", came, "yellow" if came.startswith("late") or ", late" in came else "")


def _verdict(decision: Decision) -> str:
    why = decision.binding.value
    if decision.desired is None:
        return f"no opinion, the target stays as it is (reason: {why})"
    if decision.action is Action.NONE:
        return f"keep {plural(decision.desired, 'replica')} (reason: {why})"
    current = "unknown" if decision.current is None else str(decision.current)
    return f"{current} → {plural(decision.desired, 'replica')}: {decision.action.value} (reason: {why})"


def _troubles(record: TickRecord, entry: DeploymentRecord) -> Iterator[Text]:
    for conflict in record.conflicts:
        if conflict.id == entry.decision.id:
            said = f"target expected at {conflict.expected}, found at {conflict.found}: {conflict.cause}"
            yield _line("Conflict", said, "red")
    for asked in record.overrides:
        if asked.covers(entry.decision.id):
            yield _line("Asked for", _asked(asked, record.at), "cyan")
    for sentence in record.degraded:
        yield _line("Degraded", sentence, "yellow")
    for source in entry.snapshot.blind_spots:
        yield _line("Blind spot", f"{source}: nothing is lowered meanwhile", "yellow")


def _asked(one: Override, at: float) -> str:
    more = f" by {one.replicas}" if one.replicas else ""
    what = f"{one.action.value.replace('_', ' ')}{more} for another {duration(one.until - at)}"
    return f"{what}, by {one.owner} ({one.id}): {one.reason}"


def _inputs(entry: DeploymentRecord) -> Iterator[Text]:
    snapshot = entry.snapshot
    yield Text("Inputs", "bold")
    for name, (value, note), goal in _readings(snapshot, entry.terms):
        style = "yellow" if value == "unknown" else ""
        yield Text.assemble(f"  {name:<{_NAME}} ", (f"{value:<{_VALUE}} ", style), (f"{note}{goal}", "dim"))
    if snapshot.idle:
        yield Text(f"  {'traffic':<{_NAME}} none; two sources agree")
    yield Text(f"  {'replicas':<{_NAME}} {_replicas(snapshot)}")
    for source in snapshot.sources:
        age = "never answered" if source.age_s is None else f"{duration(source.age_s)} old"
        state = f"{age}, stale" if source.stale else age
        said = f"{state}: {source.error}" if source.error else state
        style = "yellow" if source.stale or source.error else "dim"
        yield Text.assemble(f"  {'source':<{_NAME}} {source.source} ", (said, style))


def _readings(snapshot: Snapshot, terms: PolicyTerms | None) -> Iterator[tuple[str, tuple[str, str], str]]:
    for signal, (name, unit) in SIGNALS.items():
        yield name, reading(snapshot.reading(signal), unit), ""
    yield "queued requests", reading(snapshot.queued_requests, "requests"), ""
    yield "shed requests", reading(snapshot.shed_per_s, "/s"), ""
    yield "errors", reading(snapshot.errors_per_s, "/s"), ""
    yield "KV cache in use", reading(snapshot.kv_cache_usage, ""), ""
    latency = snapshot.latency
    ttft = f", objective {number(terms.ttft_s)} s" if terms else ""
    itl = f", objective {number(terms.itl_s)} s" if terms else ""
    yield "TTFT p50", reading(latency.ttft_p50_s, "s"), ""
    yield "TTFT p95", reading(latency.ttft_p95_s, "s"), ttft
    yield "ITL p50", reading(latency.itl_p50_s, "s"), ""
    yield "ITL p95", reading(latency.itl_p95_s, "s"), itl


def _replicas(snapshot: Snapshot) -> str:
    target = "unknown" if snapshot.target_replicas is None else str(snapshot.target_replicas)
    counts = snapshot.replicas
    found = f"{counts.ready} ready, {counts.starting} starting, {counts.stopping} stopping" if counts else "unknown"
    return f"target {target}; {found}; Serve says {snapshot.status}"


def _expectations(record: TickRecord, entry: DeploymentRecord) -> Iterator[Text]:
    decision = entry.decision
    if decision.forecast_unavailable is not None:
        yield _line("Forecast", f"none: {decision.forecast_unavailable}", "yellow")
    for forecast in decision.forecasts:
        yield _line("Forecast", _forecast(forecast))
    for standing in entry.standings:
        yield _line("On record", _standing(standing, record.at), "" if standing.trusted else "yellow")
    if entry.terms is not None and entry.terms.quantile is not None:
        yield _line("Sized for", f"p{100 * entry.terms.quantile:g} ({entry.terms.quantile_from})")
    lead = decision.lead
    starts = f", {plural(lead.samples, 'start')}" if lead.samples else ""
    quantiles = f"p50 {duration(lead.p50_s)}, p90 {duration(lead.p90_s)}, p95 {duration(lead.p95_s)}"
    yield _line("Lead time", f"{quantiles} ({lead.source.value}{starts}){_layers(lead)}")
    yield _line("Capacity", _capacity(decision.capacity))


def _layers(lead: LeadTime) -> str:
    parts = [f"{one.layer.value} {duration(one.p90_s)} ({one.source.value})" for one in lead.layers]
    return f"; p90 is {' + '.join(parts)}" if len(parts) > 1 else ""


def _forecast(forecast: Forecast) -> str:
    name, unit = SIGNALS[forecast.signal]
    band = ", ".join(f"p{100 * probability:g} {number(value)}" for probability, value in forecast.quantiles)
    past = f"{forecast.method} from {duration(forecast.history_s)} of history"
    return f"{name}, most within {duration(forecast.horizon_s)}: {band} {unit} ({past})"


def _standing(standing: ForecastStanding, at: float) -> str:
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


def _stages(decision: Decision) -> Iterator[Text]:
    yield Text("Stages", "bold")
    if not decision.steps:
        yield Text("  none ran")
    width = max((len(reason.value) for reason in Reason), default=0)
    for step in decision.steps:
        yield Text.assemble(
            f"  {step.stage:<{_STAGE}}",
            (f"{step.replicas:>4}  ", "bold"),
            f"{step.reason.value:<{width}}  {step.detail}".rstrip(),
        )


def _line(label: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"{label:<{_LABEL}}", "bold"), (text, style))
