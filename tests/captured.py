"""Recorded answers of a real cluster as scrapes, and small edits that turn single moments into sequences."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.clients.serve_answer import read_applications
from controller.collectors.exposition import read_exposition
from controller.domain.identity import DeploymentId
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import ServeState
from controller.domain.snapshot import Snapshot
from controller.window.observe import observe
from controller.window.window import Window

CAPTURES = Path(__file__).parent / "data" / "captures"
RAY = "ray/192.0.2.2:8080"
HAPROXY = "haproxy/192.0.2.2:9101"
SERVE = "serve/127.0.0.1:8265"


@cache
def page(name: str) -> tuple[Sample, ...]:
    """Catalogued samples of a recorded metrics page."""
    samples, errors = read_exposition(gzip.decompress((CAPTURES / f"{name}.prom.gz").read_bytes()), BY_SAMPLE_NAME)
    assert not errors
    return samples


@cache
def serve_state(name: str) -> ServeState:
    return read_applications((CAPTURES / f"applications_{name}.json").read_bytes())


def ray(name: str | Sequence[Sample], at: float, *, source: str = RAY, errors: tuple[str, ...] = ()) -> Scrape:
    samples = page(f"ray_8080_{name}") if isinstance(name, str) else tuple(name)
    return Scrape(source=source, kind=SourceKind.RAY, at=at, ok=True, samples=samples, errors=errors)


def haproxy(name: str | Sequence[Sample], at: float, *, source: str = HAPROXY) -> Scrape:
    samples = page(f"haproxy_9101_{name}") if isinstance(name, str) else tuple(name)
    return Scrape(source=source, kind=SourceKind.HAPROXY, at=at, ok=True, samples=samples)


def serve(name: str | ServeState, at: float) -> Scrape:
    state = serve_state(name) if isinstance(name, str) else name
    return Scrape(source=SERVE, kind=SourceKind.SERVE, at=at, ok=True, serve=state)


def all_of(name: str, at: float) -> tuple[Scrape, Scrape, Scrape]:
    """Return what Ray, HAProxy and Serve said at the same moment."""
    return ray(name, at), haproxy(name, at), serve(name, at)


def failed(kind: SourceKind, source: str, at: float) -> Scrape:
    return Scrape(source=source, kind=kind, at=at, ok=False, errors=("connection refused",))


def edited(
    samples: Sequence[Sample], name: str, *, add: float = 0.0, to: float | None = None, **labels: str
) -> tuple[Sample, ...]:
    """Change the value of every sample of ``name`` that carries ``labels``."""

    def change(sample: Sample) -> Sample:
        if sample.name != name or not labels.items() <= dict(sample.labels).items():
            return sample
        return replace(sample, value=sample.value + add if to is None else to)

    changed = tuple(change(sample) for sample in samples)
    assert changed != tuple(samples), f"no {name} with {labels} to edit"
    return changed


def without(samples: Sequence[Sample], *prefixes: str, **labels: str) -> tuple[Sample, ...]:
    """Leave out every sample whose name begins with one of ``prefixes`` and that carries ``labels``."""
    left = tuple(
        sample
        for sample in samples
        if not (sample.name.startswith(prefixes) and labels.items() <= dict(sample.labels).items())
    )
    assert len(left) < len(samples), f"nothing begins with {prefixes} and carries {labels}"
    return left


def resumed(state: ServeState, changes: Mapping[str, object]) -> ServeState:
    """Change fields of every replica of a state."""
    applications = tuple(
        replace(
            application,
            deployments=tuple(
                replace(deployment, replicas=tuple(replace(one, **changes) for one in deployment.replicas))
                for deployment in application.deployments
            ),
        )
        for application in state.applications
    )
    return ServeState(applications=applications)


@dataclass
class Watch:
    """A window with a short way to fill it and look at it."""

    window: Window

    def see(self, *scrapes: Scrape) -> None:
        for scrape in scrapes:
            self.window.record(scrape)

    def look(self, deployment: DeploymentId, now: float) -> Snapshot:
        return observe(self.window, [deployment], now)[0]
