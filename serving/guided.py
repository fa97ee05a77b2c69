"""Serve's own autoscaling, guided: the larger of what the load now needs and of what the controller foresees.

Serve calls ``GuidedPolicy`` for each deployment in its control loop, ten times a second, inside its controller. So it
never waits: the controller's floors are fetched by one thread, and a call reads the last answer.

It is safe when things vanish. Without the controller, or once its floor is older than ``floor_max_age_s``, Serve
goes on by the load alone. Without reports of the replicas the target stays as it is: unknown is not zero. An error in
here leaves the target as it is, too, and is logged once a minute.

Why the floor is fetched over HTTP from the controller's API: it needs neither a Ray client in the controller (which
runs outside of the cluster) nor a redeploy, crosses nodes, carries the floor's age as the controller sees it, so that
no two clocks are compared, and nothing can be pushed into Serve's controller by whoever reaches it.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.stats import KV_USAGE, RUNNING, WAITING

FLOORS_PATH = "/api/v1/floors"
POLICY = "serving.policies:GuidedPolicy"
"""Import path, as it stands in an autoscaling config. Not of this module: see there."""

_log = logging.getLogger("ray.serve")
_POLL_S = 1.0
_TIMEOUT_S = 2.0
_MOST_BYTES = 1_000_000
_COMPLAIN_EVERY_S = 60.0
_REPORT_AGE_S = 25.0
"""A replica's older figures are unknown. Replicas report every second, by Ray's own default every ten."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What the controller asked for: ``replicas``, since ``at`` by this process's monotonic clock."""

    replicas: int
    at: float


@dataclass(frozen=True, slots=True)
class Engines:
    """What the replicas reported. ``reporting`` of them did so lately."""

    reporting: int
    in_engine: float
    kv_usage: float


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas that the load needs now; ``known`` is False when that cannot be told."""

    replicas: float
    known: bool
    why: str


def reactive(
    *,
    requests: float,
    engines: Engines,
    running: int,
    target_ongoing_requests: float,
    target_kv_usage: float,
) -> Need:
    """Size by requests in flight and by the KV cache, whichever needs more.

    ``requests`` are those that Serve counts, ``engines`` what the engines themselves hold: more than Serve's number
    where a request fans out, and the only one that knows of tokens: a few long prompts fill a cache that many short
    ones do not.
    """
    by_requests = max(requests, engines.in_engine) / target_ongoing_requests
    by_cache = engines.kv_usage * engines.reporting / target_kv_usage
    # One replica at its target is enough; a cache that is used a little is no need for one.
    needed = max(by_requests, by_cache if engines.kv_usage > target_kv_usage / 2 else 0.0)
    why = "kv_cache" if by_cache > by_requests else "requests"
    return Need(needed, engines.reporting >= running, why)


def combine(need: Need, floor: int | None, *, target: int, highest: int) -> int:
    """Return the larger of need and floor within ``highest``; what is not known never lowers ``target``."""
    wanted = math.ceil(need.replicas - 1e-9)
    if not need.known:
        wanted = max(wanted, target)
    return min(highest, max(wanted, floor or 0))


class Floors:
    """Fetches the controller's floors in a thread of its own; reading them costs nothing."""

    def __init__(
        self, url: str, token_file: str | None, *, poll_s: float = _POLL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url.rstrip("/") + FLOORS_PATH
        self._token_file = token_file
        self._poll_s = poll_s
        self._clock = clock
        self._known: Mapping[tuple[str, str], Floor] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def latest(self, application: str, deployment: str) -> Floor | None:
        """Return the last floor that was fetched, however old. Starts the thread on the first call."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=_poll, args=(weakref.ref(self), self._stop, self._poll_s), name="foreserve-floors", daemon=True
            )
            weakref.finalize(self, self._stop.set)
            self._thread.start()
        return self._known.get((application, deployment))

    def refresh(self) -> None:
        """Fetch once. Whatever goes wrong leaves the last floors to grow old."""
        asked = self._clock()
        headers = {"Accept": "application/json", "User-Agent": "foreserve-policy"}
        if self._token_file is not None:
            token = Path(self._token_file).read_text(encoding="utf-8").strip()
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self._url, headers=headers)  # noqa: S310 - the operator's own address
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            body = json.loads(answer.read(_MOST_BYTES))
        self._known = read_floors(body, asked)


def read_floors(body: Any, asked: float) -> dict[tuple[str, str], Floor]:
    """Read the controller's answer; ages count from when it was asked, so that they are never too young.

    Raises:
        ValueError: it is not what the controller answers.

    """
    found = {}
    try:
        for one in body["floors"]:
            replicas, age_s = int(one["replicas"]), float(one["age_s"])
            if replicas < 0 or not math.isfinite(age_s) or age_s < 0:
                msg = f"floor of {one['application']}/{one['deployment']}: {replicas} replicas, {age_s} s old"
                raise ValueError(msg)
            found[str(one["application"]), str(one["deployment"])] = Floor(replicas, asked - age_s)
    except (KeyError, TypeError) as error:
        msg = f"no list of floors ({type(error).__name__}: {error})"
        raise ValueError(msg) from None
    return found


class GuidedPolicy:
    """Serve's ``policy_function`` of guided mode; ``serving.llm.autoscaling_config`` writes its arguments."""

    def __init__(
        self,
        *,
        controller_url: str | None = None,
        token_file: str | None = None,
        floor_max_age_s: float = 30.0,
        target_kv_usage: float = 0.8,
        floors: Floors | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,  # noqa: TID251 - Serve's own time stamps are of this clock
    ) -> None:
        self._floors = floors or (_shared(controller_url, token_file) if controller_url else None)
        self._floor_max_age_s = floor_max_age_s
        self._target_kv_usage = target_kv_usage
        self._clock = clock
        self._wall_clock = wall_clock
        self._complain_at = 0.0
        self._last: tuple[int, int | None] | None = None

    def __call__(self, ctx: Any) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas that Serve should aim at. Never raises."""
        try:
            return self._decide(ctx), {}
        except Exception:  # noqa: BLE001 - an error here would stop all of Serve's control loop
            self._complain()
            return ctx.target_num_replicas, {}

    def _decide(self, ctx: Any) -> int:
        floor = self._floor(ctx)
        if ctx.current_num_replicas == 0:
            # Nobody reports. Serve itself brings the first replica when a request comes.
            need = Need(0.0, known=ctx.target_num_replicas == 0, why="requests")
        else:
            need = reactive(
                requests=ctx.total_num_requests,
                engines=self._engines(ctx),
                running=ctx.current_num_replicas,
                target_ongoing_requests=ctx.config.get_target_ongoing_requests(),
                target_kv_usage=self._target_kv_usage,
            )
        wanted = combine(need, floor, target=ctx.target_num_replicas, highest=ctx.capacity_adjusted_max_replicas)
        self._tell(ctx, wanted, floor, need)
        return wanted

    def _floor(self, ctx: Any) -> int | None:
        if self._floors is None:
            return None
        found = self._floors.latest(ctx.app_name, ctx.deployment_name)
        if found is None or self._clock() - found.at > self._floor_max_age_s:
            return None
        return found.replicas

    def _engines(self, ctx: Any) -> Engines:
        """Read what each replica reported last; who has not for some time is not counted."""
        series = ctx.raw_metrics or {}
        oldest = self._wall_clock() - _REPORT_AGE_S
        running = _fresh(series.get(RUNNING), oldest)
        if not running:
            # An engine that tells nothing is sized by requests alone; Serve's own count must do.
            return Engines(reporting=0 if RUNNING in series else ctx.current_num_replicas, in_engine=0.0, kv_usage=0.0)
        waiting, kv_usage = _fresh(series.get(WAITING), oldest), _fresh(series.get(KV_USAGE), oldest)
        usage = sum(kv_usage.values()) / len(kv_usage) if kv_usage else 0.0
        return Engines(len(running), sum(running.values()) + sum(waiting.values()), usage)

    def _tell(self, ctx: Any, wanted: int, floor: int | None, need: Need) -> None:
        if (wanted, floor) == self._last:
            return
        self._last = (wanted, floor)
        _log.info(
            "guided: %s/%s wants %d replicas: %.2f by %s%s, floor %s",
            ctx.app_name,
            ctx.deployment_name,
            wanted,
            need.replicas,
            need.why,
            "" if need.known else " (not all report)",
            "none" if floor is None else floor,
        )

    def _complain(self) -> None:
        now = self._clock()
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_EVERY_S
            _log.exception("guided: the target stays as it is")


def _fresh(reports: Mapping[Any, Any] | None, oldest: float) -> dict[Any, float]:
    """Return the last value of each replica that is not too old."""
    return {
        replica: series[-1].value
        for replica, series in (reports or {}).items()
        if series and series[-1].timestamp >= oldest
    }


def _poll(holder: weakref.ref[Floors], stop: threading.Event, poll_s: float) -> None:
    complained_at = -math.inf
    while not stop.is_set():
        floors = holder()
        if floors is None:
            return
        try:
            floors.refresh()
        except (OSError, ValueError) as error:
            now = time.monotonic()
            if now - complained_at > _COMPLAIN_EVERY_S:
                complained_at = now
                _log.warning("guided: no floors from the controller, going on by the load alone (%s)", error)
        del floors
        stop.wait(poll_s)


_all_floors: weakref.WeakValueDictionary[tuple[str, str | None], Floors] = weakref.WeakValueDictionary()


def _shared(url: str, token_file: str | None) -> Floors:
    """One thread for all deployments that ask the same controller."""
    floors = _all_floors.get((url, token_file))
    if floors is None:
        floors = _all_floors[url, token_file] = Floors(url, token_file)
    return floors
