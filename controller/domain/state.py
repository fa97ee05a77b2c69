"""What the planner remembers from tick to tick. Checkpointed; survives a restart."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from operator import itemgetter

from controller.domain.capacity import CapacityMemory
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.plan import Order
from controller.domain.supply import SupplyLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentMemory:
    """Planner memory of one deployment.

    ``recommendations`` are (time, replicas) of recent sizings, oldest first; ``known_since`` is when
    uninterrupted knowledge of demand began (None: the last tick knew nothing). ``last_set`` is the
    target this controller last wrote or accepted, with the config digest seen then, to tell a redeploy
    from a second writer.
    """

    recommendations: tuple[tuple[float, int], ...] = ()
    known_since: float | None = None
    unlearned_since: float | None = None
    """Since when its engines are watched without it being known what they carry."""
    run_s: float | None = None
    """How long a request runs once it is admitted, the least of it since requests began to wait; None: none waits."""
    above_since: float | None = None
    last_set: int | None = None
    last_set_at: float | None = None
    last_set_digest: str | None = None
    startup_seconds: tuple[float, ...] = ()
    """Most recent measured replica start-ups, oldest first (seconds)."""
    cold_startup_seconds: tuple[float, ...] = ()
    """The same of replicas that had to wait for a worker or a node."""
    dips: int = 0
    """Consecutive ticks without a higher need since ``above_since``; one of them is forgiven."""
    last_set_seen_at: float | None = None
    """When Serve's state was read that ``last_set`` was planned from; the same reading shows the old target."""
    attempted: int | None = None
    """Target last asked of the actuator while its result is not confirmed: when found, it is our own."""
    foreign_since: float | None = None
    """When a target set by somebody else was last accepted."""
    usual_load: float | None = None
    """Replicas that the demand would just fill while no announced event changes it, smoothed."""
    usual_load_at: float | None = None
    drain_since: float | None = None
    """Since when fewer replicas would do, while a moment with few streams is waited for."""
    idle_since: float | None = None
    """Since when it is known without a break that there is no traffic, also none at the front door."""
    unseen_since: float | None = None
    """Since when the front door cannot be seen."""
    slo_debt: float = 0.0
    """How much of late the objectives were missed: 0 not at all, 1 by as much as they are, all the time."""
    slo_debt_at: float | None = None
    capacity: CapacityMemory | None = None
    """What was learned about its engines."""
    ahead: tuple[tuple[Layer, tuple[tuple[float, int], ...]], ...] = ()
    """(time, replicas) that each layer was found to need of late, oldest first, as far as it still counts."""
    rising: tuple[tuple[Layer, tuple[tuple[float, int], ...]], ...] = ()
    """(since, replicas): since when without a break at least so many are foreseen for each layer, both ascending."""
    places: tuple[float, int] | None = None
    """When the cluster was last planned, and how many replicas had a place on ready nodes then; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerState:
    """All memory of the planner. Deployments are sorted by id; ``supply`` is what is known of nodes and workers."""

    deployments: tuple[tuple[DeploymentId, DeploymentMemory], ...] = ()
    ledger: tuple[Order, ...] = ()
    supply: SupplyLedger = field(default_factory=SupplyLedger)

    def __post_init__(self) -> None:
        """Sort what was given in another order."""
        object.__setattr__(self, "deployments", tuple(sorted(self.deployments, key=itemgetter(0))))

    def memory(self, wanted: DeploymentId) -> DeploymentMemory:
        """Memory of one deployment; empty for one not seen before."""
        place = bisect_left(self.deployments, wanted, key=itemgetter(0))
        if place < len(self.deployments) and self.deployments[place][0] == wanted:
            return self.deployments[place][1]
        return DeploymentMemory()
