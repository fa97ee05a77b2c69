"""Panels of the nodes and workers under the replicas: wanted against there, lead times by leg, obstacles."""

from __future__ import annotations

from controller.catalog import exported
from controller.catalog.promql import equals, matches
from dashboards.panel import Panel, Query, Shape, Unit
from dashboards.query import of, total


def cluster_panels() -> tuple[Panel, ...]:
    """Return the panels; all are empty where no cluster is planned."""
    here = "{{application}}/{{deployment}}"
    return (
        Panel(
            title="Nodes: wanted and there",
            description="Of each pool: wanted by the plan, ready, starting, and ordered but not there yet.",
            unit=Unit.COUNT,
            queries=(
                Query(of(exported.NODES, matches("state", "wanted|ready|starting|coming")), "{{state}} {{pool}}"),
                Query(of(exported.NODES_MOST), "most {{pool}}"),
            ),
        ),
        Panel(
            title="Workers: wanted and there",
            description="Of each worker group: the least that the plan wants, ready, busy, and without a node.",
            unit=Unit.COUNT,
            queries=(
                Query(of(exported.WORKERS, matches("state", "wanted|ready|busy|pending")), "{{state}} {{group}}"),
            ),
        ),
        Panel(
            title="Replicas: needed by each layer's lead",
            description="What is to be carried once a replica's, a worker's and a node's lead is over.",
            unit=Unit.COUNT,
            queries=(
                Query(of(exported.LAYER_NEED), f"{{{{layer}}}} {here}"),
                Query(of(exported.READY_REPLICAS), f"ready {here}"),
            ),
        ),
        Panel(
            title="Lead time of nodes and workers",
            description="P90 that the plan reckons with. source: measured, from the policy, or assumed.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.SUPPLY_LEAD, equals("quantile", "0.9")), "{{layer}} {{pool}} {{source}}"),),
        ),
        Panel(
            title="Lead time by leg",
            description="P90 of what was measured: creation and boot of a node, scheduling and image of a worker.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.SUPPLY_LEG, equals("quantile", "0.9")), "{{pool}} {{layer}} {{leg}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Pools that give no nodes",
            description="0 while nothing is ordered from a pool, for the reason given: a stock-out, a quota, too late.",
            unit=Unit.NONE,
            queries=(Query(of(exported.POOL_OPEN), "{{pool}} {{reason}}"),),
        ),
        Panel(
            title="Replicas without a place, or with one too late",
            description="And the first thing that stands in the way.",
            unit=Unit.COUNT,
            queries=(
                Query(of(exported.UNPLACED), f"{here} {{{{obstacle}}}}"),
                Query(of(exported.LATE_REPLICAS), f"{here} late"),
            ),
        ),
        Panel(
            title="What came of setting nodes and workers",
            description="By lever and outcome.",
            unit=Unit.COUNT,
            queries=(
                Query(
                    total("layer, lever, outcome", f"increase({of(exported.LAYER_ACTUATIONS)}[$__rate_interval])"),
                    "{{outcome}} {{layer}} {{lever}}",
                ),
            ),
        ),
        Panel(
            title="Planning time",
            description="Of the last plan of the cluster.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.CLUSTER_SOLVE), "plan"),),
        ),
        Panel(
            title="Nodes known",
            description="0 while the nodes are unknown: none is planned or given up.",
            unit=Unit.NONE,
            queries=(Query(of(exported.CLUSTER_KNOWN), "known"),),
        ),
        Panel(
            title="Orders under way, late and refused",
            description="Of nodes and workers, by pool and worker group.",
            unit=Unit.COUNT,
            queries=(Query(total("layer, key, status", of(exported.SUPPLY_ORDERS)), "{{status}} {{layer}} {{key}}"),),
        ),
    )
