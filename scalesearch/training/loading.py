"""Processes that read images ahead of a training: started once, kept from trial to trial.

They are torch's DataLoader workers, begun by a server that has torch loaded already (forkserver):
a fork of a process that uses a GPU or threads could hang. Each gets the images of the data set
once, and then requests: which reader, of which images. A reader's result depends on nothing else,
so that it does not matter which process, and how many of them, read.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from scalesearch.errors import TrialError
from scalesearch.training.batches import prefetch
from scalesearch.training.device import prepare_worker

Batch = TypeVar("Batch")
# Makes a batch of images of these indices; picklable, without the images.
Reader = Callable[[Any, np.ndarray], Batch]

_AHEAD = 2  # batches that each process has ready, as torch does by default
_PRELOADED = ["torch", "numpy", "PIL.Image", "scalesearch.training.loading"]
_pool: LoaderPool | None = None  # of this process


class Request(NamedTuple):
    """A batch to be read: of one part of a data set, by a reader."""

    part: int
    read: Reader[Any]
    indices: np.ndarray


class Raised(NamedTuple):
    """An error of a loader process, on its way to whoever waits for the batch.

    Attributes:
        error: that was raised.
        cause: what it was raised from, which says whose fault it is.
    """

    error: BaseException
    cause: BaseException | None

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """It, or what can be said of it where it cannot be pickled."""
        return cls(_portable(error), error.__cause__ and _portable(error.__cause__))


class _Parts(Dataset[Any]):
    """Parts of a data set; an item is a batch that is asked for."""

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts

    def __getitem__(self, request: Request) -> Any:
        try:
            return request.read(self.parts[request.part], request.indices)
        except Exception as error:  # torch would make a RuntimeError with a traceback of it
            return Raised.of(error)


class _Feed(Sampler[Request]):
    """The requests of the training that is under way."""

    def __init__(self) -> None:
        self.requests: Iterable[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)


class LoaderPool:
    """Processes that read the parts of one data set.

    Attributes:
        parts: images, told apart by identity.
        count: of the processes.
    """

    def __init__(self, parts: tuple[Any, ...], count: int, *, pinned: bool) -> None:
        self.parts, self.count, self.pinned = parts, count, pinned
        self._feed = _Feed()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._loader = DataLoader(
            _Parts(parts),
            sampler=self._feed,
            batch_size=None,
            num_workers=count,
            collate_fn=_as_it_is,
            worker_init_fn=_begin,
            multiprocessing_context=context,
            prefetch_factor=_AHEAD,
            persistent_workers=True,
            pin_memory=pinned,
            generator=torch.Generator(),  # else it draws from that of the caller
        )

    def fits(self, parts: tuple[Any, ...], count: int, *, pinned: bool) -> bool:
        """Whether these processes can be used."""
        same = len(parts) == len(self.parts) and all(map(_is, parts, self.parts))
        return same and (self.count, self.pinned) == (count, pinned)

    def read(self, requests: Iterable[Request]) -> Iterator[Any]:
        """The batches of the requests in their order, which are taken a few ahead.

        Raises:
            TrialError: a process died, as the system's out-of-memory killer ends them.
        """
        self._feed.requests = requests
        with _without_main():
            batches = iter(self._loader)
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:  # of the processes, not of an image: they are of no use now
                close_loaders()
                raise _lost(error) from ChildProcessError(errno.ECHILD, str(error))
            if batch is None:
                return
            if isinstance(batch, Raised):
                raise batch.error from batch.cause
            yield batch

    @property
    def pids(self) -> list[int]:
        """Of the processes that were started."""
        iterator = self._loader._iterator
        return [] if iterator is None else [each.pid for each in iterator._workers]  # type: ignore[attr-defined]


def loader_pool(parts: tuple[Any, ...], count: int, *, pinned: bool) -> LoaderPool:
    """The processes of this process for these images: those of the trial before, or new ones."""
    global _pool
    if _pool is None or not _pool.fits(parts, count, pinned=pinned):
        close_loaders()
        _pool = LoaderPool(parts, count, pinned=pinned)
    return _pool


def close_loaders() -> None:
    """Ends the loader processes of this process, if it has any."""
    global _pool
    pool, _pool = _pool, None
    iterator = None if pool is None else pool._loader._iterator
    if iterator is not None:
        iterator._shutdown_workers()  # type: ignore[attr-defined]


def in_thread(
    parts: tuple[Any, ...], requests: Iterable[Request], *, pinned: bool
) -> Iterator[Any]:
    """The batches of the requests, each read in a thread while the one before is in use."""

    def read(request: Request) -> Any:
        batch = request.read(parts[request.part], request.indices)
        return batch.pin_memory() if pinned else batch

    return prefetch(read, requests)


def _lost(error: Exception) -> TrialError:
    """What is said of processes that are gone: it is a fault of the machine, not of a network."""
    first = str(error).partition("\n")[0]
    return TrialError(
        f"the processes that read images are lost: {first} (where memory or /dev/shm is short, "
        "fewer `loaders` take less)"
    )


def _portable(error: BaseException) -> BaseException:
    """An error as it is after pickling, or its traceback as text where it cannot be pickled."""
    try:
        copy: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a stranger's class does
        return RuntimeError("".join(traceback.format_exception(error)))
    return copy


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin(number: int) -> None:
    """Sets up a new process: it ends when the one that started it does, however that ended.

    Ctrl-C reaches every process of a terminal; the one that waits for this one ends it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_worker(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # torch looks at the parent by the system's word, which is the server that made this process.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _is(one: Any, other: Any) -> bool:
    return one is other


@contextmanager
def _without_main() -> Iterator[None]:
    """New processes do not run the main script again.

    They need nothing of it, and one without `if __name__ == "__main__"` would start its study anew.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        main.__spec__ = None
        if "__file__" in kept:
            del main.__file__
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)
