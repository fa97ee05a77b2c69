"""What is paid for, what of it is used, and what other ways would have cost."""

from __future__ import annotations

from typing import Any

from controller.catalog import exported, watched
from controller.catalog.promql import differs, equals, matches
from dashboards.frame import dashboard, typed
from dashboards.panel import Panel, Query, Section, Shape, Unit
from dashboards.query import of, ratio, total

_HERE = "{{application}}/{{deployment}}"
_BY = "application, deployment"
_ON = "on (cluster, application, deployment)"
_MONEY = "* $gpus_per_replica * $price"


def fleet() -> Any:
    """Return the dashboard for the people who pay."""
    return dashboard(
        uid="foreserve-fleet",
        title="Foreserve / Fleet & cost",
        description=(
            "Replica-hours and what they cost, what of them is spare, and what other ways would have used."
            " Type the price of a GPU-hour and the GPUs of a replica above; over the time range that is shown."
        ),
        variables=(typed("gpus_per_replica", "GPUs per replica", "1"), typed("price", "USD per GPU-hour", "2.50")),
        sections=(
            Section("Cost of the time shown", _cost()),
            Section("Where the replicas go", _use()),
            Section("The budget of all deployments", _budget()),
            Section("Against other ways", _saving()),
            Section("Node pools (where nodes are planned)", _pools()),
            Section("Nodes and GPUs", _nodes()),
        ),
    )


def _paid() -> str:
    """Replicas that are paid for: all that hold their GPUs."""
    ready, starting = of(exported.READY_REPLICAS), of(exported.STARTING_REPLICAS)
    return f"({ready} + {_ON} {starting} + {_ON} {of(exported.STOPPING_REPLICAS)})"


def _needed() -> str:
    """Replicas that demand needs now, and no more than serve."""
    reactive = of(exported.STAGE_REPLICAS, equals("stage", "reactive"))
    return f"sum by (cluster, {_BY}) ({reactive})"


def _hours(replicas: str) -> str:
    """Replica-hours over the range shown: its mean number, times its length while there were samples."""
    return f"sum_over_time(({replicas})[$__range:1m]) / 60"


def _spare() -> str:
    return f"clamp_min({of(exported.READY_REPLICAS)} - {_ON} {_needed()}, 0)"


def _cost() -> tuple[Panel, ...]:
    return (
        _number(
            "GPU-hours",
            "Of ready, starting and stopping replicas.",
            Unit.HOURS,
            f"{total(_BY, _hours(_paid()))} * $gpus_per_replica",
        ),
        _number("Money", "At the price above.", Unit.MONEY, f"{total(_BY, _hours(_paid()))} {_MONEY}"),
        _number(
            "Spare share",
            "Replica-hours that demand did not need, of all. Some is the price of being ready.",
            Unit.SHARE,
            ratio(total(_BY, _hours(_spare())), total(_BY, _hours(_paid()))),
        ),
        _number(
            "Saved against a fleet at its maximum",
            "Replica-hours not used, as a share.",
            Unit.SHARE,
            f"1 - {ratio(total(_BY, _hours(_paid())), total(_BY, _hours(of(exported.MAX_REPLICAS))))}",
        ),
    )


def _number(title: str, description: str, unit: Unit, expr: str) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=(Query(expr, _HERE),),
        shape=Shape.NUMBERS,
        width=6,
        height=5,
        minimum=None,
        decimals=2,
    )


def _use() -> tuple[Panel, ...]:
    forecast = of(exported.STAGE_REPLICAS, equals("stage", "forecast"))
    ahead = f"clamp_min({forecast} - ignoring (stage) {of(exported.STAGE_REPLICAS, equals('stage', 'reactive'))}, 0)"
    return (
        Panel(
            title="Replicas by what they do",
            description="needed now; spare; starting and stopping, which are paid for and serve nothing.",
            unit=Unit.COUNT,
            queries=(
                Query(f"sum({of(exported.READY_REPLICAS)}) - sum({_spare()})", "needed now"),
                Query(f"sum({_spare()})", "spare"),
                Query(total("", of(exported.STARTING_REPLICAS)), "starting"),
                Query(total("", of(exported.STOPPING_REPLICAS)), "stopping"),
            ),
            shape=Shape.STACK,
            width=12,
            height=8,
        ),
        Panel(
            title="Spare replicas by deployment",
            description="What serves beyond what demand needs now: forecast, delays, minimum.",
            unit=Unit.COUNT,
            queries=(Query(_spare(), _HERE),),
            width=6,
            height=8,
        ),
        Panel(
            title="Kept ahead by the forecast",
            description="Replicas wanted for demand to come, beyond those for demand now.",
            unit=Unit.COUNT,
            queries=(Query(ahead, _HERE),),
            width=6,
            height=8,
        ),
        Panel(
            title="Money per hour",
            description="What the replicas of each deployment cost now, at the price above.",
            unit=Unit.MONEY,
            queries=(Query(f"{total(_BY, _paid())} {_MONEY}", _HERE),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Use of the limit",
            description="Replicas paid for, of limits.max_replicas. At 100 % the limit binds.",
            unit=Unit.SHARE,
            queries=(Query(ratio(total(_BY, _paid()), total(_BY, of(exported.MAX_REPLICAS))), _HERE),),
            thresholds=((0.9, "orange"), (1, "red")),
        ),
        Panel(
            title="Waste in GPU-hours, by kind",
            description="Over the time shown. A shorter start saves starting; a closer forecast saves spare.",
            unit=Unit.HOURS,
            queries=(
                Query(f"sum({_hours(_spare())}) * $gpus_per_replica", "spare"),
                Query(f"sum({_hours(of(exported.STARTING_REPLICAS))}) * $gpus_per_replica", "starting"),
                Query(f"sum({_hours(of(exported.STOPPING_REPLICAS))}) * $gpus_per_replica", "stopping"),
            ),
            shape=Shape.BAR_GAUGE,
        ),
    )


def _budget() -> tuple[Panel, ...]:
    limit, held, wanted = (of(one) for one in (exported.BUDGET_LIMIT, exported.BUDGET_HELD, exported.BUDGET_WANTED))
    return (
        Panel(
            title="Budget: wanted and held",
            description="Of each resource that the policy's budget bounds, in its own unit; dashed, the limit.",
            unit=Unit.COUNT,
            queries=(
                Query(wanted, "wanted {{resource}}"),
                Query(held, "held {{resource}}"),
                Query(limit, "limit {{resource}}"),
            ),
            width=12,
            dashed=("/^limit/",),
        ),
        Panel(
            title="Wanted and held, as a share of the budget",
            description="Wanted above 100 %: some deployment goes short; its binding reason is budget.",
            unit=Unit.SHARE,
            queries=(
                Query(ratio(wanted, limit), "wanted {{resource}}"),
                Query(ratio(held, limit), "held {{resource}}"),
            ),
            width=12,
            thresholds=((1, "red"),),
        ),
    )


def _saving() -> tuple[Panel, ...]:
    paid = f"({_paid()})[$__range:1m]"
    peak = f"max_over_time({paid}) * count_over_time({paid}) / 60"
    return (
        Panel(
            title="GPU-hours, and what other ways would have used",
            description="static at peak: the most that was seen, all the time. oracle: demand of each minute, no lead.",
            unit=Unit.HOURS,
            queries=(
                Query(f"sum({_hours(_paid())}) * $gpus_per_replica", "as it was"),
                Query(f"sum({_hours(of(exported.MAX_REPLICAS))}) * $gpus_per_replica", "static at the limit"),
                Query(f"sum({peak}) * $gpus_per_replica", "static at peak"),
                Query(f"sum({_hours(_needed())}) * $gpus_per_replica", "oracle"),
            ),
            shape=Shape.BAR_GAUGE,
            width=12,
        ),
        Panel(
            title="Peers on the same traffic",
            description="Serve's own autoscaler, where it is on. `foreserve replay` shows it, HPA, KEDA and KPA.",
            unit=Unit.COUNT,
            queries=(
                Query(of(exported.READY_REPLICAS), f"ready {_HERE}"),
                Query(of(watched.SERVE_OWN_DESIRED), f"Serve's autoscaler {_HERE}"),
            ),
            width=12,
        ),
    )


def _pools() -> tuple[Panel, ...]:
    there = f"sum by (cluster, pool) ({of(exported.NODES, matches('state', 'ready|starting|draining'))})"
    gpus = f"max by (cluster, pool) ({of(exported.NODE_GPUS)})"
    price = f"max by (cluster, pool) ({of(exported.NODE_PRICE)})"
    closed = of(exported.POOL_OPEN, differs("reason", ""))
    return (
        Panel(
            title="GPU-hours by pool",
            description="Of nodes that are there, over the time shown, with replicas on them or not.",
            unit=Unit.HOURS,
            queries=(Query(total("pool", _hours(f"{there} * {gpus}")), "{{pool}}"),),
            shape=Shape.BAR_GAUGE,
            width=6,
        ),
        Panel(
            title="Money by pool",
            description="For the same nodes, at the prices of the policy, in its currency.",
            unit=Unit.COUNT,
            queries=(Query(total("pool", _hours(f"{there} * {price}")), "{{pool}}"),),
            shape=Shape.BAR_GAUGE,
            width=6,
        ),
        Panel(
            title="Money per hour by pool",
            description="Of all nodes that are there, and of those with replicas.",
            unit=Unit.COUNT,
            queries=(
                Query(f"{there} * {price}", "{{pool}}"),
                Query(
                    f"sum by (cluster, pool) ({of(exported.NODES, equals('state', 'in_use'))}) * {price}",
                    "in use {{pool}}",
                ),
            ),
            width=6,
        ),
        Panel(
            title="Stock-outs",
            description="Hours, of the time shown, in which a pool gave no nodes, by reason. Good is none.",
            unit=Unit.HOURS,
            queries=(Query(total("pool, reason", _hours(f"{closed} == bool 0")), "{{pool}} {{reason}}"),),
            shape=Shape.BAR_GAUGE,
            width=6,
            thresholds=((0.01, "red"),),
        ),
    )


def _nodes() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Nodes by group",
            description="That run and that are on the way. Pending for long: a stock-out or a quota.",
            unit=Unit.COUNT,
            queries=(
                Query(total("NodeType", of(watched.NODES_ACTIVE)), "active {{NodeType}}"),
                Query(total("NodeType", of(watched.NODES_PENDING)), "pending {{NodeType}}"),
                Query(total("NodeType", of(watched.NODES_FAILED)), "failed {{NodeType}}"),
            ),
            width=6,
        ),
        Panel(
            title="GPUs, and GPUs on the way",
            description="As Ray counts them.",
            unit=Unit.COUNT,
            queries=(
                Query(of(watched.CLUSTER_RESOURCES, equals("resource", "GPU")), "in the cluster"),
                Query(of(watched.PENDING_RESOURCES, equals("resource", "GPU")), "pending"),
            ),
            width=6,
        ),
        Panel(
            title="GPUs in use",
            description="Handed out to replicas, of those in the cluster.",
            unit=Unit.SHARE,
            queries=(
                Query(
                    f"{total('', of(watched.RESOURCES, equals('Name', 'GPU'), equals('State', 'USED')))}"
                    f" / ({total('', of(watched.RESOURCES, equals('Name', 'GPU')))} > 0)",
                    "used",
                ),
            ),
            width=6,
            maximum=1,
        ),
        Panel(
            title="GPU utilisation",
            description="As the driver says; a replica that waits for requests shows little.",
            unit=Unit.PERCENT,
            queries=(Query(f"avg by (GpuDeviceName) ({of(watched.NODE_GPU_UTILIZATION)})", "{{GpuDeviceName}}"),),
            width=6,
            maximum=100,
        ),
    )
