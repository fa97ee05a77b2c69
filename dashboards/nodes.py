"""Panels of the nodes below, and of their GPUs."""

from __future__ import annotations

from controller.catalog import watched
from controller.catalog.promql import differs, equals, matches
from dashboards.panel import Panel, Query, Unit, line
from dashboards.query import of, ratio, total


def node_panels() -> tuple[Panel, ...]:
    """Return the panels of nodes and GPUs."""
    memory, disk = of(watched.NODE_MEMORY_USED), of(watched.NODE_DISK_USED)
    gpu = "{{ip}} {{GpuDeviceName}} {{GpuIndex}}"
    gpu_used, gpu_free = of(watched.NODE_GPU_MEMORY_USED), of(watched.NODE_GPU_MEMORY_FREE)
    store = total("", of(watched.RESOURCES, equals("Name", "object_store_memory")))
    return (
        line(
            "GPU utilisation",
            "As the driver says: time with any kernel running.",
            Unit.PERCENT,
            Query(of(watched.NODE_GPU_UTILIZATION), gpu),
        ),
        line(
            "GPU memory",
            "vLLM takes its share at the start and keeps it.",
            Unit.SHARE,
            Query(f"{gpu_used} / ({gpu_used} + {gpu_free})", gpu),
        ),
        line("CPU", "Of each node.", Unit.PERCENT, Query(of(watched.NODE_CPU), "{{ip}}")),
        line("Memory", "Of each node.", Unit.SHARE, Query(f"{memory} / {of(watched.NODE_MEMORY_TOTAL)}", "{{ip}}")),
        line(
            "Nodes",
            "That run, are on the way, or failed lately, by worker group.",
            Unit.COUNT,
            Query(total("NodeType", of(watched.NODES_ACTIVE)), "active {{NodeType}}"),
            Query(total("NodeType", of(watched.NODES_PENDING)), "pending {{NodeType}}"),
            Query(total("NodeType", of(watched.NODES_FAILED)), "failed {{NodeType}}"),
        ),
        line(
            "Logical resources in use",
            "What Ray has handed out; GPU at 100 % means that nothing more can be placed.",
            Unit.SHARE,
            Query(
                ratio(
                    total("Name", of(watched.RESOURCES, equals("State", "USED"))), total("Name", of(watched.RESOURCES))
                ),
                "{{Name}}",
            ),
        ),
        line("Disk", "Of each node.", Unit.SHARE, Query(f"{disk} / ({disk} + {of(watched.NODE_DISK_FREE)})", "{{ip}}")),
        line(
            "Network",
            "Of each node.",
            Unit.BYTES_PER_SECOND,
            Query(of(watched.NODE_RECEIVED), "in {{ip}}"),
            Query(of(watched.NODE_SENT), "out {{ip}}"),
        ),
        line(
            "Object store",
            "Ray's shared memory in use, and its share.",
            Unit.SHARE,
            Query(f"{total('', of(watched.OBJECT_STORE_USED, matches('Location', 'MMAP_.*')))} / {store}", "in use"),
        ),
        line(
            "Cluster resources",
            "Of all nodes, and of those on the way.",
            Unit.COUNT,
            Query(of(watched.CLUSTER_RESOURCES, differs("resource", "CPU")), "{{resource}}"),
            Query(of(watched.PENDING_RESOURCES), "pending {{resource}}"),
        ),
    )
