"""Every contract on one page: all that the core calls on a plug-in, a space or a data set.

A plug-in is a frozen dataclass whose fields are its options in YAML; its file's name is its name
there. `package.module:Name` in place of a name takes any class that keeps the same contract; it
need not subclass anything. What it may leave out is declared in `Hooks`, with its default.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from scalesearch.arch.detector import Architecture

# `necks/`: declared where necks are described, as a description must not need this page.
from scalesearch.arch.neck import FusionTable as FusionTable
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.history.jobs import Infeasible, Job, Outcome, Result, Score, Whereabouts
from scalesearch.scaling.detector import Scaling
from scalesearch.view import View as View

if TYPE_CHECKING:
    import numpy as np
    import optuna
    import torch

    from scalesearch.population.feasible import Count, FeasibleSet
    from scalesearch.population.tables import Tables

Choice = int | float | str | bool
Parameters = Mapping[str, Choice]


class Hooks:
    """What the core reads with `hook`, and what holds for a plug-in that does not have it.

    Attributes:
        task: of a data set or an evaluator: `classification` or `detection`, whose studies may use
            it; by default both.
        metrics: of an evaluator: names of its scores, `ap/CLASS` for one of each class. By default
            an objective is not checked before the first score.
        epochs: of an evaluator: passes over the training images. By default it is not known how
            long a trial takes.
        validate_every: of an evaluator: epochs from one score to the next.
        seeds: of an evaluator: trainings for one score; with several nothing is stopped early.
        fidelities: of an evaluator: of `data` and `resolution` those of which epochs of a training
            can have less; `evaluate` then has a parameter `schedule`. By default all are whole.
        trains: of an evaluator: whether it needs a built model and the images of a data set.
        minimizes: of an evaluator: whether its scores are metrics of which less is better, with
            their signs changed; a reward would then be turned round.
        gives_latency: of an evaluator: whether it knows the latency of networks (`latency_of`), so
            that none is measured.
        paths: of the images of a data set: their files. By default a report cannot show them.
        containers: of images without `paths`: the files that they lie in, in any number, such as
            archives. By default a pack of them is known by the pixels of a few.
        in_memory: of the images of a data set: they are read at the speed of memory, as they are
            arrays or mapped into it; no process of its own is worth its start for that, and no
            pack.
        presets: of any plug-in: its options by the names that `recipe` may have.
        sources: of any plug-in: those of its options that name a network, or a file that has one.
        score: of an evaluator: from a trained network, its architecture and a data set to the
            scores (name to number) on its `test` images, the only ones that it has then; with
            `fidelities` also a `schedule`, as `evaluate`. By default no network is scored on them.
    """

    task: ClassVar[str | None] = None
    metrics: ClassVar[Sequence[str] | None] = None
    epochs: int | None = None
    validate_every: int = 1
    seeds: int = 1
    fidelities: ClassVar[Sequence[str]] = ()
    trains: bool = True
    minimizes: bool = False
    gives_latency: bool = False
    paths: Sequence[str] | None = None
    containers: Sequence[str] | None = None
    in_memory: bool = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    sources: ClassVar[Sequence[str]] = ()
    score: Callable[..., Mapping[str, float]] | None = None

    def networks(self, space: Space) -> Sequence[tuple[Choice, ...]] | None:
        """Of an evaluator: the networks of a space that it can score, each a choice for every
        parameter; None for all.
        """

    def bound(self, space: Space) -> Any:
        """Of an evaluator: the one that scores the networks of this space; None for itself.

        Only that one needs `evaluate`.
        """

    def latency_of(self, architecture: Any) -> float | None:
        """Of an evaluator: seconds of a forward pass, if it knows."""

    def check(self, architecture: Architecture) -> None:
        """Of an evaluator: raises `UserError` before a phase if options do not fit a network.

        Of an exporter: the same before anything is trained, for a study's baseline.
        """

    def require_files(self) -> None:
        """Of an evaluator: raises `UserError`, before the first phase, for a file that it needs and
        that is not there.
        """

    def notes(self, norm: str) -> Sequence[str]:
        """Of an evaluator: sentences shown before a phase of networks with this norm."""
        return ()

    def notes_on(self, architectures: Sequence[Architecture]) -> Sequence[str]:
        """Of an evaluator: sentences shown before a phase, about its networks as far as they are
        known, the first at least; `UserError` if none of them can be trained so.
        """
        return ()

    def start(self) -> None:
        """Of an executor: starts or joins within `connect` what `run` needs, or `UserError`."""

    def prepare(self, threads: int) -> None:
        """Of `Assess`: sets up a worker's process before its first job."""

    def where(self) -> Whereabouts:
        """Of `Assess`: the machine and device of this process, and what its last job took."""
        return Whereabouts(platform.node())

    def tidy(self) -> None:
        """Of `Assess`: gives memory back once a job has ended."""

    def close(self) -> None:
        """Of `Assess`: ends what it has started, once a process that lives on has no more jobs."""

    def smaller(self) -> Any:
        """Of an evaluator: the same training with less memory in a step; None if there is none."""

    def fitted(self, architecture: Architecture) -> Any:
        """Of an evaluator: the same one made for a network and the device of this process.

        By default it is itself: None.
        """


def hook(plugin: Any, name: str) -> Any:
    """An optional attribute of a plug-in (or of its class), or the default of `Hooks`."""
    return getattr(plugin, name, getattr(Hooks(), name))


class Space(Protocol):
    """`spaces/`: a set of architectures with a bijection from parameters to them."""

    @property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Each parameter's choices, in the order of the file."""

    @property
    def size(self) -> int:
        """How many different architectures there are, exactly."""

    def decode(self, parameters: Parameters) -> Architecture:
        """The architecture of these parameters; `UserError` names a wrong one."""

    def encode(self, architecture: Architecture) -> dict[str, Choice]:
        """The parameters of an architecture; `UserError` if it is not in this space."""

    def sample(self, seed: int) -> Architecture:
        """One architecture, each equally likely, the same for the same seed."""

    def points(self) -> Iterator[dict[str, Choice]]:
        """The parameters of every architecture once, in a fixed order."""

    def at(self, row: np.ndarray) -> Architecture:
        """The architecture of a row of `tables`."""

    def locate(self, parameters: Parameters) -> tuple[int, ...]:
        """The row of these parameters in `tables`; `UserError` as from `decode`."""

    def chosen(self, rows: np.ndarray) -> np.ndarray:
        """For each row the position of every parameter's choice, int [n, parameters].

        Rows of one network have one choice, though several combinations may give it.
        """

    def nearest(self, parameters: Parameters) -> dict[str, Choice]:
        """Parameters that are in the space, and differ from these in the fewest."""

    def tables(self, workload: Workload) -> Tables:
        """What the architectures cost, many at once."""

    def within(self, limits: Limits, workload: Workload) -> FeasibleSet:
        """The architectures within the limits on counted costs: how many, and draws of them."""

    def count(self, limits: Limits, *, workload: Workload) -> Count:
        """How many architectures are within the limits."""

    def feasible(
        self, limits: Limits, n: int, seed: int, *, workload: Workload
    ) -> Sequence[Architecture]:
        """`n` architectures within the limits, independent and each equally likely."""


class SlottedSpace(Space, Protocol):
    """A space whose networks take one value from each of several slots, as backbones do."""

    @property
    def slots(self) -> Mapping[str, tuple[Any, ...]]:
        """Each part of a network (`stem`, `stage1`, …, `head`, `resolution`) to its values."""

    def with_images(self, in_channels: int, num_classes: int) -> SlottedSpace:
        """The same space for other images: the data set decides these two, not the search."""


class CoefficientSpace(Space, Protocol):
    """A space each of whose points is one way to scale a baseline."""

    def coefficients(self, parameters: Parameters) -> Scaling:
        """The coefficients of these parameters; `UserError` if the space does not have them."""


class Sampler(Protocol):
    """`samplers/`: proposes parameters. Optuna samplers, and anything that subclasses theirs."""

    def make(
        self, space: Space, seed: int, limits: Limits, workload: Workload
    ) -> optuna.samplers.BaseSampler:
        """A sampler for one trial: it learns from the study's trials alone and keeps no state.

        Random draws may come from `space.feasible(limits, …)`. A proposal that is over a limit
        appears in the study as a pruned trial with constraints above 0.
        """


class Images(Protocol):
    """Labelled images that a worker can read in batches."""

    @property
    def labels(self) -> np.ndarray:
        """The class of each image, int64 [N]."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, view: View) -> torch.Tensor:
        """What a trainer sees of these images, uint8 [B, C, view.size, view.size], its own.

        It depends on the images, their indices and the view alone, and is called in several
        processes and threads. `view.see(index, pixels)` makes it of an image uint8 [C, H, W].
        """


@dataclass(frozen=True)
class LeftOut:
    """Files that a data set does not take, for one reason.

    Attributes:
        reason: in words that follow a number: `links to nothing`.
        count: how many they are.
        names: the first few.
    """

    reason: str
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class FileAccount:
    """What became of every file that a data set saw.

    Attributes:
        taken: how many files of each ending train, validate or test.
        left_out: the others, by reason.
    """

    taken: Mapping[str, int]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def seen(self) -> int:
        """All of them."""
        return sum(self.taken.values()) + sum(one.count for one in self.left_out)

    def __str__(self) -> str:
        """`9 files seen, 8 taken (6 .png, 2 .jpg), left out: 1 links to nothing (cat/a.png)`."""
        kinds = ", ".join(f"{count:,} {ending}" for ending, count in self.taken.items())
        head = f"{self.seen:,} files seen, {sum(self.taken.values()):,} taken ({kinds})"
        if not self.left_out:
            return head
        parts = []
        for one in self.left_out:
            more = f" and {one.count - len(one.names):,} more" if one.count > len(one.names) else ""
            parts.append(f"{one.count:,} {one.reason} ({', '.join(one.names)}{more})")
        return f"{head}, left out: {', '.join(parts)}"


@dataclass(frozen=True)
class ImageData:
    """A data set split for a study.

    Attributes:
        classes: names, in the order of the labels.
        channels: 1 or 3.
        mean, std: of each channel over the training images, on the scale 0 to 1.
        flip: whether a mirrored image keeps its label.
        notes: what is irregular in it and how that was handled, in sentences.
        files: what became of its files, if it was read from some.
        test: images that no phase sees, on which the reported networks are scored once at the end.
    """

    train: Images
    validation: Images
    classes: tuple[str, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    notes: tuple[str, ...] = ()
    files: FileAccount | None = None
    test: Images | None = None

    @property
    def outputs(self) -> dict[str, Any]:
        """What a network's outputs mean: the classes."""
        return {"classes": self.classes}


@dataclass(frozen=True)
class Targets:
    """The objects of one image.

    Attributes:
        boxes: float32 [M, 4]: x0, y0, x1, y1 in pixels of the image.
        labels: int64 [M], from 0.
        crowd: bool [M]: ignored in evaluation, whether detected or not.
        areas: float64 [M]: pixels of the objects themselves, which decide whether they count as
            small, medium or large; of their boxes by default.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


class BoxImages(Protocol):
    """Images with objects that a worker can read one by one."""

    @property
    def ids(self) -> Sequence[int]:
        """The id of each image in its annotations."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> torch.Tensor:
        """An image as uint8 [C, H, W]."""

    def targets(self, index: int) -> Targets:
        """Its objects."""

    def size(self, index: int) -> tuple[int, int]:
        """Its height and width in pixels."""


@dataclass(frozen=True)
class BoxData:
    """A data set of objects split for a study.

    Attributes:
        classes: names, in the order of the labels.
        category_ids: of the annotations, in the order of the labels.
        channels: 1 or 3.
        mean, std: of each channel, on the scale 0 to 1.
        flip: whether objects may be mirrored.
        notes: what is irregular in it and how that was handled, in sentences.
        files: what became of its files, if it was read from some.
        test: images that no phase sees, on which the reported networks are scored once at the end.
    """

    train: BoxImages
    validation: BoxImages
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    notes: tuple[str, ...] = ()
    files: FileAccount | None = None
    test: BoxImages | None = None

    @property
    def outputs(self) -> dict[str, Any]:
        """What a network's outputs mean: the classes, and their ids in the annotations."""
        return {"classes": self.classes, "category_ids": self.category_ids}


Data = ImageData | BoxData


class Dataset(Protocol):
    """`datasets/`: where images come from, with classes or with boxes. Optional: `task`."""

    def load(self, seed: int) -> Data:
        """Reads or finds the images and splits them; `UserError` when they cannot be had."""


class Evaluator(Protocol):
    """`evaluators/`: gives a built model its scores.

    Optional: `task`, `metrics`, `epochs`, `validate_every`, `seeds`, `fidelities`, `check`,
    `notes`, `notes_on`, `smaller`, `score`.

    If `evaluate` has a parameter `scratch` it is given a `Scratch` (of scalesearch.history.jobs):
    the trial's identity, and a folder in which to keep what an interrupted trial needs to go on;
    the scores of the attempt before may be yielded again.

    One with `fidelities` is given a `schedule` (of scalesearch.history.fidelity) where some epochs
    are to take a fixed part of the training images, or smaller ones, which it then validates with.
    """

    @property
    def workload(self) -> Workload:
        """What the memory of a candidate is counted for."""

    def evaluate(
        self, model: torch.nn.Module, architecture: Any, data: Any, seed: int
    ) -> Generator[Score, None, None]:
        """Yields a score after each step, which ascend; the last counts.

        The model ends in its scored state.

        `architecture` is a `Backbone` with `ImageData`, or a `Detector` with `BoxData`.

        `TrialError` for a trial that cannot be scored, such as a loss that is not a number.
        """


class Assess(Protocol):
    """What an executor runs on its workers for each job.

    Optional: `prepare`, `where`, `tidy`, `close`.
    """

    def __call__(self, job: Job) -> Generator[Score, None, Result | Infeasible]:
        """Yields scores as they come and returns the outcome."""


class Executor(Protocol):
    """`executors/`: runs jobs somewhere. Optional: `start`."""

    @property
    def slots(self) -> int:
        """How many jobs run at once."""

    @property
    def threads(self) -> int:
        """How many threads each job may use."""

    def connect(self) -> AbstractContextManager[None]:
        """A context for several runs, which share what the first of them starts: a cluster."""

    def run(
        self,
        ask: Callable[[], Job | None],
        assess: Assess,
        keep: Callable[[Job, Score], bool],
        tell: Callable[[Job, Outcome], None],
    ) -> None:
        """Asks for jobs and tells their outcomes until no job is left.

        `ask` returns None when there is no job *now*: it is asked again after the next `tell`,
        and the run ends when it returns None with nothing in flight. `keep` gets each score and
        returns False to stop that job early; its outcome is `Stopped`. `ask`, `keep` and `tell` run
        in the calling thread; `assess` is pickled once and shared, NumPy arrays without a copy.
        Whatever a job raises becomes a `Failure`; `KeyboardInterrupt` is raised after the workers
        have ended, without a `tell` for unfinished jobs.
        """


class Exporter(Protocol):
    """`exporters/`: writes a network in a form that lives without scalesearch.

    Attributes:
        suffix: of the file it writes, such as `.py`.
    """

    suffix: ClassVar[str]

    def export(
        self,
        architecture: Architecture,
        path: Path,
        weights: Mapping[str, torch.Tensor] | None,
        about: Mapping[str, Any],
    ) -> Sequence[Path]:
        """Writes to `path` (and beside it) and returns what it wrote; a run's folder exists.

        `weights` are a state dict, or None for an untrained network; `about` holds facts of the
        data and the run: `classes`, `mean`, `std`, `accuracy`, …
        """
