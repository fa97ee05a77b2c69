"""Everything that is read from elsewhere, almost right: it is read, or refused in a sentence; nothing else happens."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings

from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.clients.serve_answer import read_applications
from controller.collectors.exposition import read_exposition
from controller.collectors.prometheus_latency import distributions
from controller.collectors.query_answer import AnswerError, AnswerReader, parse_answer
from controller.errors import BadInputError
from controller.load.trace import read_trace
from controller.policy.load import load_policy
from tests.fuzz.mutations import mutated_bytes, mutated_json

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
POLICY = Path(__file__).parents[2] / "manifests" / "policies" / "full.yaml"
APPLICATIONS = json.loads((CAPTURES / "applications_llmd_loaded.json").read_bytes())
PAGE = b"\n".join(
    line
    for line in gzip.decompress((CAPTURES / "ray_8080_llmd_loaded.prom.gz").read_bytes()).splitlines()
    if b"ray_vllm_" in line or b"ray_serve_replica" in line
)[:60_000]
ANSWER = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {"metric": {"__name__": "up", "instance": "a:1", "job": "ray"}, "values": [[1.0, "1"], [2.0, "1"]]},
            {
                "metric": {
                    "__name__": "ray_vllm_num_requests_running",
                    "instance": "a:1",
                    "job": "ray",
                    "ReplicaId": "r",
                    "WorkerId": "w",
                    "engine": "0",
                    "model_name": "m",
                },
                "values": [[1.0, "3"], [2.0, "4"]],
            },
        ],
    },
}
VECTOR = {
    "status": "success",
    "data": {
        "resultType": "vector",
        "result": [
            {"metric": {"application": "a", "deployment": "d", "le": bound}, "value": [2.0, count]}
            for bound, count in (("0.1", "1"), ("0.5", "3.5"), ("+Inf", "4"))
        ],
    },
}
TRACE = b"t_s,prompt_tokens,output_tokens\n" + b"".join(b"%d.5,%d,%d\n" % (n, 10 + n, 5 + n) for n in range(40))
MOST_CHARS = 2000
"""A refusal is a sentence or a few, however much was wrong."""

fuzzed = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")))
"""A bounded corpus by default; a long hunt with FUZZ_EXAMPLES=20000."""


def _refused(error: Exception, *, names: Path | None = None, most: int = MOST_CHARS) -> None:
    assert 0 < len(str(error)) <= most
    assert names is None or str(names) in str(error)


@fuzzed
@given(mutated_json(APPLICATIONS))
def test_serve_states(document: Any) -> None:
    try:
        state = read_applications(json.dumps(document).encode(errors="surrogatepass"))
    except ValueError as error:
        _refused(error)
    else:
        for application in state.applications:
            for deployment in application.deployments:
                assert deployment.target_replicas is None or deployment.target_replicas >= 0


@fuzzed
@given(mutated_bytes(PAGE))
def test_metrics_pages(page: bytes) -> None:
    samples, errors = read_exposition(page, BY_SAMPLE_NAME)

    assert len(errors) <= 20
    assert all(len(error) <= MOST_CHARS for error in errors)
    assert all(sample.name in BY_SAMPLE_NAME for sample in samples)


@fuzzed
@given(mutated_json(ANSWER))
def test_prometheus_answers(document: Any) -> None:
    try:
        answer = parse_answer(json.dumps(document).encode(errors="surrogatepass"))
    except AnswerError as error:
        _refused(error)
    else:
        assert all(math.isfinite(target.at) for target in answer.targets.values())


_SERIES = ANSWER["data"]["result"][0]


@fuzzed
@given(mutated_json(ANSWER))
@example({"status": "success", "data": {"resultType": "matrix", "result": [_SERIES], "": [{"metric": None}, _SERIES]}})
@example({"status": "success", "data": {"resultType": "matrix", "result": [_SERIES | {"": [[1.0, "3"], [2.0, "9"]]}]}})
def test_prometheus_answers_in_prometheus_own_form_are_read_as_any_json_is(document: Any) -> None:
    body = json.dumps(document, separators=(",", ":")).encode(errors="surrogatepass")
    reader = AnswerReader()
    try:
        expected = parse_answer(body)
    except AnswerError as error:
        with pytest.raises(AnswerError, match=re.escape(str(error))):
            reader.read(body)
    else:
        assert [reader.read(body), reader.read(body)] == [expected, expected]


@fuzzed
@given(mutated_json(VECTOR))
def test_prometheus_vectors(document: Any) -> None:
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
        found = distributions(json.dumps(document).encode(errors="surrogatepass"), "x", 30.0)
        assert all(not math.isnan(part) for one in found for bucket in one.buckets for part in bucket)


@fuzzed
@given(mutated_bytes(POLICY.read_bytes()))
def test_policies(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(text)
    try:
        loaded = load_policy(path)
    except BadInputError as error:
        _refused(error, names=path, most=20 * MOST_CHARS)
    else:
        assert all(one.limits.min_replicas <= one.limits.max_replicas for one in loaded.policy.deployments)


@fuzzed
@given(mutated_bytes(TRACE))
def test_traces(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes(text)
    try:
        trace = read_trace(path)
    except BadInputError as error:
        _refused(error, names=path)
    else:
        assert (trace.prompt_tokens >= 0).all()
        assert (trace.t_s[1:] >= trace.t_s[:-1]).all()


@fuzzed
@given(mutated_bytes(gzip.compress(TRACE, mtime=0)))
def test_packed_traces(tmp_path_factory: pytest.TempPathFactory, packed: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv.gz"
    path.write_bytes(packed)
    try:
        read_trace(path)
    except BadInputError as error:
        _refused(error)
