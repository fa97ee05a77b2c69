"""Ways to cut a number of GPUs into pieces."""

from __future__ import annotations

import functools


@functools.lru_cache(maxsize=4096)
def full_cuts(gpus: int, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Every way to cut ``gpus`` into pieces of the given sizes so that no further piece fits.

    Each way is the count for each size. What can be cut at all can be cut from one of these by leaving pieces
    unused. ``full_cuts(4, (1, 3))`` is ``((4, 0), (1, 1))``.
    """
    return tuple(cut for cut in cuts(gpus, sizes) if sizes and gpus - _used(cut, sizes) < min(sizes) and any(cut))


@functools.lru_cache(maxsize=4096)
def cuts(gpus: int, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Every way to cut at most ``gpus`` into pieces of the given sizes, none at all included."""
    if not sizes:
        return ((),)
    first, rest = sizes[0], sizes[1:]
    return tuple(
        (count, *others) for count in range(gpus // first, -1, -1) for others in cuts(gpus - count * first, rest)
    )


def _used(cut: tuple[int, ...], sizes: tuple[int, ...]) -> int:
    return sum(count * size for count, size in zip(cut, sizes, strict=True))
