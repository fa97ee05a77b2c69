"""Every shipped Serve config is one that Ray takes: by its schema, the builders, and LLMConfig. Starts nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
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


def _paths(*, direct: bool) -> list[Path]:
    return [path for path in EXAMPLES if ("several-models" in path.name) is not direct]


def _building(paths: Sequence[Path], *, direct: bool) -> subprocess.Popen[str]:
    env = os.environ | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": str(int(direct)),
        "RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", _BUILD, *map(str, paths)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def built() -> dict[tuple[str, str], list[str]]:
    """What became of each example, direct and behind an ingress at the same time."""
    rows: list[list[str]] = []
    for paths, build in [(paths := _paths(direct=direct), _building(paths, direct=direct)) for direct in (True, False)]:
        out, problems = build.communicate(timeout=600)
        assert build.returncode == 0, problems[-3000:]
        found = [line.split() for line in out.splitlines() if ".yaml " in line]
        assert {row[0] for row in found} == {path.name for path in paths}
        rows += found
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
        assert built[key][1:] == shape[1:], key
