"""Rules follow the catalogue and the policy, in each format, and every alert has its runbook."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from alerts.buckets import VLLM_ITL_BOUNDS, VLLM_TTFT_BOUNDS, weights
from alerts.export import Format, document, groups, to_yaml
from alerts.rule import Alert, Recording, Severity, Team
from controller.catalog.recorded import RECORDED
from controller.policy.load import load_policy
from controller.policy.model import Policy
from tests.promql import problems

ROOT = Path(__file__).parents[3]
FULL = load_policy(ROOT / "manifests/policies/full.yaml")
RULES = [rule for group in groups(FULL.policy) for rule in group.rules]
ALERTS = [rule for rule in RULES if isinstance(rule, Alert)]
NAMES = sorted({alert.name for alert in ALERTS})
RUNBOOKS = ROOT / "docs/runbooks"
SECTIONS = ("## Meaning", "## Impact", "## Diagnosis", "## Mitigation")


def policy(**control: float) -> Policy:
    return FULL.policy.model_copy(update={"control": FULL.policy.control.model_copy(update=control)})


def expression(name: str, given_policy: Policy) -> str:
    return next(
        rule.expr
        for group in groups(given_policy)
        for rule in group.rules
        if isinstance(rule, Alert) and rule.name == name
    )


def test_the_committed_rules_are_those_of_the_full_policy() -> None:
    committed = (ROOT / "alerts/generated/foreserve.rules.yaml").read_text()

    assert committed.partition("\n")[2] == to_yaml(document(FULL.policy, Format.PROMETHEUS), "").partition("\n")[2], (
        "run: foreserve alerts export --policy manifests/policies/full.yaml --out alerts/generated"
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: getattr(rule, "name", None) or rule.metric.name)
def test_a_rule_names_only_what_the_catalogue_has(rule: Alert | Recording) -> None:
    assert problems(rule.expr) == []


def test_every_catalogued_recording_is_recorded() -> None:
    assert {rule.metric for rule in RULES if isinstance(rule, Recording)} == set(RECORDED)


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_a_runbook_with_four_sections(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()

    assert page.startswith(f"# {name}\n")
    assert [line for line in page.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert all(page.split(section)[1].split("\n## ")[0].strip() for section in SECTIONS)


def test_no_runbook_is_about_an_alert_that_is_gone() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == NAMES


def test_runbooks_link_only_to_pages_that_are_there() -> None:
    links = [(path, link) for path in RUNBOOKS.glob("*.md") for link in re.findall(r"\]\(([^)]+)\)", path.read_text())]

    assert [(path.name, link) for path, link in links if not (path.parent / link).is_file()] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_docs_list_the_alert_with_its_severity_and_team(alert: Alert) -> None:
    row = next(
        line for line in (ROOT / "docs/alerts.md").read_text().splitlines() if f"[{alert.name}](runbooks" in line
    )

    assert alert.severity.value in row
    assert f"| {alert.team.value} |" in row


def test_the_time_a_tick_may_take_follows_the_interval() -> None:
    assert "> 60" in expression("ControllerStalled", policy(interval_s=10.0))
    assert "> 180" in expression("ControllerStalled", policy(interval_s=60.0))


def test_objectives_and_names_follow_the_policy() -> None:
    text = to_yaml(document(load_policy(ROOT / "manifests/policies/local.yaml").policy, Format.PROMETHEUS), "")

    assert "vector(0.05)" in text
    assert 'deployment="LLMServer:tiny"' in text
    assert "LLMServer:large" not in text


def test_a_deployment_without_a_forecast_on_purpose_misses_none() -> None:
    first, second, *_ = FULL.policy.deployments
    off = second.model_copy(update={"forecast": second.forecast.model_copy(update={"enabled": False})})

    expr = expression("ForecastMissing", FULL.policy.model_copy(update={"deployments": (first, off)}))

    assert expr.endswith(f'unless foreserve_forecast_available{{application="chat",deployment="{off.deployment}"}}')
    assert first.deployment not in expr


def test_the_strictest_success_objective_of_an_application_counts() -> None:
    first, second, *_ = FULL.policy.deployments
    strict = second.model_copy(update={"objectives": second.objectives.model_copy(update={"success_ratio": 0.999})})
    rules = [
        rule
        for group in groups(FULL.policy.model_copy(update={"deployments": (first, strict)}))
        for rule in group.rules
        if isinstance(rule, Recording) and rule.labels.get("slo") == "success"
    ]

    assert [rule.expr for rule in rules if rule.metric.name == "slo:objective:ratio"] == ["vector(0.999)"]


def test_a_name_with_quotes_stays_one_value() -> None:
    odd = FULL.policy.deployments[0].model_copy(update={"application": 'a"b\\c'})
    rules = document(FULL.policy.model_copy(update={"deployments": (odd,)}), Format.PROMETHEUS)

    assert 'application="a\\"b\\\\c"' in str(rules["groups"][1]["rules"][2]["expr"])


@pytest.mark.parametrize(
    ("wanted", "namespace", "kind", "version"),
    [
        (Format.PROMETHEUSRULE, "ray", "PrometheusRule", "monitoring.coreos.com/v1"),
        (Format.GKE, None, "ClusterRules", "monitoring.googleapis.com/v1"),
        (Format.GKE, "ray", "Rules", "monitoring.googleapis.com/v1"),
    ],
)
def test_kubernetes_formats_hold_the_same_groups(
    wanted: Format, namespace: str | None, kind: str, version: str
) -> None:
    plain = document(FULL.policy, Format.PROMETHEUS)
    wrapped = YAML(typ="safe").load(to_yaml(document(FULL.policy, wanted, namespace=namespace), "heading"))

    assert (wrapped["kind"], wrapped["apiVersion"]) == (kind, version)
    assert wrapped["metadata"].get("namespace") == namespace
    assert wrapped["spec"] == YAML(typ="safe").load(to_yaml(plain, "heading"))


def test_a_runbook_address_is_taken_over() -> None:
    rules = document(FULL.policy, Format.PROMETHEUS, runbooks="https://wiki.example.com/runbooks/")
    found = {
        rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }

    assert "https://wiki.example.com/runbooks/AtLimit.md" in found


@given(
    st.sampled_from([VLLM_TTFT_BOUNDS, VLLM_ITL_BOUNDS]),
    st.floats(min_value=0.001, max_value=10_000),
)
def test_events_within_a_threshold_lie_between_the_buckets_around_it(
    bounds: tuple[float, ...], threshold: float
) -> None:
    """With one event in each bucket, the count grows with the threshold and is exact at each bound."""
    cumulative = {index + 1: bound for index, bound in enumerate(bounds)}
    counts = {le: count for count, bound in cumulative.items() for le in weights(bound, bounds)}

    within = sum(weight * counts[le] for le, weight in weights(threshold, bounds).items())

    below = sum(bound <= threshold for bound in bounds)
    assert below <= within <= below + 1 or within == below == len(bounds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "at_limit"}, "CamelCase"),
        ({"hold": "soon"}, "write 30s, 5m, 1h or 1d"),
        ({"summary": "no end"}, "full stop"),
    ],
)
def test_a_badly_written_alert_is_refused(change: dict[str, str], message: str) -> None:
    right = {"name": "AtLimit", "expr": "up", "hold": "5m", "summary": "One.", "impact": "Two."}

    with pytest.raises(ValueError, match=message):
        Alert(**{**right, **change}, severity=Severity.PAGE, team=Team.SERVICE)
