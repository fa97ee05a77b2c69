"""The policies we ship load, say what the model says, and the reference is up to date."""

from pathlib import Path

import pytest

from controller.policy import reference
from controller.policy.load import load_policy, policy_json_schema
from controller.policy.model import DeploymentPolicy, Mode, Policy
from controller.policy.schema import policy_keys

ROOT = Path(__file__).parents[3]
POLICIES = sorted((ROOT / "manifests" / "policies").glob("*.yaml"))
FULL = ROOT / "manifests" / "policies" / "full.yaml"
MINIMAL = ROOT / "manifests" / "policies" / "minimal.yaml"


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_every_shipped_policy_loads(path: Path) -> None:
    assert load_policy(path).policy.deployments


def test_the_minimal_policy_is_short_and_relies_on_defaults() -> None:
    lines = MINIMAL.read_text(encoding="utf-8").splitlines()
    (deployment,) = load_policy(MINIMAL).policy.deployments

    assert len(lines) <= 20
    assert deployment == DeploymentPolicy.model_validate(
        {
            "application": "chat",
            "deployment": "LLMServer:tiny",
            "limits": {"max_replicas": 4},
            "capacity": {"target_ongoing_requests": 8},
        }
    )


@pytest.mark.parametrize("key", [key for key in policy_keys() if not key.name.endswith("[]")], ids=lambda key: key.name)
def test_the_full_policy_names_every_key(key: object) -> None:
    name = str(getattr(key, "name", "")).rpartition(".")[2]
    keys = {line.split("#")[0].lstrip(" -").partition(":")[0] for line in FULL.read_text(encoding="utf-8").splitlines()}

    assert name in keys


def test_every_default_is_a_promise() -> None:
    smallest = {
        "version": 1,
        "deployments": [
            {
                "application": "a",
                "deployment": "d",
                "limits": {"max_replicas": 2},
                "capacity": {"target_ongoing_requests": 8},
            }
        ],
    }

    policy = Policy.model_validate(smallest)

    assert policy.model_dump() == {
        "version": 1,
        "mode": Mode.DIRECT,
        "control": {"interval_s": 10.0, "window_s": 30.0, "max_signal_age_s": 30.0},
        "budget": None,
        "canaries": (),
        "deployments": (
            {
                "application": "a",
                "deployment": "d",
                "limits": {"min_replicas": 1, "max_replicas": 2, "max_step_up": 16, "max_step_down": 4},
                "capacity": {
                    "target_ongoing_requests": 8.0,
                    "requests_per_s": None,
                    "prefill_tokens_per_s": None,
                    "decode_tokens_per_s": None,
                    "learn": True,
                    "iteration": None,
                    "kv_cache_tokens": None,
                    "max_num_seqs": None,
                    "max_num_batched_tokens": 2048,
                },
                "placement": None,
                "objectives": {"ttft_s": 2.0, "itl_s": 0.1, "success_ratio": 0.99},
                "forecast": {"enabled": True, "quantile": None, "costs": None, "allowed_misses": 0.0025},
                "lead_time": {"assumed_s": None, "warm_replicas": None, "worker_s": None, "node_s": None},
                "stabilisation": {"upscale_delay_s": 0.0, "downscale_delay_s": 300.0, "max_drain_wait_s": 30.0},
                "scale_to_zero": None,
                "events": (),
                "paused": False,
                "gpus_per_replica": None,
                "gpu_price_per_hour": None,
                "priority": 0,
                "weight": 1.0,
            },
        ),
        "cluster": None,
        "overrides": {"max_duration_s": 86_400.0, "max_active": 100},
        "approval": {"expires_after_s": 900.0},
        "webhooks": {"source": "foreserve", "out": (), "in": ()},
    }
    assert policy.deployments[0].forecast.target_quantile == 0.9


def test_every_key_says_what_it_means() -> None:
    assert [key.name for key in policy_keys() if not key.description] == []


def test_the_schema_describes_a_policy_that_forbids_other_keys() -> None:
    schema = policy_json_schema()

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["version", "deployments"]
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values() if "properties" in part)


def test_the_reference_in_the_documentation_is_up_to_date() -> None:
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")

    assert page == reference.with_table(page), "run: python -m controller.policy.reference docs/policy.md"


def test_the_first_policy_in_the_documentation_loads(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    example = tmp_path / "policy.yaml"
    example.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")

    assert load_policy(example).policy.deployments[0].application == "chat"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has no <!-- keys"):
        reference.with_table("# Policy\n")
