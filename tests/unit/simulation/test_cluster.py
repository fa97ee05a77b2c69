"""Cluster files: the shipped one is right, and a wrong one is told where."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import BadInputError
from controller.simulation.cluster import load_cluster

SHIPPED = Path(__file__).parents[3] / "manifests" / "clusters" / "llama-3.1-8b-rtx4090.yaml"


def test_the_shipped_cluster_is_the_measured_replica():
    cluster = load_cluster(SHIPPED)
    assert cluster.replica.iteration_base_s == 0.0163
    assert cluster.replica.startup_s == (60.0, 180.0)
    assert (cluster.limits.max_replicas, cluster.clients.abandon_s) == (48, 60.0)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  gpus: 1 ", "  gpu: 1 ", "replica.gpu"),
        ("[60, 180]", "[180, 60]", "startup_s must be"),
        ("  max_replicas: 48", "  max_replicas: 0", "limits.max_replicas"),
        ("  max_num_seqs: 256", "  max_num_seqs: 4096", "max_num_batched_tokens must exceed"),
        ("replica: ", "replica: [", "not YAML"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, old, new, told):
    path = tmp_path / "cluster.yaml"
    text = SHIPPED.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(BadInputError, match=told) as raised:
        load_cluster(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        load_cluster(tmp_path / "none.yaml")
