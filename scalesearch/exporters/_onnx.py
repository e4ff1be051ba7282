"""The making of an ONNX file: translated, described, written, and run beside the network."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.graph import Size
from scalesearch.exporters._about import Facts
from scalesearch.exporters._detections import (
    OUTPUTS,
    RAW,
    Finder,
    check_detections,
    translations,
)
from scalesearch.exporters._program import check_outputs, program, random_images
from scalesearch.exporters._weights import network
from scalesearch.files.write import write_bytes
from scalesearch.nn.fold import fold
from scalesearch.nn.postprocess import Selection

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

INPUT = "images"
# Of 2022; ONNX Runtime has it since 1.14, TensorRT since 8.6.
OPSET = 18
# Bytes of weights; a protobuf message ends at 2 GB, of which the operations take little.
MOST_INSIDE = 2**31 - 2**24


@dataclass(frozen=True)
class Job:
    """What is to be written.

    Attributes:
        net: the network.
        size: height and width of its images.
        fold: batch norms are folded.
        selection: how a detector's detections are taken; None: raw outputs.
        path: of the file.
    """

    net: Architecture
    size: Size
    fold: bool
    selection: Selection | None
    path: Path

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the file puts out."""
        if self.selection is not None:
            return OUTPUTS
        return RAW if isinstance(self.net, Detector) else RAW[:1]

    @property
    def detector(self) -> Detector:
        """The network, of which there are detections."""
        assert isinstance(self.net, Detector)
        return self.net


def written(job: Job, weights: Mapping[str, Tensor] | None, known: Facts) -> list[Path]:
    """The file, and that of its weights if they are apart; `UserError` if it would be wrong."""
    model: nn.Module = network(job.net, weights)
    # ONNX knows one layout: flattening another one would become a Gather over every feature.
    folded = fold(model).to(memory_format=torch.contiguous_format) if job.fold else model
    names = job.outputs
    if job.selection is not None:
        folded, names = Finder(folded, job.detector, job.size, job.selection), OUTPUTS + RAW
    made = _described(_translated(program(folded, job.net, job.size), names), known)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, job.path.name)
        _save(made, draft)
        if importlib.util.find_spec("onnxruntime") is None:
            warnings.warn(
                f"{job.path} was not run: ONNX Runtime is not installed, so nobody has compared "
                "its outputs with the network's (pip install 'scalesearch[onnx]')",
                stacklevel=3,
            )
        else:
            _check(job, runner(draft), model)
        if len(names) > len(job.outputs):
            del made.graph.output[len(job.outputs) :]
            _save(made, draft)
        # The weights first, so that there is never a file whose weights are missing.
        drafts = sorted(draft.parent.iterdir(), reverse=True)
        files = [write_bytes(job.path.with_name(one.name), one.read_bytes()) for one in drafts]
    return files[::-1]


def _check(job: Job, run: Callable[[Tensor], tuple[Tensor, ...]], model: nn.Module) -> None:
    """Raw outputs are held against the network's, detections against what follows from those."""

    def raw(images: Tensor) -> tuple[Tensor, ...]:
        outputs = run(images)
        if job.selection is None:
            return outputs
        check_detections(outputs, job.detector, job.size, job.selection, job.path)
        return outputs[len(OUTPUTS) :]

    check_outputs(raw, model, partial(random_images, job.net, job.size), job.path)


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Writes a file that ONNX's checker finds correct; weights of 2 GB and more go beside it."""
    import onnx

    large = sum(len(weight.raw_data) for weight in model.graph.initializer) > MOST_INSIDE
    onnx.save_model(model, path, save_as_external_data=large, location=f"{path.name}.data")
    onnx.checker.check_model(path, full_check=True)


def runner(path: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The function that an ONNX file computes, by ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.from_numpy, session.run(None, {INPUT: images.numpy()})))

    return run


def _translated(traced: ExportedProgram, names: Sequence[str]) -> onnx.ModelProto:
    """The program in ONNX's operations, with names and no trace of where it was made."""
    with _quiet():
        made = torch.onnx.export(
            traced,
            input_names=[INPUT],
            output_names=list(names),
            opset_version=OPSET,
            custom_translation_table=translations(),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert made is not None
    model: onnx.ModelProto = made.model_proto
    graph = model.graph
    del graph.value_info[:]  # what is between can be inferred
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    for end in (*graph.input, *graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _described(model: onnx.ModelProto, known: Facts) -> onnx.ModelProto:
    """The same file with its facts."""
    import onnx

    texts = {
        key: value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in known.items()
    }
    onnx.helper.set_model_props(model, texts)
    model.doc_string = texts["description"]
    model.graph.name = texts["name"]
    model.producer_name, model.producer_version = texts["written_by"].split()
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and onnxscript tell their developers of a translation."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
