"""What is remembered of replicas between two looks at Serve."""

from __future__ import annotations

import pytest

from controller.domain.serve import ApplicationState, DeploymentState, Replica, ReplicaState, ServeState
from controller.domain.snapshot import StartupSample
from controller.window.replicas import LONGEST_START_S, KnownReplica, Replicas
from tests.records import CHAT

STARTING, RUNNING = ReplicaState.STARTING, ReplicaState.RUNNING


def state(*replicas: Replica) -> ServeState:
    deployment = DeploymentState(
        id=CHAT,
        status="HEALTHY",
        message="",
        target_replicas=len(replicas),
        config_replicas=1,
        autoscaling_configured=False,
        max_ongoing_requests=None,
        replicas=replicas,
    )
    return ServeState(
        applications=(
            ApplicationState(
                name=CHAT.application,
                status="RUNNING",
                route_prefix="/",
                external_scaler_enabled=True,
                last_deployed_at=None,
                deployments=(deployment,),
            ),
        )
    )


def replica(was: ReplicaState, *, started_at: float | None = 5.0, name: str = "r") -> Replica:
    return Replica(replica_id=name, state=was, started_at=started_at)


def looked(*looks: tuple[float, ServeState]) -> Replicas:
    replicas = Replicas()
    for at, found in looks:
        replicas.record(found, at, oldest=at - 50.0)
    return replicas


def test_a_start_that_was_watched_ends_when_it_is_first_seen_running() -> None:
    replicas = looked(*((at, state(replica(STARTING))) for at in (10.0, 20.0)))
    assert replicas.take_finished([CHAT]) == {CHAT: ()}

    replicas.record(state(replica(RUNNING)), 30.0, oldest=0.0)
    replicas.record(state(replica(RUNNING)), 40.0, oldest=0.0)

    assert replicas.known(CHAT) == {
        "r": KnownReplica("r", was_starting=True, listed_at=40.0, ready_at=30.0, born_at=30.0)
    }
    assert replicas.take_finished([CHAT]) == {
        CHAT: (StartupSample(id=CHAT, replica_id="r", ready_at=30.0, seconds=25.0),)
    }
    assert replicas.take_finished([CHAT]) == {CHAT: ()}


@pytest.mark.parametrize(
    ("started_at", "born_at"),
    [
        pytest.param(5.0, 5.0, id="its-creation"),
        pytest.param(10.0, 10.0, id="just-created"),
        pytest.param(10.1, None, id="created-in-the-future"),
        pytest.param(None, None, id="not-told"),
    ],
)
def test_a_replica_that_ran_at_first_sight_is_as_old_as_it_is(started_at: float | None, born_at: float | None) -> None:
    replicas = looked((10.0, state(replica(RUNNING, started_at=started_at))))

    assert replicas.known(CHAT) == {
        "r": KnownReplica("r", was_starting=False, listed_at=10.0, ready_at=10.0, born_at=born_at)
    }
    assert replicas.take_finished([CHAT]) == {CHAT: ()}


@pytest.mark.parametrize(
    ("started_at", "seconds"),
    [
        pytest.param(20.0, [0.0], id="at-once"),
        pytest.param(20.1, [], id="created-after-it-was-ready"),
        pytest.param(20.0 - LONGEST_START_S, [LONGEST_START_S], id="the-longest"),
        pytest.param(19.0 - LONGEST_START_S, [], id="too-long-to-be-true"),
        pytest.param(None, [], id="not-told"),
    ],
)
def test_a_start_that_cannot_be_is_left_out(started_at: float | None, seconds: list[float]) -> None:
    replicas = looked(
        (10.0, state(replica(STARTING, started_at=started_at))), (20.0, state(replica(RUNNING, started_at=started_at)))
    )

    assert [one.seconds for one in replicas.take_finished([CHAT])[CHAT]] == pytest.approx(seconds)
    assert replicas.known(CHAT)["r"].born_at == 20.0


def test_a_replica_is_remembered_for_a_while_after_it_left() -> None:
    replicas = looked((10.0, state(replica(RUNNING), replica(RUNNING, name="s"))), (20.0, state(replica(RUNNING))))
    assert set(replicas.known(CHAT)) == {"r", "s"}

    replicas.record(state(replica(RUNNING)), 60.0, oldest=10.0)
    assert set(replicas.known(CHAT)) == {"r", "s"}
    replicas.record(state(replica(RUNNING)), 61.0, oldest=10.5)
    assert set(replicas.known(CHAT)) == {"r"}
    replicas.record(state(), 200.0, oldest=150.0)
    assert replicas.known(CHAT) == {}
    replicas.record(state(replica(RUNNING, started_at=190.0)), 210.0, oldest=150.0)
    assert replicas.known(CHAT)["r"].born_at == 190.0
