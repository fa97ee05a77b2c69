"""The policy in force, followed while its file changes."""

from __future__ import annotations

from typing import Protocol

from structlog.typing import FilteringBoundLogger

from controller.domain.identity import DeploymentId
from controller.policy.load import LoadedPolicy, PolicyChange
from controller.policy.model import Mode, Policy
from controller.ports import LoopEvent, LoopObserver


class PolicySource(Protocol):
    """Where the policy comes from; ``controller.policy.load.PolicyFile`` is one."""

    current: LoadedPolicy

    def poll(self) -> PolicyChange | None:
        """Return news once, or None. Never raises."""
        ...


class PolicyInForce:
    """The last good policy, its mode after the command line's say, and what is wrong with a newer one."""

    def __init__(
        self, *, source: PolicySource, advisory: bool, log: FilteringBoundLogger, observer: LoopObserver
    ) -> None:
        self._source = source
        self._advisory = advisory
        self._log = log
        self._observer = observer
        self.problems: tuple[str, ...] = ()

    def follow(self) -> None:
        """Take a changed policy into use, or keep the last good one and remember why."""
        change = self._source.poll()
        if change is None:
            return
        self.problems = () if change.problem is None else (change.problem,)
        if change.problem is not None:
            self._observer.note(LoopEvent.POLICY_REJECTED)
            self._log.error("policy_rejected", problem=change.problem, kept=self.version)
        else:
            self._observer.note(LoopEvent.POLICY_RELOADED)
            self._log.info("policy_reloaded", version=self.version, mode=self.mode)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._source.current.policy

    @property
    def version(self) -> str:
        """Its version."""
        return self._source.current.version

    @property
    def mode(self) -> Mode:
        """How far to go: what the policy says, unless the command line says advisory."""
        return Mode.ADVISORY if self._advisory else self.policy.mode

    def limits(self, deployment: DeploymentId) -> tuple[int, int] | None:
        """Fewest and most replicas of a deployment, or None when the policy does not list it."""
        for entry in self.policy.deployments:
            if entry.id == deployment:
                return entry.limits.min_replicas, entry.limits.max_replicas
        return None
