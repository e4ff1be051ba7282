"""What plug-ins return, held against `interfaces.py`: the message names the plug-in and its due."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.history.jobs import Score, Scratch
from scalesearch.interfaces import BoxData, BoxImages, Data, FileAccount, ImageData, Images
from scalesearch.plugins import calling
from scalesearch.text import shortened
from scalesearch.view import View

if TYPE_CHECKING:
    import torch

_SIDE = 8  # pixels of the image that is looked at


def name_of(plugin: object) -> str:
    """`package.module:Name`, or the short name of one that ships."""
    module, kind = type(plugin).__module__, type(plugin).__qualname__
    return module.rpartition(".")[2] if module.startswith("scalesearch.") else f"{module}:{kind}"


def check_attributes(folder: str, name: str, plugin: Any) -> None:
    """Rejects an instance whose attributes are not what its contract says."""
    if folder == "evaluators":
        with calling(name, "workload"):
            workload = getattr(plugin, "workload", None)
        if not isinstance(workload, Workload):
            raise _due(name, "workload", "a scalesearch.Workload", workload)
    elif folder == "executors":
        for key in ("slots", "threads"):
            with calling(name, key):
                value = getattr(plugin, key, None)
            if not isinstance(value, int) or value < 1:
                raise _due(name, key, "a whole number from 1", value)
    elif folder == "exporters":
        suffix = getattr(plugin, "suffix", None)
        if not isinstance(suffix, str) or not suffix.startswith(".") or "/" in suffix:
            raise _due(name, "suffix", "the ending of a file, such as '.py'", suffix)


def check_data(name: str, data: Any, task: str) -> Data:
    """The data set that a plug-in loaded; one's own is looked at, with one image of each part.

    Raises:
        UserError: it is none, or its parts do not fit each other.
    """
    kind: type[Data] = BoxData if task == "detection" else ImageData
    if isinstance(data, Data) and not isinstance(data, kind):
        theirs = "detection" if isinstance(data, BoxData) else "classification"
        raise UserError(
            f"{name!r} holds images for {theirs}, and the task is {task}",
            hint=f"write `task: {theirs}`, or name another",
        )
    if not isinstance(data, kind):
        raise _returned(name, "load", f"a scalesearch.interfaces.{kind.__name__}", data)
    if ":" not in name:
        return data
    with calling(name, "load"):
        data = _with_facts(name, data)
        for part in ("train", "validation", *(["test"] if data.test is not None else [])):
            images = getattr(data, part)
            count = len(images)
            if count < 1:
                raise UserError(f"{name!r} has no {part} images", allowed="one at least")
            if isinstance(data, ImageData):
                _check_images(name, part, images, count, data)
            else:
                _check_boxes(name, part, images, data)
    return data


def scores_of(
    evaluator: Any,
    model: torch.nn.Module | None,
    architecture: Any,
    data: Any,
    seed: int,
    scratch: Scratch | None = None,
    schedule: Schedule = WHOLE_EPOCHS,
) -> Generator[Score, None, None]:
    """What an evaluator yields, in plain numbers; it is given `scratch` if it takes that.

    And the `schedule` where that has less than whole epochs; it was checked that it takes it.

    Raises:
        UserError: it yields something else than scores of named numbers.
    """
    name = name_of(evaluator)
    more: dict[str, Any] = {}
    if takes(evaluator.evaluate, "scratch"):
        more["scratch"] = scratch
    if schedule:
        more["schedule"] = schedule
    scores, before = evaluator.evaluate(model, architecture, data, seed, **more), -math.inf
    if not isinstance(scores, Iterable):
        raise _returned(name, "evaluate", "a generator of scores", scores)
    for score in scores:
        if not isinstance(score, Score):
            raise _yielded(name, score)
        if not isinstance(score.values, Mapping) or not score.values:
            raise _yielded(name, score.values)
        try:
            step = operator.index(score.step)
        except TypeError:
            raise UserError(
                f"{name!r} yielded a score of step {_show(score.step)}", allowed="a whole number"
            ) from None
        if step < before:
            raise UserError(
                f"{name!r} yielded a score of step {step} after one of step {before}",
                allowed="steps that ascend",
            )
        before = step
        values = {key: _number(name, key, value) for key, value in score.values.items()}
        yield replace(score, step=step, values=values)


def takes(function: Any, name: str) -> bool:
    """Whether a function has a parameter of this name, or takes any."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # of something that is not written in Python
        return False
    return name in parameters or any(p.kind == p.VAR_KEYWORD for p in parameters.values())


def written(name: str, paths: Any, target: Path) -> list[Path]:
    """The files that an exporter wrote for `target`.

    Raises:
        UserError: it names none, or one that is not there or lies elsewhere.
    """
    if not isinstance(paths, Sequence) or isinstance(paths, str):
        raise _returned(name, "export", "a list of the paths that it wrote", paths)
    if not paths:
        raise UserError(f"{name!r} wrote nothing", allowed=f"{target}, and files beside it")
    beside = target.parent.resolve()
    for path in paths:
        if not isinstance(path, str | Path):
            raise _returned(name, "export", "a list of the paths that it wrote", path)
        if not Path(path).exists():
            raise UserError(f"{name!r} names {str(path)!r}, which it did not write")
        if not Path(path).resolve().is_relative_to(beside):
            raise UserError(
                f"{name!r} wrote {str(path)!r}, outside of {target.parent}",
                allowed=f"{target}, and files beside it",
            )
    return [Path(path) for path in paths]


def _with_facts(name: str, data: Data) -> Data:
    """The data set with the words and numbers about the whole of it as plain values."""
    classes = data.classes
    if not isinstance(classes, Sequence) or not classes or not all(map(_is_word, classes)):
        raise _due(name, "classes", "a tuple of names, one at least", classes)
    if len(set(classes)) < len(classes):
        raise _due(name, "classes", "names that differ", classes)
    if data.channels not in (1, 3):
        raise _due(name, "channels", "1 or 3", data.channels)
    statistics = {}
    for key in ("mean", "std"):
        values = statistics[key] = tuple(map(float, getattr(data, key)))
        fits = len(values) == data.channels and all(math.isfinite(value) for value in values)
        if not fits or (key == "std" and min(values) <= 0):
            above = " above 0" if key == "std" else ""
            raise _due(name, key, f"{data.channels} numbers{above}, one for each channel", values)
    notes: Any = data.notes
    if not isinstance(notes, tuple | list) or not all(map(_is_word, notes)):
        raise _due(name, "notes", "a tuple of sentences", notes)
    if not isinstance(data.files, FileAccount | None):
        raise _due(name, "files", "a scalesearch.interfaces.FileAccount, or None", data.files)
    mean, std = statistics["mean"], statistics["std"]
    plain = replace(data, classes=tuple(classes), notes=tuple(notes), mean=mean, std=std)
    if not isinstance(plain, BoxData):
        return plain
    if len(plain.category_ids) != len(classes):
        raise _due(name, "category_ids", "as many as classes", plain.category_ids)
    return replace(plain, category_ids=tuple(map(int, plain.category_ids)))


def _check_images(name: str, part: str, images: Images, count: int, data: ImageData) -> None:
    labels = np.asarray(images.labels)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} {list(labels.shape)}"
        raise UserError(f"{name!r}: the {part} labels are {found}", allowed=f"int64 [{count}]")
    _check_labels(name, part, labels, len(data.classes))
    batch = images.batch(np.arange(1), View(_SIDE))
    _check_pixels(name, f"{part}.batch", batch, (1, data.channels, _SIDE, _SIDE))


def _check_boxes(name: str, part: str, images: BoxImages, data: BoxData) -> None:
    if len(images.ids) != len(images):
        raise UserError(f"{name!r}: {part} has {len(images.ids)} ids for {len(images)} images")
    targets, (height, width) = images.targets(0), images.size(0)
    boxes = np.asarray(targets.boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        found = f"{boxes.dtype} {list(boxes.shape)}"
        raise UserError(
            f"{name!r}: the boxes of {part} image 0 are {found}",
            allowed="float32 [M, 4]: x0, y0, x1, y1 in pixels",
        )
    for key in ("labels", "crowd", "areas"):
        if len(getattr(targets, key)) != len(boxes):
            raise UserError(
                f"{name!r}: {part} image 0 has {len(getattr(targets, key))} {key} for "
                f"{len(boxes)} boxes"
            )
    _check_labels(name, part, np.asarray(targets.labels), len(data.classes))
    _check_pixels(name, f"{part}.image", images.image(0), (data.channels, height, width))


def _check_labels(name: str, part: str, labels: np.ndarray, classes: int) -> None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise UserError(
            f"{name!r}: the {part} labels hold {wrong[0]}, and there are {classes} classes",
            allowed=f"0 to {classes - 1}",
        )


def _check_pixels(name: str, method: str, pixels: Any, shape: tuple[int, ...]) -> None:
    due = f"a uint8 tensor of torch {list(shape)}"
    library, _, kind = str(getattr(pixels, "dtype", "")).rpartition(".")
    if library != "torch":
        raise _returned(name, method, due, pixels)
    if kind != "uint8" or tuple(pixels.shape) != shape:
        found = f"{kind} {list(pixels.shape)}"
        raise UserError(f"{name!r}: `{method}` returned {found}", allowed=due)


def _number(name: str, key: object, value: Any) -> float:
    """A Python number, NumPy's or torch's as a float; texts are none."""
    if isinstance(key, str) and not isinstance(value, str | bytes):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            pass
    raise UserError(f"{name!r} scored {_show(key)}: {_show(value)}", allowed="a name and a number")


def _is_word(value: object) -> bool:
    return isinstance(value, str)


def _due(name: str, attribute: str, due: str, value: object) -> UserError:
    return UserError(f"{name!r}: its `{attribute}` is {_show(value)}", allowed=due)


def _returned(name: str, method: str, due: str, value: object) -> UserError:
    return UserError(f"{name!r}: `{method}` returned {_show(value)}", allowed=due)


def _yielded(name: str, value: object) -> UserError:
    return UserError(
        f"{name!r}: `evaluate` yielded {_show(value)}",
        allowed="scalesearch.history.jobs.Score(step, {name: number, …})",
    )


def _show(value: object) -> str:
    """A value as a message can repeat it."""
    if value is None or isinstance(value, bool | int | float | str | tuple | list | dict):
        return shortened(repr(value))
    return f"a {type(value).__name__}"
