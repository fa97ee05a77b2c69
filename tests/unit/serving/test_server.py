"""A replica ends with its engine."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ray.serve")

# In a process of its own, which is to end. The server's module imports Ray LLM; only its watch is wanted here.
_REPLICA = """
import asyncio, importlib.util, sys, types, time
for name in ("configs.openai_api_models", "server.llm_server"):
    module = types.ModuleType(f"ray.llm._internal.serve.core.{name}")
    module.ChatCompletionRequest = module.LLMServer = type("LLMServer", (), {})
    sys.modules[module.__name__] = module
from serving.server import _end_with

class Client:
    began = time.monotonic()
    @property
    def errored(self):
        return time.monotonic() - self.began > float(sys.argv[1])

async def main():
    watch = asyncio.create_task(_end_with(Client()))
    await asyncio.sleep(2)
    print("still here")

asyncio.run(main())
"""


@pytest.mark.parametrize(("dies_after_s", "code", "said"), [("0.3", 70, ""), ("1000", 0, "still here")])
def test_a_replica_ends_when_its_engine_has_died_and_not_before(dies_after_s: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _REPLICA, dies_after_s], capture_output=True, text=True, timeout=50, check=False
    )

    assert done.returncode == code, done.stderr
    assert done.stdout.strip() == said
