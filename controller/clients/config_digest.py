"""A digest that changes when a redeploy resets a deployment's target, and never when it is scaled.

Serve keeps a target that was set from outside as long as the same configuration is deployed again, and
resets it to the configured number as soon as anything in it differs: the deployment's own settings, the
application's code, arguments or environment, or the cluster's target capacity. The digest covers just these,
and whether such a change is being rolled out. It may change without a reset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_CODE_KEYS = ("import_path", "runtime_env", "args", "autoscaling_policy")
"""Keys of an application's config that make up its code version; another version redeploys all of it."""

_DEPLOYMENT_CODE_KEYS = ("request_router_config", "deployment_actors")
"""Keys of *any* of its deployments' configs that do the same."""

_DIGITS = 16


def config_digest(
    deployment: Mapping[str, Any],
    *,
    application: Mapping[str, Any] | None,
    target_capacity: float | None,
    updating: bool,
) -> str:
    """16 hexadecimal digits over what is deployed.

    ``deployment`` is the effective ``deployment_config``; its ``num_replicas`` is the configured number,
    which scaling from outside leaves alone. ``application`` is ``deployed_app_config``, None for an
    application that was deployed from code.

    ``updating`` (the deployment's status is UPDATING) is part of it for two redeploys that no field of the
    configuration tells: other code is reported at once but resets the target only when it has been built,
    and an identical redeploy from code resets it too. Scaling from outside leaves the status alone.
    """
    deployed = {
        "deployment": _without_nulls(deployment),
        "code": _code(application or {}),
        "target_capacity": target_capacity,
        "updating": updating,
    }
    canonical = json.dumps(deployed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGITS]


def _code(application: Mapping[str, Any]) -> dict[str, Any]:
    overrides = application.get("deployments")
    listed = [entry for entry in overrides if isinstance(entry, Mapping)] if isinstance(overrides, list) else []
    return _without_nulls({key: application.get(key) for key in _CODE_KEYS}) | {
        key: [entry[key] for entry in listed if entry.get(key) is not None] for key in _DEPLOYMENT_CODE_KEYS
    }


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    # A setting that is null and one that is left out mean the same; versions of Ray differ in which they report.
    return {key: value for key, value in values.items() if value is not None}
