"""The whole loop in virtual time: what it does about load, and about not knowing the load."""

from pathlib import Path

import pytest

from controller.domain.plan import Action, OutcomeStatus, Reason
from controller.domain.scrape import SourceKind
from controller.policy.load import PolicyFile
from controller.policy.model import Mode
from tests.scenarios.world import FixedPolicy, World, chat, lowered, outcomes, policy, targets


def burst(t_s: float) -> float:
    """Two requests in flight; twelve from the second to the fifth minute."""
    return 12.0 if 120 <= t_s < 300 else 2.0


def busy(_: float) -> float:
    return 10.0


async def test_a_burst_is_served_and_then_given_back() -> None:
    world = World(burst, policy_source=FixedPolicy(policy(forecast=False)))

    calm, during, after = await world.run(120), await world.run(180), await world.run(240)

    assert targets(calm) == [1]
    assert chat(during[0]).decision.action is Action.SCALE_UP
    assert chat(during[0]).decision.binding is Reason.DEMAND
    assert len(world.deployment.ready) == 1
    assert chat(during[-1]).snapshot.target_replicas == 3
    assert chat(during[-1]).snapshot.replicas.ready == 3
    assert targets(after)[-1] == 1
    assert world.direct.applied == [3, 1]


async def test_a_rising_load_is_met_before_it_is_there() -> None:
    """Load climbs by one request every ten seconds; a replica takes twenty seconds to start."""
    world = World(lambda t_s: 1.0 + t_s / 10)

    records = await world.run(150)

    ahead = [record for record in map(chat, records) if record.decision.action is Action.SCALE_UP]
    assert {record.decision.binding for record in ahead} >= {Reason.FORECAST}
    sizes = {step.stage: step.replicas for step in ahead[-1].decision.steps}
    assert max(sizes.values()) > sizes[ahead[-1].decision.steps[0].stage]


async def test_the_ledger_follows_ordered_capacity_until_it_comes() -> None:
    world = World(busy, policy_source=FixedPolicy(policy(forecast=False)))

    first = (await world.run(5))[0]
    later = (await world.run(30))[-1]

    assert [(order.from_replicas, order.to_replicas, order.status.value) for order in first.ledger] == [
        (1, 3, "pending")
    ]
    assert [order.status.value for order in later.ledger] == ["arrived"]
    assert chat(later).decision.lead.source.value == "measured"
    assert chat(later).decision.lead.p50_s == pytest.approx(20.0)


@pytest.mark.parametrize("source", [SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE])
async def test_one_source_stopped_for_a_minute_lowers_nothing(source: SourceKind) -> None:
    """Load falls while the source is away, and nothing is delayed: only the blind spot holds the target."""
    given_up_at_once = FixedPolicy(policy(forecast=False, downscale_delay_s=0))
    world = World(lambda t_s: 10.0 if t_s < 140 else 1.0, policy_source=given_up_at_once)
    await world.run(115)

    world.deployment.silent.add(source)
    blind = await world.run(60)
    world.deployment.silent.clear()
    seeing = await world.run(60)

    assert lowered(blind) == []
    assert any(source in sentence for sentence in blind[-1].degraded)
    assert lowered(seeing) != []
    assert len(world.deployment.replicas) == 1


async def test_with_everything_unreachable_targets_are_held_and_nothing_is_written() -> None:
    world = World(busy)
    await world.run(120)
    before = len(world.deployment.replicas)

    world.deployment.silent.update(SourceKind)
    blind = await world.run(300)

    assert outcomes(blind) == {OutcomeStatus.NOTHING_TO_DO}
    assert chat(blind[-1]).decision.binding is Reason.NO_DATA
    assert chat(blind[-1]).decision.desired is None
    assert len(world.deployment.replicas) == before


async def test_advisory_by_the_policy_touches_nothing() -> None:
    world = World(busy, policy_source=FixedPolicy(policy(mode=Mode.ADVISORY)))

    records = await world.run(60)

    assert outcomes(records) == {OutcomeStatus.ADVISED}
    assert world.direct.applied == []
    assert len(world.deployment.replicas) == 1
    assert all(record.mode == "advisory" for record in records)


async def test_advisory_by_the_command_line_overrides_the_policy() -> None:
    world = World(busy, advisory=True)

    records = await world.run(60)

    assert {record.mode for record in records} == {"advisory"}
    assert world.direct.applied == []


async def test_a_changed_mode_and_limit_hold_from_the_next_tick() -> None:
    source = FixedPolicy(policy(mode=Mode.ADVISORY, forecast=False))
    world = World(busy, policy_source=source)
    await world.run(20)

    source.replace(policy(mode=Mode.DIRECT, max_replicas=2, forecast=False))
    records = await world.run(20)

    assert chat(records[0]).outcome.status is OutcomeStatus.APPLIED
    assert world.direct.applied == [2]
    assert records[0].policy_version == "1" * 12
    assert chat(records[0]).terms.max_replicas == 2


async def test_a_policy_that_turns_to_garbage_leaves_the_last_good_one_in_force(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(LOCAL_POLICY)
    world = World(busy, policy_source=PolicyFile(file))
    good = await world.run(5)

    file.write_text("deployments: [")
    broken = await world.run(20)
    file.write_text(LOCAL_POLICY.replace("max_replicas: 2", "max_replicas: 3"))
    mended = await world.run(5)

    assert {record.policy_version for record in broken} == {good[0].policy_version}
    assert all("stays in force" in record.degraded[0] for record in broken)
    assert len(world.logged("policy_rejected")) == 1
    assert mended[0].policy_version != good[0].policy_version
    assert mended[0].degraded == ()


LOCAL_POLICY = """\
version: 1
control: {interval_s: 5, window_s: 15, max_signal_age_s: 15}
deployments:
  - application: chat
    deployment: LLMServer:tiny
    limits: {max_replicas: 2}
    capacity: {target_ongoing_requests: 4}
"""
