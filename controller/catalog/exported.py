"""Metrics that the controller exposes about itself and the deployments it scales.

Every value comes from the tick's record. What is unknown has no series; ``foreserve_signal_known`` says
so. Counters count since the process started.
"""

from __future__ import annotations

from controller.catalog.metric import Kind, Metric, Origin

_DEPLOYMENT = ("application", "deployment")


def _metric(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(
        name=f"foreserve_{name}", kind=kind, unit=unit, labels=labels, help=help_text, origin=Origin.FORESERVE
    )


def _gauge(name: str, unit: str, help_text: str, *labels: str) -> Metric:
    return _metric(name, Kind.GAUGE, unit, help_text, *labels)


def _counter(name: str, unit: str, help_text: str, *labels: str) -> Metric:
    return _metric(f"{name}_total", Kind.COUNTER, unit, help_text, *labels)


def _of_deployment(name: str, unit: str, help_text: str, *labels: str) -> Metric:
    return _gauge(name, unit, help_text, *_DEPLOYMENT, *labels)


DEMAND = _of_deployment("demand", "signal's unit", "Demand now: served, queued and shed. Absent: unknown.", "signal")
SIGNAL_KNOWN = _of_deployment("signal_known", "bool", "1 while the demand signal is known.", "signal")
SIGNAL_AGE = _of_deployment("signal_age_seconds", "s", "Age of the newest sample behind a signal.", "signal")
QUEUED = _of_deployment("queued_requests", "requests", "Requests waiting for a replica or in its engine.")
SHED = _of_deployment("shed_requests_per_second", "requests/s", "Requests turned away.")
ERRORS = _of_deployment("errors_per_second", "requests/s", "Requests that failed.")
KV_CACHE_USAGE = _of_deployment("kv_cache_usage_ratio", "ratio", "KV cache in use over all replicas, 0 to 1.")
IDLE = _of_deployment("idle", "bool", "1 while two independent sources agree that there is no traffic.")
TTFT = _of_deployment("ttft_seconds", "s", "Time to first token over the window.", "quantile")
ITL = _of_deployment("itl_seconds", "s", "Time between two output tokens over the window.", "quantile")
TTFT_OBJECTIVE = _of_deployment("ttft_objective_seconds", "s", "Promised 95th percentile of time to first token.")
ITL_OBJECTIVE = _of_deployment("itl_objective_seconds", "s", "Promised 95th percentile of inter-token latency.")

FORECAST = _of_deployment(
    "forecast",
    "signal's unit",
    "Quantile of the largest demand from now to the end of the horizon of a layer (replica).",
    "signal",
    "quantile",
    "horizon",
)
FORECAST_HORIZON = _of_deployment(
    "forecast_horizon_seconds", "s", "Length of a layer's horizon: its lead time and one interval.", "horizon"
)
FORECAST_INFO = _of_deployment(
    "forecast_info", "info", "1 for the method that made the forecast of a signal.", "signal", "method"
)
FORECAST_AVAILABLE = _of_deployment(
    "forecast_available",
    "bool",
    "1 while a forecast is used; `foreserve explain` says why there is none.",
)
_HORIZON = ("signal", "horizon_seconds")
FORECAST_PINBALL_LOSS = _of_deployment(
    "forecast_pinball_loss",
    "signal's unit",
    "Live mean pinball loss of the promised quantile over about the last six hours.",
    *_HORIZON,
)
FORECAST_COVERAGE = _of_deployment(
    "forecast_coverage_ratio", "ratio", "Live share of outcomes at or below the promised quantile.", *_HORIZON
)
FORECAST_PROMISE = _of_deployment(
    "forecast_promised_ratio", "ratio", "What that share should be: the quantile that is sized for.", *_HORIZON
)
FORECAST_BIAS = _of_deployment(
    "forecast_bias", "signal's unit", "Live mean of the promised quantile minus what came.", *_HORIZON
)
FORECAST_TRUSTED = _of_deployment(
    "forecast_trusted", "bool", "0 while coverage breaks its promise: scored, but not used.", *_HORIZON
)
FORECAST_RECORD = _of_deployment(
    "forecast_record_horizons", "horizons", "Independent horizons that the live record is worth.", *_HORIZON
)
FORECAST_LEADING_INFO = _of_deployment(
    "forecast_leading_info", "info", "1 for the method with the largest weight now.", *_HORIZON, "method"
)
FORECAST_MODEL_AGE = _of_deployment(
    "forecast_model_age_seconds", "s", "Time since the end of what the fitted model has learned from.", *_HORIZON
)
FORECAST_FIT_FAILED = _of_deployment(
    "forecast_fit_failed", "bool", "1 while the last fit failed; the model before it is used.", *_HORIZON
)
LEAD_TIME = _of_deployment(
    "lead_time_seconds", "s", "Time from ordering a replica to its first served request.", "quantile", "source"
)
LEAD_LAYER = _of_deployment(
    "lead_time_layer_seconds", "s", "Part of one layer (replica, worker, node) in the P90 lead time.", "layer", "source"
)
CAPACITY = _of_deployment(
    "capacity_per_replica", "signal's unit", "Load that one replica carries within its objectives.", "signal", "source"
)

TARGET_REPLICAS = _of_deployment("target_replicas", "replicas", "Live target in Ray Serve.")
DESIRED_REPLICAS = _of_deployment("desired_replicas", "replicas", "Target that the last tick wanted.")
READY_REPLICAS = _of_deployment("ready_replicas", "replicas", "Replicas that serve.")
STARTING_REPLICAS = _of_deployment("starting_replicas", "replicas", "Replicas that will serve.")
STOPPING_REPLICAS = _of_deployment("stopping_replicas", "replicas", "Replicas that drain.")
MIN_REPLICAS = _of_deployment("min_replicas", "replicas", "Fewest replicas that the policy allows.")
MAX_REPLICAS = _of_deployment("max_replicas", "replicas", "Most replicas that the policy allows.")
STAGE_REPLICAS = _of_deployment(
    "stage_replicas", "replicas", "Number that each stage of the last decision passed on.", "stage"
)
LEDGER_ORDERS = _of_deployment("ledger_orders", "orders", "Ordered capacity by where it is.", "status")
BLIND_SPOTS = _of_deployment("blind_spots", "sources", "Missing or stale sources; none is lowered meanwhile.")

BUDGET_LIMIT = _gauge("budget_limit", "resource's unit", "What all deployments may hold together.", "resource")
BUDGET_HELD = _gauge(
    "budget_held", "resource's unit", "What all deployments hold, coming and going included.", "resource"
)
BUDGET_WANTED = _gauge("budget_wanted", "resource's unit", "What all deployments want together.", "resource")

CLUSTER_KNOWN = _gauge("cluster_known", "bool", "0 while the nodes are unknown, so that none is planned.")
NODES = _gauge(
    "nodes", "nodes", "Nodes of a pool: wanted, ready, starting, draining, in_use, coming, warm.", "pool", "state"
)
NODES_MOST = _gauge("nodes_max", "nodes", "Most nodes of a pool, by the policy and by its live bounds.", "pool")
NODE_GPUS = _gauge("node_gpus", "GPUs", "GPUs of a node of a pool.", "pool", "accelerator", "provisioning")
NODE_PRICE = _gauge("node_price_per_hour", "currency/h", "Price of a node of a pool, where the policy has one.", "pool")
POOL_OPEN = _gauge(
    "pool_open", "bool", "0 while nothing is ordered from a pool, for the reason given.", "pool", "reason"
)
WORKERS = _gauge(
    "workers",
    "workers",
    "Workers of a group: wanted (the least), most, ready, starting, busy, pending.",
    "group",
    "state",
)
UNPLACED = _of_deployment("unplaced_replicas", "replicas", "Wanted within a node's lead, without a place.", "obstacle")
LATE_REPLICAS = _of_deployment("late_replicas", "replicas", "That have a place which comes too late for them.")
LAYER_NEED = _of_deployment(
    "layer_need_replicas", "replicas", "Replicas that a layer is to carry once its lead is over.", "layer"
)
SUPPLY_ORDERS = _gauge(
    "supply_orders", "orders", "Orders of nodes and workers, by where they are.", "layer", "key", "status"
)
SUPPLY_LEAD = _gauge(
    "supply_lead_seconds",
    "s",
    "Lead time reckoned with: order to ready of a node, start of a worker.",
    "pool",
    "layer",
    "quantile",
    "source",
)
SUPPLY_LEG = _gauge(
    "supply_leg_seconds", "s", "Measured legs of a lead time, by pool and layer.", "pool", "layer", "leg", "quantile"
)
CLUSTER_SOLVE = _gauge("cluster_plan_seconds", "s", "How long the last plan of the cluster took.")
LAYER_ACTUATIONS = _counter(
    "layer_actuations", "actuations", "What came of setting nodes and workers.", "layer", "name", "lever", "outcome"
)

DECISIONS = _counter(
    "decisions", "decisions", "Decisions by action and binding reason.", *_DEPLOYMENT, "action", "reason"
)
ACTUATIONS = _counter("actuations", "actuations", "What came of decisions.", *_DEPLOYMENT, "outcome")
CONFLICTS = _counter("conflicts", "conflicts", "Targets that somebody else changed.", *_DEPLOYMENT, "cause")

SOURCE_AGE = _gauge("source_age_seconds", "s", "Time since a source last answered.", "source", "kind")
SOURCE_UP = _gauge("source_up", "bool", "1 while a source is fresh.", "source", "kind")
DEGRADED = _gauge("degraded_conditions", "conditions", "Things that keep the controller from doing all it could.")

OVERRIDES = _gauge("overrides", "overrides", "Overrides in force: what people and alerts ask for.", "action")
AWAITING_APPROVAL = _of_deployment("awaiting_approval", "bool", "1 while a change waits for a person's word.")
API_REFUSALS = _counter("api_refusals", "requests", "Requests to the API that were refused.", "reason")
WEBHOOK_DELIVERIES = _counter(
    "webhook_deliveries",
    "attempts",
    "Attempts to deliver an event: delivered, failed (tried again), dead.",
    "sink",
    "result",
)
WEBHOOK_PENDING = _gauge("webhook_pending_events", "events", "Events that wait for a sink.", "sink")
WEBHOOK_DEAD_LETTERS = _gauge("webhook_dead_letters", "events", "Events that a sink will not get.", "sink")
WEBHOOK_OLDEST = _gauge("webhook_oldest_pending_seconds", "s", "Age of the oldest event that waits for a sink.", "sink")
WEBHOOKS_RECEIVED = _counter(
    "webhooks_received",
    "webhooks",
    "Webhooks by what came of them: accepted, or refused as unauthenticated, replayed, malformed, too many, failed.",
    "receiver",
    "result",
)

CANARY_SHARE = _gauge("canary_share_ratio", "ratio", "Share of the requests that a canary gets.", "canary")
CANARY_PHASE = _gauge(
    "canary_phase",
    "bool",
    "1 for the phase that a canary's build is in: waiting, ramping, completed, taken_back, overridden.",
    "canary",
    "build",
    "phase",
)
CANARY_REQUESTS = _gauge(
    "canary_requests",
    "requests",
    "Requests of both sides (canary, stable) since the share last changed: ok, failed.",
    "canary",
    "side",
    "outcome",
)
CANARY_FIRST_BYTE = _gauge(
    "canary_first_byte_seconds", "s", "Median time to the first byte of both sides since then.", "canary", "side"
)

FORECAST_PROBLEMS = _counter(
    "forecast_problems",
    "problems",
    "Forecasts that failed, or were not reached within the time that a tick has for them.",
    "problem",
)
TICK_DURATION = _metric("tick_duration_seconds", Kind.HISTOGRAM, "s", "Length of a tick.")
STEP_DURATION = _gauge("step_duration_seconds", "s", "Length of each step of the last tick.", "step")
LAST_TICK = _gauge("last_tick_timestamp_seconds", "s", "When the last complete tick began (Unix time).")
TICKS = _counter("ticks", "ticks", "Complete ticks.")
TICK_FAILURES = _counter("tick_failures", "ticks", "Ticks that failed; the next one starts afresh.")
TICKS_SKIPPED = _counter("ticks_skipped", "ticks", "Ticks left out because the one before took too long.")
STORE_ERRORS = _counter("store_errors", "errors", "Failed writes of a record or of the state.")
LEADS = _gauge("leads", "bool", "Whether this controller is the one that acts.")
POLICY_INFO = _gauge("policy_info", "info", "1 for the policy in force.", "version", "mode")
POLICY_RELOADS = _counter("policy_reloads", "reloads", "Changes of the policy file by result.", "result")
BUILD_INFO = _gauge("build_info", "info", "1 for the running version.", "version", "python")

EXPORTED: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
