"""Prometheus on this machine: found, configured for the stack, and started on loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from alerts.export import Format, document, to_yaml
from controller.errors import BadInputError
from controller.local.children import Child, spawn
from controller.local.layout import Layout
from controller.local.ports import Ports
from controller.policy.model import Policy

SCRAPE_INTERVAL_S = 2
SERVICE_DISCOVERY = "prom_metrics_service_discovery.json"
"""File that Ray keeps up to date in its folder with the addresses of its agents."""


def find_binary() -> Path:
    """Path of the prometheus binary.

    Raises:
        BadInputError: there is none on PATH.

    """
    found = shutil.which("prometheus")
    if found is None:
        msg = (
            "prometheus is not installed (not on PATH); install it (Debian: apt-get install prometheus), "
            "or give --no-prometheus to go on without it"
        )
        raise BadInputError(msg)
    return Path(found)


def configuration(layout: Layout, ports: Ports) -> str:
    """Return the configuration file: Ray's agents, HAProxy, the controller, our rules. JSON, which is YAML too."""
    interval = f"{SCRAPE_INTERVAL_S}s"
    document = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": [str(layout.rules)],
        "scrape_configs": [
            {
                "job_name": "ray",
                "file_sd_configs": [{"files": [str(layout.ray / SERVICE_DISCOVERY)], "refresh_interval": "5s"}],
                # The same on every series: they only cost memory.
                "metric_relabel_configs": [
                    {"regex": "otel_scope_.*|SessionName|Version|NodeAddress", "action": "labeldrop"}
                ],
            },
            # Ray's file leaves HAProxy out.
            {"job_name": "haproxy", "static_configs": [{"targets": [f"127.0.0.1:{ports.haproxy_metrics}"]}]},
            {"job_name": "foreserve", "static_configs": [{"targets": [f"127.0.0.1:{ports.controller}"]}]},
        ],
    }
    return json.dumps(document, indent=1)


def rules(policy: Policy) -> str:
    """Return the recording rules and alerts of a policy, evaluated as often as is scraped."""
    return to_yaml(document(policy, Format.PROMETHEUS, every_s=SCRAPE_INTERVAL_S), "Rules of this run's policy.")


def start(layout: Layout, ports: Ports, env: Mapping[str, str], policy: Policy) -> Child:
    """Write the configuration and start Prometheus. Raises ``BadInputError`` when it is not installed."""
    binary = find_binary()
    layout.rules.write_text(rules(policy))
    config = layout.root / "prometheus.json"
    config.write_text(configuration(layout, ports))
    command = [
        str(binary),
        f"--config.file={config}",
        f"--storage.tsdb.path={layout.prometheus_data}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address=127.0.0.1:{ports.prometheus}",
        "--log.level=warn",
    ]
    return spawn("Prometheus", command, env=env, log=layout.log("prometheus"))
