"""A model that is no LLM, with dynamic batching: requests that come together are computed together.

Import path ``serving.patterns.batching:build``. ``POST`` with ``{"text": …}`` returns a vector and the size of the
batch that it was computed in. The model is a hashing embedder: it stands for any whose cost per batch hardly grows
with the batch. ``offline`` runs the same model over a file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

_SIZE = 64


class BatchingArgs(BaseModel):
    """Arguments of ``build``. Size and wait can be changed on a running service (``user_config``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_replicas: int = Field(default=1, ge=1)
    max_batch_size: int = Field(default=32, ge=1, description="A full batch goes at once.")
    batch_wait_timeout_s: float = Field(default=0.01, ge=0, description="One that is not full waits at most so long.")
    cpus: float = Field(default=0.1, ge=0)


class Embedder:
    """The model itself, for a list of texts at once."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return one unit vector for each text."""
        vectors = np.zeros((len(texts), _SIZE))
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
                vectors[row, digest[0] % _SIZE] += 1 if digest[1] % 2 else -1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)


def build(args: dict[str, Any]) -> Any:
    """Build the application. Called by Serve with the config's ``args``."""
    from ray import serve  # noqa: PLC0415 - the offline way needs no Ray
    from starlette.requests import Request  # noqa: PLC0415 - as above
    from starlette.responses import JSONResponse, Response  # noqa: PLC0415 - as above

    wanted = BatchingArgs.model_validate(args)

    class Batched:
        def __init__(self) -> None:
            self._model = Embedder()

        def reconfigure(self, config: dict[str, Any]) -> None:
            limits = wanted.model_copy(update=config)
            self._embed.set_max_batch_size(limits.max_batch_size)
            self._embed.set_batch_wait_timeout_s(limits.batch_wait_timeout_s)

        @serve.batch(max_batch_size=wanted.max_batch_size, batch_wait_timeout_s=wanted.batch_wait_timeout_s)
        async def _embed(self, texts: list[str]) -> list[dict[str, Any]]:
            return [{"vector": vector.tolist(), "batch": len(texts)} for vector in self._model(texts)]

        async def __call__(self, request: Request) -> Response:
            body = await request.json()
            if not isinstance(body, dict) or not isinstance(body.get("text"), str):
                return JSONResponse({"error": {"message": "text is missing; give {text}"}}, status_code=400)
            return JSONResponse(await self._embed(body["text"]))

    deployment = serve.deployment(
        Batched,
        name="Embedder",
        num_replicas=wanted.num_replicas,
        # More than a batch, or no batch would ever be full.
        max_ongoing_requests=4 * wanted.max_batch_size,
        user_config={"max_batch_size": wanted.max_batch_size, "batch_wait_timeout_s": wanted.batch_wait_timeout_s},
        ray_actor_options={"num_cpus": wanted.cpus},
    )
    return deployment.bind()


def offline(lines: Iterable[str], *, batch: int = 256) -> Iterator[dict[str, Any]]:
    """Embed JSON lines with a ``text`` each, in batches; yields them with their ``vector``."""
    model, rows = Embedder(), (json.loads(line) for line in lines if line.strip())
    while chunk := list(islice(rows, batch)):
        for row, vector in zip(chunk, model([str(row["text"]) for row in chunk]), strict=True):
            yield row | {"vector": vector.tolist()}


def main(arguments: list[str]) -> int:
    """Embed a file of JSON lines: ``python -m serving.patterns.batching IN.jsonl OUT.jsonl``."""
    if len(arguments) != 2:  # noqa: PLR2004
        sys.stderr.write("usage: python -m serving.patterns.batching IN.jsonl OUT.jsonl\n")
        return 2
    source, target = map(Path, arguments)
    with source.open() as lines, target.open("w") as out:
        out.writelines(json.dumps(row) + "\n" for row in offline(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
