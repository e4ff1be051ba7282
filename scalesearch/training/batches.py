"""Which images make up a batch, and reading the next one while the last is at work."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

FEWEST = 2  # images at once, of which batch norm knows a variance
Batch = TypeVar("Batch")
Item = TypeVar("Item")


def shuffled(count: int, batch_size: int, generator: torch.Generator) -> list[np.ndarray]:
    """The indices 0 to count - 1 in random order, in batches of `batch_size`.

    An incomplete last batch is left out when it holds less than half of a batch, whose gradient
    would be noise at full learning rate, or a single image, of which batch norm knows no variance.
    A batch larger than the data is all of the data.
    """
    order = torch.randperm(count, generator=generator).numpy()
    return [order[start:stop] for start, stop in _bounds(count, batch_size)]


def nested_order(count: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """An order of the indices 0 to count - 1 whose first so many stand for all, int64 [count].

    Each beginning lies in every longer one. With labels [count] each class has its share of every
    beginning, within one image.
    """
    draws = np.random.default_rng(seed)
    order = draws.permutation(count)
    if labels is None:
        return order
    own = labels[order]
    place = np.empty(count)  # of each image in its class, from 0 to 1
    for label in np.unique(own):
        of_class = np.flatnonzero(own == label)
        place[of_class] = (np.arange(len(of_class)) + draws.random()) / len(of_class)
    return order[np.argsort(place, kind="stable")]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many batches `shuffled` gives."""
    return len(_bounds(count, batch_size))


def in_order(count: int, batch_size: int) -> list[np.ndarray]:
    """Every index once, in order, the last batch as small as it comes."""
    return [np.arange(s, min(s + batch_size, count)) for s in range(0, count, batch_size)]


def micro_batches(count: int, size: int) -> list[tuple[int, int]]:
    """From and to of parts of `count` images, as equal as can be, of `size` at most.

    But of two at least, as batch norm needs a variance.
    """
    parts = max(1, min(-(-count // size), count // 2))
    bounds = [round(number * count / parts) for number in range(parts + 1)]
    return list(itertools.pairwise(bounds))


def prefetch(read: Callable[[Item], Batch], items: Iterable[Item]) -> Iterator[Batch]:
    """What `read` gives for each item; the next is read in a thread while one is in use."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch") as pool:
        ahead: Future[Batch] | None = None
        for item in items:
            ready, ahead = ahead, pool.submit(read, item)
            if ready is not None:
                yield ready.result()
        if ahead is not None:
            yield ahead.result()


def _bounds(count: int, batch_size: int) -> list[tuple[int, int]]:
    if count <= batch_size:
        return [(0, count)]
    bounds = [(start, start + batch_size) for start in range(0, count - batch_size + 1, batch_size)]
    rest = count % batch_size
    if rest > 1 and 2 * rest >= batch_size:
        bounds.append((count - rest, count))
    return bounds
