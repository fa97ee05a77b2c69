"""Node pools of the simulated cloud: what GKE knows of each, and how many machines Google has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from google.cloud import container_v1 as gke

STOCKOUT = (
    "Instance '{pool}-0' creation failed: The zone 'projects/simulated/zones/{zone}' does not have enough resources "
    "available to fulfill the request.  Try a different zone, or try again later."
)
QUOTA = "Instance '{pool}-0' creation failed: Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: {limit} globally."


@dataclass(kw_only=True)
class Pool:
    """One pool. ``most`` are the bounds, per zone or in total; None: no autoscaling, and ``sizes`` are set by hand.

    ``stock`` are the machines that can be had in each zone besides those that run, None without end; ``quota`` the
    most machines of the pool, None without limit. ``provision_s`` is the shortest and the longest time from an order
    to a node, ``boot_s`` from a node to a ready one.
    """

    name: str
    zones: Sequence[str] = ("us-central1-a",)
    accelerator: str = "nvidia-l4"
    gpus: int = 1
    provisioning: str = "on_demand"
    total: tuple[int, int] | None = None
    per_zone: tuple[int, int] | None = None
    location_policy: int = 0
    taints: Sequence[tuple[str, str, str]] = (("nvidia.com/gpu", "present", "NoSchedule"),)
    provision_s: tuple[float, float] = (180.0, 180.0)
    boot_s: tuple[float, float] = (120.0, 120.0)
    stock: dict[str, int] = field(default_factory=dict)
    quota: int | None = None
    status: int = 2
    conditions: list[tuple[int, str]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    """Machines that each zone's group is to have."""

    def __post_init__(self) -> None:
        self.sizes = dict.fromkeys(self.zones, 0) | self.sizes

    @property
    def autoscaled(self) -> bool:
        """Whether the cluster autoscaler sizes it."""
        return self.total is not None or self.per_zone is not None

    @property
    def size(self) -> int:
        """Machines that it is to have."""
        return sum(self.sizes.values())

    @property
    def floor(self) -> int:
        """Fewest machines that the autoscaler keeps."""
        if self.total is not None:
            return self.total[0]
        return 0 if self.per_zone is None else self.per_zone[0] * len(self.zones)

    def room(self, zone: str) -> int:
        """Machines that the bounds still allow in a zone."""
        if self.total is not None:
            return self.total[1] - self.size
        return 0 if self.per_zone is None else self.per_zone[1] - self.sizes[zone]

    def answer(self) -> gke.NodePool:
        """As GKE's API shows it."""
        scaling = gke.NodePoolAutoscaling(enabled=self.autoscaled, location_policy=self.location_policy)
        if self.total is not None:
            scaling.total_min_node_count, scaling.total_max_node_count = self.total
        elif self.per_zone is not None:
            scaling.min_node_count, scaling.max_node_count = self.per_zone
        config = gke.NodeConfig(
            accelerators=[gke.AcceleratorConfig(accelerator_count=self.gpus, accelerator_type=self.accelerator)],
            spot=self.provisioning == "spot",
            flex_start=self.provisioning == "flex_start",
        )
        if self.provisioning == "reservation":
            config.reservation_affinity = gke.ReservationAffinity(consume_reservation_type=3)
        return gke.NodePool(
            name=self.name,
            config=config,
            locations=list(self.zones),
            autoscaling=scaling,
            status=self.status,
            conditions=[gke.StatusCondition(code=code, message=message) for code, message in self.conditions],
        )
