"""Records and state survive a round trip through JSON."""

from controller import codec
from controller.domain.identity import DeploymentId
from controller.domain.plan import Order, OrderStatus
from controller.domain.state import DeploymentMemory, PlannerState


def test_state_survives_a_round_trip() -> None:
    chat = DeploymentId("chat", "LLMServer:tiny")
    state = PlannerState(
        deployments=((chat, DeploymentMemory(recommendations=((1.0, 2),), known_since=0.5)),),
        ledger=(
            Order(id=chat, ordered_at=1.0, from_replicas=1, to_replicas=2, deadline=60.0, status=OrderStatus.LATE),
        ),
    )

    assert codec.load_state(codec.dump_state(state)) == state
