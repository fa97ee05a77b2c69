"""The whole circle on real parts: controller, Prometheus with the exported rules, Alertmanager, and back."""

import asyncio
import gzip
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from alerts.export import Format, document
from controller.domain.plan import Action, Reason
from controller.domain.record import TickRecord
from controller.policy.load import load_policy
from controller.settings import load_settings
from tests.serve_rest import CAPTURES, ServeRestStandIn, capture
from tests.unit.test_app import free_port, recorded_page, running

PROGRAMS = {name: shutil.which(name) for name in ("prometheus", "prometheus-alertmanager")}

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        None in PROGRAMS.values(),
        reason="prometheus or prometheus-alertmanager is missing: requirements/setup.sh tests",
    ),
]

POLICY = """\
version: 1
control: {interval_s: 1, window_s: 5, max_signal_age_s: 4}
deployments:
  - application: llmd
    deployment: LLMServer:tiny
    limits: {min_replicas: 1, max_replicas: 4}
    capacity: {target_ongoing_requests: 14}
    stabilisation: {downscale_delay_s: 0, max_drain_wait_s: 0}
webhooks:
  in:
    - name: alertmanager
      kind: alertmanager
      token_file: TOKEN
      actions:
        - {match: {alertname: SourceStale}, action: raise_floor, replicas: 2, for_s: 600, target: "llmd/LLMServer:tiny"}
"""


class Page:
    """HAProxy's recorded page, until it is broken."""

    def __init__(self) -> None:
        self.broken = False
        self.url = ""

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        page = gzip.decompress((CAPTURES / "haproxy_9101_llmd_loaded.prom.gz").read_bytes())

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(status=503) if self.broken else web.Response(body=page, content_type="text/plain")

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()


@asynccontextmanager
async def program(name: str, *arguments: str, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(str(PROGRAMS[name]), *arguments, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), 20)


def write_rules(policy: Path, to: Path) -> None:
    """The exported SourceStale as it is, but for how long it must last."""
    rules = document(load_policy(policy).policy, Format.PROMETHEUS, every_s=1)
    for group in rules["groups"]:
        group["rules"] = [{**rule, "for": "1s"} for rule in group["rules"] if rule.get("alert") == "SourceStale"]
    rules["groups"] = [group for group in rules["groups"] if group["rules"]]
    with to.open("w") as file:
        YAML().dump(rules, file)


def write_configurations(folder: Path, *, controller: int, alertmanager: int) -> None:
    prometheus = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": "foreserve", "static_configs": [{"targets": [f"127.0.0.1:{controller}"]}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
    }
    hook = {
        "url": f"http://127.0.0.1:{controller}/hooks/alertmanager",
        "send_resolved": True,
        "http_config": {"authorization": {"type": "Bearer", "credentials_file": str(folder / "token")}},
    }
    routing: dict[str, Any] = {
        "route": {"receiver": "foreserve", "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1m"},
        "receivers": [{"name": "foreserve", "webhook_configs": [hook]}],
    }
    (folder / "prometheus.json").write_text(json.dumps(prometheus))
    (folder / "alertmanager.json").write_text(json.dumps(routing))


async def test_an_alert_raises_the_floor_while_it_fires(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-alertmanager\n")
    policy, port, alertmanager, prometheus = tmp_path / "policy.yaml", free_port(), free_port(), free_port()
    policy.write_text(POLICY.replace("TOKEN", str(tmp_path / "token")))
    write_rules(policy, tmp_path / "rules.yaml")
    write_configurations(tmp_path, controller=port, alertmanager=alertmanager)
    haproxy = Page()
    async with (
        ServeRestStandIn(document=capture("applications_llmd_loaded")) as serve,
        recorded_page("ray_8080_llmd_loaded.prom.gz") as ray,
        haproxy.served() as front_door,
        running(
            load_settings(
                policy=policy,
                serve_url=serve.base_url,
                ray_metrics_targets=[ray],
                haproxy_urls=[front_door],
                store=tmp_path / "store" / "foreserve.db",
                port=port,
            )
        ) as process,
        program(
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.json'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{prometheus}",
            log=tmp_path / "prometheus.log",
        ),
        program(
            "prometheus-alertmanager",
            f"--config.file={tmp_path / 'alertmanager.json'}",
            f"--storage.path={tmp_path / 'am'}",
            f"--web.listen-address=127.0.0.1:{alertmanager}",
            "--cluster.listen-address=",
            log=tmp_path / "alertmanager.log",
        ),
    ):
        at_first = await process.until(targets(2))

        haproxy.broken = True
        raised = await process.until(raising_to(3), within_s=60)
        await process.until(targets(3))

        haproxy.broken = False
        fallen = await process.until(targets(2), within_s=60)
        async with process.client.get("/metrics") as response:
            page = await response.text()

    assert at_first.overrides == ()
    (override,) = raised.overrides
    assert (override.owner, override.replicas) == ("alertmanager/SourceStale", 2)
    assert "has had no fresh answer from haproxy/" in override.reason
    assert raised.deployments[0].decision.binding is Reason.RAISED_FLOOR
    assert fallen.overrides == ()
    assert 'foreserve_webhooks_received_total{receiver="alertmanager",result="accepted"}' in page
    assert 'foreserve_overrides{action="raise_floor"} 0.0' in page


def raising_to(replicas: int) -> Any:
    def are(record: TickRecord) -> bool:
        decision = record.deployments[0].decision
        return decision.action is Action.SCALE_UP and decision.desired == replicas

    return are


def targets(replicas: int) -> Any:
    """Whether the target is so many, and is to stay."""

    def are(record: TickRecord) -> bool:
        decision = record.deployments[0].decision
        return decision.current == decision.desired == replicas

    return are
