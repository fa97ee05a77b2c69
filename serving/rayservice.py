"""Writes a Serve config as a RayService for KubeRay: worker groups, secrets and environment that its models need.

``python -m serving.rayservice manifests/examples/serving/canary.gpu.yaml`` prints it, made from the bundled service
(``manifests/base/serving/service.yaml``, for what all have in common); ``--write FOLDER`` writes one for each file. The
sizes of workers are a start: as many GPUs as one replica's tensor parallel size, memory and CPUs in proportion.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from serving import environment
from serving.args import LLMArgs, Router

BASE = Path(__file__).parents[1] / "manifests/base/serving/service.yaml"
_GKE_ACCELERATOR = {
    "L4": "nvidia-l4",
    "A100-80G": "nvidia-a100-80gb",
    "H100": "nvidia-h100-80gb",
    "H200": "nvidia-h200-141gb",
    "B200": "nvidia-b200",
}
_GIB_PER_GPU = 64
_CPUS_PER_GPU = 8
_SPARE_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Workers of one kind: the accelerator, GPUs of one worker, and how many are needed at first."""

    accelerator: str
    gpus: int
    workers: int

    @property
    def name(self) -> str:
        """Its name in the RayCluster."""
        return f"{self.accelerator.lower()}-x{self.gpus}"


def rayservice(name: str, config: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return the RayService of a Serve config. Raises ValueError when a model has no accelerator that GKE names."""
    models = list(_models(config["applications"]))
    made = copy.deepcopy(base)
    made["metadata"] = {"name": name}
    serve = {"proxy_location": "EveryNode", "http_options": {"host": "0.0.0.0", "port": 8000}} | config
    made["spec"]["serveConfigV2"] = yaml.safe_dump(serve, sort_keys=False, width=120)
    cluster = made["spec"]["rayClusterConfig"]
    pattern = cluster["workerGroupSpecs"][0]
    cluster["workerGroupSpecs"] = [_workers(pattern, group) for group in _groups(models)]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    reads_bodies = any(model.lora is not None or model.router is Router.PREFIX for model in models)
    for pod in pods:
        _add(pod["template"]["spec"], secrets=sorted(set(_files(config))), reads_bodies=reads_bodies)
    return made


def _models(applications: Any) -> Iterator[LLMArgs]:
    """Yield every model in the arguments of applications, wherever it stands."""
    if isinstance(applications, list):
        for one in applications:
            yield from _models(one)
    elif isinstance(applications, dict):
        if "model_id" in applications:
            known = {key: value for key, value in applications.items() if key in LLMArgs.model_fields}
            yield LLMArgs.model_validate(known)
        else:
            for one in applications.values():
                yield from _models(one)


def _groups(models: list[LLMArgs]) -> list[Group]:
    workers: dict[tuple[str, int], int] = {}
    for model in models:
        accelerator = model.accelerator_type
        if accelerator not in _GKE_ACCELERATOR:
            msg = f"{model.model_id}: accelerator_type is {accelerator}; give one of {', '.join(_GKE_ACCELERATOR)}"
            raise ValueError(msg)
        key = (accelerator, model.tensor_parallel_size)
        first = model.num_replicas if model.guided is None else model.guided.min_replicas
        workers[key] = workers.get(key, 0) + max(1, first) * model.pipeline_parallel_size
    return [Group(accelerator, gpus, count) for (accelerator, gpus), count in sorted(workers.items())]


def _workers(pattern: dict[str, Any], group: Group) -> dict[str, Any]:
    made = copy.deepcopy(pattern)
    made |= {"groupName": group.name, "replicas": group.workers, "minReplicas": group.workers}
    made["maxReplicas"] = group.workers + _SPARE_WORKERS
    made["rayStartParams"] = {"num-gpus": str(group.gpus)}
    spec = made["template"]["spec"]
    spec["nodeSelector"] = {"cloud.google.com/gke-accelerator": _GKE_ACCELERATOR[group.accelerator]}
    memory = {"memory": f"{_GIB_PER_GPU * group.gpus}Gi", "nvidia.com/gpu": str(group.gpus)}
    spec["containers"][0]["resources"] = {
        "requests": {"cpu": str(_CPUS_PER_GPU * group.gpus), **memory},
        "limits": memory,
    }
    return made


def _files(config: Any) -> Iterator[str]:
    """Yield the folders of secrets that arguments name: every key that ends in ``_file``."""
    if isinstance(config, list):
        for one in config:
            yield from _files(one)
    elif isinstance(config, dict):
        for key, value in config.items():
            if key.endswith("_file") and isinstance(value, str):
                yield str(PurePosixPath(value).parent)
            else:
                yield from _files(value)


def _add(spec: dict[str, Any], *, secrets: list[str], reads_bodies: bool) -> None:
    container = spec["containers"][0]
    for folder in secrets:
        name = PurePosixPath(folder).name
        spec.setdefault("volumes", []).append({"name": name, "secret": {"secretName": name}})
        container.setdefault("volumeMounts", []).append({"name": name, "mountPath": folder, "readOnly": True})
    if reads_bodies:
        container["env"] = [{"name": one.name, "value": one.value} for one in environment.BODY_ROUTING]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: people read this."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def render(path: Path, base: Path = BASE) -> str:
    """Return the RayService of one file, with how it was made."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    name = path.name.partition(".")[0]
    made = rayservice(name, config, yaml.safe_load(base.read_text(encoding="utf-8")))
    head = (
        f"# Made from {path.parent.name}/{path.name} by `python -m serving.rayservice`. Needs the ConfigMap "
        "ray-environment and the\n# Secret ray-auth of the overlays, and an image (foreserve-serving) of your own.\n"
    )
    return head + yaml.dump(made, Dumper=_Dumper, sort_keys=False, width=120)


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    folder = None
    if arguments[:1] == ["--write"] and len(arguments) > 1:
        folder, arguments = Path(arguments[1]), arguments[2:]
    if not arguments:
        sys.stderr.write("usage: python -m serving.rayservice [--write FOLDER] CONFIG...\n")
        return 2
    for name in arguments:
        path = Path(name)
        if folder is None:
            sys.stdout.write(render(path))
        else:
            (folder / f"{path.name.partition('.')[0]}.yaml").write_text(render(path), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
