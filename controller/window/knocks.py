"""Signs of demand in front of the replicas: what is left to see while none of them runs.

With no replica, Ray Serve's HAProxy holds requests at its fallback proxy, whose handle queues them. A route
that is gone or a queue that is full shows as failed requests only.
"""

from __future__ import annotations

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Reading
from controller.window.front_door import FrontDoor
from controller.window.http import Failures
from controller.window.reach import Moment, Rate
from controller.window.replica_gauges import handle_queue


def knocks(moment: Moment, deployment: DeploymentId, door: FrontDoor, failed: Failures) -> Reading:
    """Return how many requests are held at the front door or queued at Serve's handles.

    At least 1 while some came, or failed, within the window. Unknown when neither place can be seen.
    """
    queued = handle_queue(moment, deployment)
    seen = [reading for reading in (door.held, queued) if isinstance(reading, Known)]
    if not seen:
        return door.held
    most = max(reading.value for reading in seen)
    came = (door.view.arrivals, door.failures, door.unconnected, failed.shed, failed.errors)
    if any(isinstance(rate, Rate) and rate.per_s > 0.0 for rate in came):
        most = max(most, 1.0)
    return Known(most, min(reading.age_s for reading in seen))
