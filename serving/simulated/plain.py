"""The simulated engine behind plain uvicorn, without Ray: ``python -m serving.simulated.plain PORT [JSON]``.

What remains of a request's time here is the engine's and the API's own; the rest elsewhere is orchestration.
"""

from __future__ import annotations

import json
import sys

import uvicorn

from serving.simulated.batcher import Batcher, Silent
from serving.simulated.openai_api import application
from serving.simulated.timing import SimulatedModel


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    if len(arguments) not in {1, 2} or not arguments[0].isdigit():
        sys.stderr.write('usage: python -m serving.simulated.plain PORT [\'{"gpu": "H100"}\']\n')
        return 2
    model = SimulatedModel.model_validate(json.loads(arguments[1]) if len(arguments) > 1 else {})
    app = application(Batcher(model, Silent()), "tiny")
    uvicorn.run(app, host="127.0.0.1", port=int(arguments[0]), log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
