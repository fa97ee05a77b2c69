from __future__ import annotations

import pytest
from pydantic import ValidationError

from serving.args import Backend, GuidedArgs, LLMArgs, LoraArgs, Models
from serving.llm import application, autoscaling_config, bundles, deployment_config, local_config


def test_the_application_opens_the_scale_api_and_leaves_the_number_of_replicas_to_it() -> None:
    (application,) = local_config(model_source="/models/tiny", http_port=8000)["applications"]

    assert application["external_scaler_enabled"] is True
    assert application["args"]["num_replicas"] == 1
    assert "autoscaling" not in str(application)


def test_the_config_names_what_the_controller_looks_for() -> None:
    config = local_config(model_source="/models/tiny", http_port=18_000)

    assert config["applications"][0]["name"] == "chat"
    assert config["applications"][0]["route_prefix"] == "/"
    assert config["http_options"] == {"host": "127.0.0.1", "port": 18_000}


def test_arguments_in_the_config_are_those_that_the_builder_takes() -> None:
    (application,) = local_config(model_source="/models/tiny", http_port=8000)["applications"]

    assert LLMArgs.model_validate(application["args"]).model_id == "tiny"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"model_id": "", "model_source": "/m"}, id="no name"),
        pytest.param({"model_id": "m", "model_source": "/m", "num_replicas": None}, id="no number of replicas"),
        pytest.param({"model_id": "m", "model_source": "/m", "autoscaling_config": {}}, id="unknown argument"),
        pytest.param({"model_id": "m"}, id="no source"),
        pytest.param({"model_id": "m", "model_source": "/m", "tensor_parallel_size": 2}, id="CPUs have no GPUs"),
        pytest.param(
            {"model_id": "m", "model_source": "/m", "max_ongoing_requests": 8, "shed_above": 8}, id="never sheds"
        ),
        pytest.param(
            {"model_id": "m", "model_source": "/m", "lora": {"dynamic_lora_loading_path": "/l"}}, id="blind to adapters"
        ),
        pytest.param(
            {"model_id": "m", "model_source": "/m", "router": "prefix", "lora": {"dynamic_lora_loading_path": "/l"}},
            id="prefixes with adapters",
        ),
        pytest.param(
            {
                "model_id": "m",
                "model_source": "/m",
                "guided": {"min_replicas": 3, "max_replicas": 2, "target_ongoing_requests": 8},
            },
            id="bounds out of order",
        ),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LLMArgs.model_validate(wrong)


def gpu(**more: object) -> LLMArgs:
    return LLMArgs.model_validate({"model_id": "m", "model_source": "hub/m", "backend": Backend.GPU} | more)


def test_a_replica_reserves_a_gpu_for_each_part_of_the_model() -> None:
    wanted = gpu(tensor_parallel_size=4, pipeline_parallel_size=2)

    assert bundles(wanted) == [{"CPU": 1, "GPU": 1}] * 8


def test_without_a_gpu_no_bundle_has_one() -> None:
    assert bundles(LLMArgs(model_id="m", model_source="/m")) == [{"CPU": 0.5}]


def test_serve_either_scales_by_itself_or_lets_the_number_be_set() -> None:
    guided = GuidedArgs(max_replicas=4, target_ongoing_requests=8)
    for args in (gpu(), gpu(guided=guided)):
        options = deployment_config(args)
        assert ("num_replicas" in options) != ("autoscaling_config" in options)
        assert application("a", args)["external_scaler_enabled"] is ("num_replicas" in options)


def test_new_replicas_start_before_old_ones_leave_unless_told_otherwise() -> None:
    assert deployment_config(gpu())["max_surge_percent"] == 20
    assert deployment_config(gpu(max_surge_percent=0))["max_surge_percent"] == 0


def test_a_floor_is_followed_without_a_delay() -> None:
    config = autoscaling_config(GuidedArgs(max_replicas=4, target_ongoing_requests=8, controller_url="http://c:9900"))

    assert config["upscale_delay_s"] == 0
    assert config["policy"]["policy_function"] == "serving.policies:GuidedPolicy"
    assert config["policy"]["policy_kwargs"]["controller_url"] == "http://c:9900"


def test_a_model_is_given_once() -> None:
    with pytest.raises(ValidationError, match="given twice"):
        Models(models=(gpu(), gpu()))


def test_adapters_need_a_router_that_reads_the_request() -> None:
    assert gpu(lora=LoraArgs(dynamic_lora_loading_path="s3://b/l"), router="least_busy").lora is not None
