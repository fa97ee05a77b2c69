"""Replicas, Ray workers and GPU nodes in one plan: the cheapest places that meet each layer's deadline."""

from controller.planner.placement.plan import plan_cluster
from controller.planner.placement.program import Effort

__all__ = ["Effort", "plan_cluster"]
