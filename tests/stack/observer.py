"""Looks at a running stack from outside, and waits for what should happen."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

from controller.domain.plan import Action
from controller.domain.record import DeploymentRecord, TickRecord
from controller.local import ray_cluster
from controller.local.calls import request
from controller.local.children import Child
from controller.local.session import latest_record
from controller.local.stack import LocalStack
from controller.local.traffic import TickReader
from controller.store.reader import StoreReader
from tests.stack.patience import awaited

MEASURED: list[str] = []
"""Numbers worth seeing; printed at the end of the session."""


class Observer:
    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack

    def record(self) -> TickRecord:
        """The newest record; waits for one."""
        found: list[TickRecord] = []

        def ask() -> bool:
            record = latest_record(self.stack.controller_url)
            found[:] = [record] if record else []
            return bool(found)

        self.wait(ask, 30, "a record")
        return found[0]

    def deployment(self) -> DeploymentRecord:
        return self.record().deployments[0]

    def records(self) -> list[TickRecord]:
        """Everything that the controller has recorded."""
        with StoreReader(self.stack.files.records) as store:
            return store.records()

    def since(self, at: float) -> list[TickRecord]:
        """What was recorded of ticks that began later than ``at``."""
        return [record for record in self.records() if record.at > at]

    def changes(self, action: Action, after: int = 0) -> list[TickRecord]:
        """Ticks later than ``after`` with this action."""
        return [one for one in self.records() if one.tick > after and one.deployments[0].decision.action == action]

    def replicas(self) -> tuple[int, list[str]]:
        """Serve's own account: the target, and each replica's state."""
        state = ray_cluster.application(self.stack.dashboard_url, self.stack.token)
        deployment = state["deployments"][ray_cluster.DEPLOYMENT]
        return deployment["target_num_replicas"], [replica["state"] for replica in deployment["replicas"]]

    def settled_at(self, count: int) -> Callable[[], bool]:
        return lambda: self.replicas() == (count, ["RUNNING"] * count)

    def prometheus(self, query: str) -> list[dict[str, Any]]:
        answer = json.loads(request(f"{self.stack.prometheus_url}/api/v1/query?query={query}"))
        return list(answer["data"]["result"])

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait until ``condition`` holds, and all of the stack runs meanwhile; returns the seconds it took."""

        def holds() -> bool:
            self.stack.require_healthy()
            return condition()

        return awaited(holds, seconds, what)


class Traffic:
    """A load generator on the stack, stopped gently at the end."""

    def __init__(self, stack: LocalStack, stages: str) -> None:
        self._stack = stack
        self._child: Child = stack.start_traffic(
            [f"--stages={stages}", "--prompt-tokens=64", "--output-tokens=128", "--json"]
        )
        assert self._child.process.stdout is not None
        self.numbers = TickReader(self._child.process.stdout)
        # Its end is no crash: each test looks at its exit code itself.
        stack.forget(self._child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop(15)

    def finish(self, seconds: float) -> int:
        """Wait for its end; returns the exit code: 0 when every stream completed."""
        return self._child.process.wait(seconds)
