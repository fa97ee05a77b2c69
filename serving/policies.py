"""The policies that a Serve config names.

Their work is done elsewhere: Ray ships this module by value, copied anew for each deployment, so nothing shared, and
nothing that cannot be pickled, may stand in it.
"""

from __future__ import annotations

from serving import guided


class GuidedPolicy(guided.GuidedPolicy):
    """Guided mode; see ``serving.guided``."""
