"""What the loop expects of a forecaster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History


class Forecaster(Protocol):
    """Predicts the largest demand until ordered capacity can be there."""

    def forecast(
        self,
        history: History,
        signal: Signal,
        *,
        now: float,
        horizon_s: float,
        quantiles: Sequence[float],
        deployment: DeploymentId | None = None,
        promised: float | None = None,
    ) -> Forecast | Unknown:
        """Quantiles of the maximum of ``signal`` over [now, now + horizon_s], or a little longer.

        ``quantiles`` are probabilities in (0, 1), at least one; trust depends on the ``promised`` one of
        them, the highest when None.
        ``deployment`` says whose signal it is, so that what was learned before is used; without it the
        history alone is, and the same arguments always give the same forecast. Unknown, with a reason a
        person can read, when there is too little to go by or the promise was broken.
        """
        ...
