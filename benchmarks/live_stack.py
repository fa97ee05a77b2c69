"""The real local stack for benchmarks: started with a policy of their own, sent to, taken down without leftovers."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from controller.clock import SystemClock
from controller.live.startup import StepStatus
from controller.load.prompts import TokenScale
from controller.load.row import RequestRow
from controller.load.run import LoadPlan, run_load
from controller.load.schedule import Arrival
from controller.load.target import Target
from controller.local import ray_cluster
from controller.local.calls import RequestFailedError, wait_for
from controller.local.guard import adopt_orphans, reap_orphans
from controller.local.stack import LocalStack, StackOptions
from controller.local.steps import Steps
from controller.policy.load import load_policy
from controller.policy.model import DeploymentPolicy, Policy

ROOT = Path(__file__).parent.parent
LOCAL_POLICY = ROOT / "manifests/policies/local.yaml"
_SETTLE_S = 240.0
_SEGMENT_S = 15.0


@contextmanager
def live_stack(policy: Policy) -> Iterator[LocalStack]:
    """Run the whole local stack under ``policy``; its model and logs are kept in .foreserve."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.yaml"
        file.write_text(policy.model_dump_json(exclude_none=True, indent=1))
        clock = SystemClock()
        options = StackOptions(
            policy=file,
            runs=ROOT / ".foreserve/runs",
            model=ROOT / ".foreserve/models/tiny",
            with_prometheus=False,
        )
        stack = LocalStack(options, clock=clock, pause=time.sleep)
        adopt_orphans()
        try:
            stack.start(Steps(options.step_names(), clock=clock, display=_Told()))
            yield stack
        finally:
            for what in stack.stop(lambda: False):
                _say(f"could not be removed: {what}")
            reap_orphans()


def local_policy() -> tuple[Policy, DeploymentPolicy]:
    """Return the policy of ``foreserve up``, and its only deployment's."""
    policy = load_policy(LOCAL_POLICY).policy
    return policy, policy.deployments[0]


def with_deployment(policy: Policy, **sections: object) -> Policy:
    """Return ``policy`` with sections of its only deployment replaced."""
    (deployment,) = policy.deployments
    return policy.model_copy(update={"deployments": (deployment.model_copy(update=sections),)})


def held_at(policy: Policy, replicas: int) -> Policy:
    """Return ``policy`` with the number of replicas fixed."""
    (deployment,) = policy.deployments
    limits = deployment.limits.model_copy(update={"min_replicas": replicas, "max_replicas": replicas})
    return with_deployment(policy, limits=limits)


def wait_for_replicas(stack: LocalStack, replicas: int) -> None:
    """Return once Serve has so many running replicas and no others."""

    def attempt() -> None:
        state = ray_cluster.application(stack.dashboard_url, stack.token)
        states = [replica["state"] for replica in state["deployments"][ray_cluster.DEPLOYMENT]["replicas"]]
        if states != ["RUNNING"] * replicas:
            msg = f"replicas are {states}"
            raise RequestFailedError(msg)

    wait_for(attempt, clock=SystemClock(), pause=time.sleep, timeout_s=_SETTLE_S, what=f"{replicas} running replicas")


def target_of(stack: LocalStack) -> Target:
    """Return where the stack takes requests."""
    return Target(url=stack.openai_url, model=ray_cluster.MODEL)


async def send(target: Target, arrivals: Sequence[Arrival], *, scale: TokenScale | None = None) -> list[RequestRow]:
    """Send requests in an open loop and return what became of each, in order of arrival."""
    rows: list[RequestRow] = []
    plan = LoadPlan(target=target, schedule=arrivals, token_scale=scale)
    await run_load(plan, clock=SystemClock(), on_row=rows.append, on_tick=lambda _: None)
    return sorted(rows, key=lambda row: row.index)


def poisson_arrivals(
    rng: np.random.Generator, *, rate: float, seconds: float, prompt_tokens: float, output_tokens: float, first: int
) -> list[Arrival]:
    """Poisson arrivals whose sizes vary evenly from a quarter of their mean to seven quarters."""
    times = np.cumsum(rng.exponential(1.0 / rate, size=max(1, int(3 * rate * seconds) + 10)))
    times = times[times < seconds]
    prompts = np.maximum(1, rng.uniform(0.25, 1.75, len(times)) * prompt_tokens).astype(int)
    outputs = np.maximum(2, rng.uniform(0.25, 1.75, len(times)) * output_tokens).astype(int)
    rows = zip(times.tolist(), prompts.tolist(), outputs.tolist(), strict=True)
    return [Arrival(first + place, at, prompt, output) for place, (at, prompt, output) in enumerate(rows)]


def varied_arrivals(seed: int, seconds: float) -> list[Arrival]:
    """Segments of 15 s, each of other sizes, some with a third of the engine's seats taken, some with all."""
    rng = np.random.default_rng(seed)
    found: list[Arrival] = []
    for begin in np.arange(0.0, seconds, _SEGMENT_S):
        output = float(np.exp(rng.uniform(np.log(16), np.log(192))))
        prompt = float(np.exp(rng.uniform(np.log(32), np.log(768))))
        seats = rng.uniform(3.0, 8.0)
        rate = seats / (0.011 * output + 0.03)
        part = poisson_arrivals(
            rng, rate=rate, seconds=_SEGMENT_S, prompt_tokens=prompt, output_tokens=output, first=len(found)
        )
        found += [Arrival(one.index, begin + one.at_s, one.prompt_tokens, one.output_tokens) for one in part]
    return found


def machine_load() -> str:
    """Return the load average of the last minute, for reading a result with care."""
    return Path("/proc/loadavg").read_text().split()[0]


class _Told:
    def changed(self, step: StepStatus) -> None:
        if step.state == "done":
            _say(f"{step.name}: {step.seconds:.0f} s")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
