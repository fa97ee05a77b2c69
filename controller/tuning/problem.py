"""What is searched over: the base policy, the demands, the fleet; and how one candidate is replayed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from controller.errors import BadInputError
from controller.policy.document import read_document
from controller.policy.load import LoadedPolicy, load_policy
from controller.policy.problems import DocumentError
from controller.policy.validate import validate
from controller.simulation.cluster import ClusterSpec
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.outcome import Objectives
from controller.simulation.past import Past
from controller.tuning.search import Trial
from controller.tuning.space import Space, Value, with_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One demand; ``initial`` replicas are ready when it begins."""

    name: str
    demand: Demand
    initial: int
    past: Past | None = None
    origin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Everything that a worker needs. ``deployment`` is the place of the one that is tuned in the policy."""

    text: bytes
    path: Path
    deployment: int
    cases: tuple[Case, ...]
    cluster: ClusterSpec
    objectives: Objectives
    seeds: int


def load_base(path: Path, deployment: str | None) -> tuple[LoadedPolicy, int]:
    """Read the base policy, and the place of the deployment to tune. Raises BadInputError."""
    loaded = load_policy(path)
    names = [str(one.id) for one in loaded.policy.deployments]
    if deployment is None:
        return loaded, 0
    if deployment not in names:
        msg = f"{path}: has nothing for {deployment}; it has {', '.join(names)}"
        raise BadInputError(msg)
    return loaded, names.index(deployment)


def candidate(problem: Problem, values: Mapping[str, Value]) -> LoadedPolicy:
    """Return the base policy with these values, checked like any policy. Raises BadInputError."""
    data = policy_text(problem, values)
    try:
        policy = validate(read_document(data))
    except DocumentError as error:
        msg = "; ".join(one.describe(problem.path) for one in error.problems)
        raise BadInputError(msg) from error
    chosen = policy.model_copy(update={"deployments": (policy.deployments[problem.deployment],)})
    return LoadedPolicy(policy=chosen, version=hashlib.sha256(data).hexdigest()[:12], path=problem.path)


def policy_text(problem: Problem, values: Mapping[str, Value]) -> bytes:
    """The base policy's file with these values in it; comments stay."""
    if not values:
        return problem.text
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    document: Any = yaml.load(problem.text)
    with_values(document, values, deployment=problem.deployment)
    out = io.BytesIO()
    yaml.dump(document, out)
    return out.getvalue()


def evaluate(problem: Problem, trial: Trial) -> Trial:
    """Replay one candidate over every demand and seed; one that the policy model refuses says why instead."""
    try:
        loaded = candidate(problem, trial.values)
    except BadInputError as error:
        return replace(trial, problem=str(error))
    traces = tuple(_replayed(problem, case, loaded) for case in problem.cases)
    return replace(
        trial,
        gpu_hours=sum(float(one["gpu_hours"]) for one in traces),
        attainment=min(float(one["attainment"]) for one in traces),
        traces=traces,
    )


def _replayed(problem: Problem, case: Case, loaded: LoadedPolicy) -> dict[str, float | str]:
    runs = [
        run_control_loop(
            loaded,
            case.demand,
            problem.cluster,
            name=case.name,
            seed=seed,
            initial=case.initial,
            objectives=problem.objectives,
            past=case.past,
            origin=case.origin,
        )
        for seed in range(1, problem.seeds + 1)
    ]
    return {
        "trace": case.name,
        "gpu_hours": float(np.mean([run.cost.gpu_hours for run in runs])),
        "attainment": float(np.mean([run.service.slo_attainment for run in runs])),
        "ttft_p99_s": float(np.mean([run.service.ttft_p99_s for run in runs])),
        "unserved": float(np.mean([run.service.unserved for run in runs])),
    }


def fingerprint(problem: Problem, space: Space, *, trials: int, seed: int, objective: float) -> str:
    """Tell one search from another: the same one gives the same trials."""
    digest = hashlib.sha256(problem.text)
    for case in problem.cases:
        for column in (case.demand.arrival_s, case.demand.prompt_tokens, case.demand.output_tokens):
            digest.update(np.ascontiguousarray(column).tobytes())
        for signal, values in () if case.past is None else sorted(case.past.rates.items()):
            digest.update(signal.encode() + values.tobytes())
    rest = (problem.cluster, problem.objectives, problem.seeds, problem.deployment, space, trials, seed, objective)
    digest.update(repr(rest).encode())
    return digest.hexdigest()[:16]
