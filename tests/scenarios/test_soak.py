"""A quarter of an hour of ticks holds on to nothing; ``python -m benchmarks.soak`` takes a day."""

from __future__ import annotations

from benchmarks.soak import soaking


async def test_what_is_held_stays_as_it_is() -> None:
    with soaking(kept_s=120.0) as soak:
        await soak.run(480.0)
        before = soak.held()
        await soak.run(300.0)
        after = soak.held()

    assert soak.failed == 0
    assert soak.changes > 0
    assert after.files <= before.files
    assert after.database <= 1.2 * before.database
    assert after.objects <= 1.05 * before.objects
