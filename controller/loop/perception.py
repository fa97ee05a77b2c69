"""From scrapes to snapshots: the observation window and the demand histories, kept up over policy changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controller.domain.identity import DeploymentId
from controller.domain.lasting import Tail
from controller.domain.objective import Thresholds
from controller.domain.scrape import Scrape
from controller.domain.serve import ServeState
from controller.domain.signals import Signal
from controller.domain.snapshot import History, Snapshot
from controller.policy.model import ControlPolicy, DeploymentPolicy, Policy
from controller.window.engine_work import EngineWork, engine_work
from controller.window.future import believed_at
from controller.window.history import DemandHistory
from controller.window.observe import observe
from controller.window.reach import Moment
from controller.window.window import Window

_NEWEST_BINS = 1440


class Perception:
    """Holds the window and the demand histories.

    When the policy changes the window's length or the age limit, the window starts anew: until it has
    filled, rates are unknown, and what is unknown lowers nothing.
    """

    def __init__(self, *, histories: DemandHistory) -> None:
        self._histories = histories
        self._control: ControlPolicy | None = None
        self._window: Window | None = None
        self._moment: Moment | None = None

    def observe(self, scrapes: Sequence[Scrape], policy: Policy, now: float) -> tuple[Snapshot, ...]:
        """Take in the scrapes, and return one snapshot for each deployment of the policy, in its order."""
        window, self._moment = self._window_for(policy.control), None
        for scrape in scrapes:
            window.record(believed_at(scrape, now))
        asked = [deployment.id for deployment in policy.deployments]
        snapshots = observe(window, asked, now, promised={one.id: _promised(one) for one in policy.deployments})
        for snapshot in snapshots:
            self._histories.record(snapshot)
        return snapshots

    def engine_work(self, deployment: DeploymentPolicy, now: float) -> EngineWork:
        """Return what a deployment's engines did over the window; call it after ``observe``."""
        if self._window is None:
            return EngineWork(intervals=(), outcomes=None)
        if self._moment is None or self._moment.now != now:
            self._moment = Moment(self._window, now)
        promised = deployment.objectives
        return engine_work(self._moment, deployment.id, ttft_s=promised.ttft_s, tpot_s=promised.itl_s)

    def serve_state(self, now: float) -> ServeState | None:
        """Return Serve's own account, while it is fresh; call it after ``observe``."""
        look = None if self._window is None else self._window.serve(now)
        return None if look is None else look.state

    def history(self, deployment: DeploymentId, signal: Signal, since: float | None = None, /) -> History:
        """Return one signal's newest past, enough for a forecaster that has not followed it yet."""
        return self._histories.history(deployment, signal, since, last_bins=_NEWEST_BINS)

    def tails(self, held_until: Callable[[DeploymentId, Signal], float | None]) -> tuple[Tail, ...]:
        """Return every history, for the checkpoint; see ``Lasting``."""
        return self._histories.tails(held_until)

    def _window_for(self, control: ControlPolicy) -> Window:
        known = self._control
        if self._window is None or known is None or _lengths(known) != _lengths(control):
            self._window = Window(window_s=control.window_s, max_age_s=control.max_signal_age_s)
        self._control = control
        return self._window


def _promised(deployment: DeploymentPolicy) -> Thresholds:
    return Thresholds(ttft_s=deployment.objectives.ttft_s, itl_s=deployment.objectives.itl_s)


def _lengths(control: ControlPolicy) -> tuple[float, float]:
    return control.window_s, control.max_signal_age_s
