"""The live view of a controller at work: one frame from the newest record."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.text import Text

from controller.domain.plan import Order, OrderStatus
from controller.domain.record import TickRecord
from controller.domain.scrape import SourceHealth
from controller.explain.cluster import group_words, pool_words
from controller.live.deployment import deployment_panel
from controller.live.draw import flow
from controller.live.state import LiveState
from controller.live.words import clock_time, duration
from controller.load.show import tick_parts
from controller.load.tick import LoadTick
from controller.policy.model import Policy


def render(
    record: TickRecord | None,
    load: LoadTick | None,
    *,
    policy: Policy,
    links: Mapping[str, str],
    width: int,
    state: LiveState | None = None,
) -> RenderableType:
    """Draw one frame, ``width`` columns wide.

    ``state`` carries what happened before this tick (see ``LiveState.update``); without it the
    frame knows of ``record`` only.
    """
    if record is None:
        return Group(
            Text("Waiting for the first tick.", style="dim"), *_load(load, width - 2), *_links(links, width - 2)
        )
    if state is None:
        state = LiveState()
        state.update(record)
    panels = [
        deployment_panel(
            deployment,
            at=record.at,
            moments=state.moments(deployment.snapshot.id),
            change=state.last_change(deployment.snapshot.id),
            orders=[order for order in record.ledger if order.id == deployment.snapshot.id and _open(order)],
            client_p95_s=(None, None) if load is None else (load.ttft_p95_s, load.itl_p95_s),
            policy=next((one for one in policy.deployments if one.id == deployment.snapshot.id), None),
            width=width,
        )
        for deployment in record.deployments
    ]
    rest = [
        _sources(record.sources, width - 2),
        *_cluster(record, width - 2),
        *_degraded(record),
        *_load(load, width - 2),
        *_links(links, width - 2),
    ]
    return Group(_header(record), *panels, *(Padding(line, (0, 1)) for line in rest))


def _header(record: TickRecord) -> Text:
    took = sum(seconds for _, seconds in record.step_seconds)
    header = Text.assemble((" Foreserve", "bold cyan"), f" · {record.mode} · tick {record.tick} in {duration(took)}")
    header.append(f" · {clock_time(record.at)} · policy {record.policy_version}", style="dim")
    header.no_wrap, header.overflow = True, "ellipsis"
    return header


def _cluster(record: TickRecord, width: int) -> list[Text]:
    """One line of pools and one of worker groups, where they are planned."""
    if record.cluster is None:
        return []
    pools = [Text(f"{name}: {said}") for name, said in pool_words(record.cluster)]
    groups = [Text(f"{name}: {said}") for name, said in group_words(record.cluster)]
    return [flow("Nodes  ", pools, width=width), flow("Workers", groups, width=width)]


def _open(order: Order) -> bool:
    return order.status in {OrderStatus.PENDING, OrderStatus.LATE}


def _sources(sources: tuple[SourceHealth, ...], width: int) -> Text:
    return flow("Sources", [_source(source) for source in sources], width=width)


def _source(source: SourceHealth) -> Text:
    age = "never answered" if source.age_s is None else duration(source.age_s)
    if not source.stale:
        return Text.assemble(("● ", "green"), f"{source.source} {age}")
    return Text(f"✗ {source.source} {age}{f', {source.error}' if source.error else ''}", style="red")


def _degraded(record: TickRecord) -> list[Text]:
    conflicts = [
        f"{conflict.id}: {conflict.expected} was set, {conflict.found} is found ({conflict.cause.replace('_', ' ')})"
        for conflict in record.conflicts
    ]
    return [Text(f"! {note}", style="yellow") for note in (*record.degraded, *conflicts)]


def _load(load: LoadTick | None, width: int) -> list[Text]:
    return [] if load is None else [flow("Traffic", tick_parts(load), width=width)]


def _links(links: Mapping[str, str], width: int) -> list[Text]:
    entries = [Text.assemble((f"{name} ", "dim"), (url, Style(link=url, color="blue"))) for name, url in links.items()]
    return [flow("Links  ", entries, width=width)] if entries else []
