"""A real Alertmanager beside a running stack, and the stack's own Prometheus sending to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from controller.local.belongings import MARK
from controller.local.calls import request
from controller.local.prometheus import SCRAPE_INTERVAL_S
from controller.local.stack import PROMETHEUS, LocalStack
from tests.stack.observer import Observer

ALERTMANAGER = shutil.which("prometheus-alertmanager")
RECEIVER = "alertmanager"
WEBHOOKS = """
webhooks:
  in:
    - name: {receiver}
      kind: alertmanager
      token_file: {token}
      actions:
        - {{match: {{alertname: SourceStale}}, action: raise_floor, replicas: 1, for_s: 600, target: "{target}"}}
"""
"""What the stack's policy has beside ``manifests/policies/local.yaml``."""


@contextmanager
def alerting(stack: LocalStack, observer: Observer, *, alert: str, token: Path, folder: Path) -> Iterator[str]:
    """Send one of the alerts of the stack's policy, at once instead of after minutes; yields Alertmanager's address."""
    listen = f"127.0.0.1:{_free_port()}"
    rules, config = stack.files.rules, stack.files.root / "prometheus.json"
    before = {path: path.read_text() for path in (rules, config)}
    hook = {
        "url": f"{stack.controller_url}/hooks/{RECEIVER}",
        "send_resolved": True,
        "http_config": {"authorization": {"type": "Bearer", "credentials_file": str(token)}},
    }
    route = {"receiver": RECEIVER, "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1m"}
    receivers = [{"name": RECEIVER, "webhook_configs": [hook]}]
    (folder / "alertmanager.json").write_text(json.dumps({"route": route, "receivers": receivers}))
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(ALERTMANAGER),
                f"--config.file={folder / 'alertmanager.json'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={listen}",
                "--cluster.listen-address=",
            ],
            env=os.environ | {MARK: stack.files.run.run_id},
            stdout=log,
            stderr=log,
        )
        try:
            rules.write_text(_only(alert, before[rules]))
            targets = {"alertmanagers": [{"static_configs": [{"targets": [listen]}]}]}
            config.write_text(json.dumps(json.loads(before[config]) | {"alerting": targets}))
            _reload(stack)
            observer.wait(lambda: listen in _alertmanagers(stack), 30, "Prometheus to know Alertmanager")
            yield f"http://{listen}"
        finally:
            process.terminate()
            process.wait(20)
            for path, text in before.items():
                path.write_text(text)
            _reload(stack)


def _only(alert: str, text: str) -> str:
    """Leave the recording rules as they are, and of the alerts one, held for a second."""
    document = YAML(typ="safe").load(text)
    for group in document["groups"]:
        group["rules"] = [
            {**rule, "for": "1s"} if "alert" in rule else rule
            for rule in group["rules"]
            if rule.get("alert", alert) == alert
        ]
        group["interval"] = f"{SCRAPE_INTERVAL_S}s"
    return json.dumps(document)


def _reload(stack: LocalStack) -> None:
    os.kill(stack.child(PROMETHEUS).process.pid, signal.SIGHUP)


def _alertmanagers(stack: LocalStack) -> str:
    answer: dict[str, Any] = json.loads(request(f"{stack.prometheus_url}/api/v1/alertmanagers"))
    return json.dumps(answer["data"]["activeAlertmanagers"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
