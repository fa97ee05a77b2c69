"""Every shipped Serve config is one that Ray takes: by its schema, the builders, and LLMConfig. Starts nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "manifests/examples/serving").glob("*.yaml"))

# Each file in one process: imports of Ray LLM take ten seconds, and direct streaming is read when it is imported.
_BUILD = """
import sys, importlib, yaml
from ray.serve.schema import ServeDeploySchema
for path in sys.argv[1:]:
    config = ServeDeploySchema.model_validate(yaml.safe_load(open(path)))
    for application in config.applications:
        module, name = application.import_path.split(":")
        built = getattr(importlib.import_module(module), name)(dict(application.args))
        options = built._bound_deployment
        bundles = options._replica_config.placement_group_bundles or []
        print(path.rsplit("/", 1)[1], application.name, options.name, len(bundles),
              sum(int(one.get("GPU", 0)) for one in bundles), options._replica_config.placement_group_strategy)
"""


@pytest.fixture(scope="module", params=["direct", "behind an ingress"])
def built(request: pytest.FixtureRequest) -> dict[tuple[str, str], list[str]]:
    direct = request.param == "direct"
    paths = [str(path) for path in EXAMPLES if ("several-models" in path.name) is not direct]
    env = os.environ | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": str(int(direct)),
        "RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, *paths], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.split() for line in done.stdout.splitlines() if ".yaml " in line]
    assert {row[0] for row in rows} == {Path(path).name for path in paths}
    return {(row[0], row[1]): row[2:] for row in rows}


def test_every_example_builds(built: dict[tuple[str, str], list[str]]) -> None:
    assert built


def test_gpus_lie_as_the_config_says(built: dict[tuple[str, str], list[str]]) -> None:
    wanted = {
        ("single.gpu.yaml", "chat"): ["LLMServer:llama-3--1-8b", "1", "1", "STRICT_PACK"],
        ("tensor-pipeline.gpu.yaml", "chat"): ["LLMServer:llama-3--1-405b", "16", "16", "PACK"],
        ("several-apps.gpu.yaml", "large"): ["LLMServer:llama-3--3-70b", "4", "4", "STRICT_PACK"],
    }
    for key, shape in wanted.items():
        if key in built:
            assert built[key][1:] == shape[1:], key
