from __future__ import annotations

import pytest
from pydantic import ValidationError

from serving.llm import LLMArgs, local_config


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
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LLMArgs.model_validate(wrong)
