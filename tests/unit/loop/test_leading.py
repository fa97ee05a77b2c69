"""A leader goes on from what the one before it left, and leaves its own state before anything is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.domain.state import DeploymentMemory, PlannerState
from controller.errors import UnavailableError
from controller.loop.leading import Succession
from tests.records import CHAT

OURS = PlannerState(deployments=((CHAT, DeploymentMemory(last_set=2, attempted=3)),))
LEFT = PlannerState(deployments=((CHAT, DeploymentMemory(last_set=7)),))


@dataclass
class Lease:
    leads: bool = True
    term: int = 1

    @property
    def standing(self) -> str:
        return "b leads"

    def may_act(self) -> bool:
        return self.leads


@dataclass(frozen=True)
class Left:
    state: PlannerState
    words: Mapping[str, Sequence[bytes]] | None = None


@dataclass
class Shelf:
    left: Left | None = None
    problem: str | None = None
    taken: int = 0
    published: list[tuple[int, PlannerState]] = field(default_factory=list)
    words: Mapping[str, Sequence[bytes]] = field(default_factory=dict)

    async def take(self) -> Left | None:
        self.taken += 1
        self._check()
        return self.left

    async def publish(self, state: PlannerState, words: Mapping[str, Sequence[bytes]], *, tick: int) -> None:
        self._check()
        self.words = words
        self.published.append((tick, state))

    def _check(self) -> None:
        if self.problem:
            raise UnavailableError(self.problem)


async def test_alone_it_always_acts_and_leaves_nothing() -> None:
    succession = Succession(None, None)

    term, state = await succession.begin(OURS)

    assert (term.standby(), term.told(), state) == (None, None, OURS)
    assert await succession.leave(term, state, tick=1) is None


async def test_a_new_leader_takes_over_once_a_term() -> None:
    lease, shelf = Lease(), Shelf(Left(LEFT))
    succession = Succession(lease, shelf)

    _, first = await succession.begin(OURS)
    _, second = await succession.begin(first)
    lease.term = 2
    await succession.begin(second)

    assert first == LEFT
    assert shelf.taken == 2


@dataclass
class Said:
    said: Mapping[str, Sequence[bytes]]

    def told(self) -> Mapping[str, Sequence[bytes]]:
        return self.said

    def heed(self, words: Mapping[str, Sequence[bytes]]) -> None:
        self.said = words


async def test_what_people_said_goes_to_the_next_leader_too() -> None:
    shelf, next_one = Shelf(), Said({"override": [b"forgotten"]})
    leader = Succession(Lease(), shelf, Said({"override": [b"a"]}))
    term, state = await leader.begin(OURS)
    await leader.leave(term, state, tick=4)

    shelf.left = Left(OURS, shelf.words)
    await Succession(Lease(term=2), shelf, next_one).begin(PlannerState())

    assert next_one.said == {"override": [b"a"]}


async def test_one_that_cannot_know_what_was_done_waits() -> None:
    succession = Succession(Lease(), Shelf(problem="the API server is away"))

    term, state = await succession.begin(OURS)

    assert state == OURS
    assert term.standby() == "what the leader before did is not known: the API server is away"
    told = term.told()
    assert told is not None
    assert not told.leads


async def test_what_was_planned_in_another_term_is_not_done() -> None:
    lease = Lease()
    term, _ = await Succession(lease, None).begin(OURS)

    lease.term = 2
    assert "changed after this was planned" in str(term.standby())
    lease.leads = False
    assert term.standby() == "another controller acts: b leads"


async def test_an_onlooker_expects_nothing_of_the_target_and_leaves_nothing() -> None:
    shelf = Shelf()
    succession = Succession(Lease(leads=False), shelf)

    term, state = await succession.begin(OURS)

    memory = term.remembered(state).memory(CHAT)
    assert (memory.last_set, memory.attempted) == (None, None)
    assert await succession.leave(term, state, tick=1) is None
    assert (shelf.taken, shelf.published) == (0, [])


async def test_the_state_is_left_for_the_next_one_or_it_is_said_why_not() -> None:
    shelf = Shelf()
    succession = Succession(Lease(), shelf)
    term, state = await succession.begin(OURS)

    assert await succession.leave(term, state, tick=4) is None
    shelf.problem = "forbidden"
    problem = await succession.leave(term, state, tick=5)

    assert shelf.published == [(4, OURS)]
    assert problem == "nothing is lowered while the state cannot be left for the next leader: forbidden"
