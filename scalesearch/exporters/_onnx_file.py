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
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scalesearch.exporters._export_task import ExportTask
from scalesearch.exporters._facts import Facts
from scalesearch.exporters._onnx_detections import (
    DETECTIONS,
    WithDetections,
    check_detections,
    translations,
)
from scalesearch.exporters._onnx_pools import pad_in_pools
from scalesearch.exporters._torch_network import check_outputs, folded, network, program
from scalesearch.files.write import write_bytes
from scalesearch.nn.postprocess import Selection

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

Run = Callable[[Tensor], tuple[Tensor, ...]]  # from images [N, C, H, W]

INPUT = "images"
# Of 2022; ONNX Runtime has it since 1.14, TensorRT since 8.6.
OPSET = 18
# Bytes of weights; a protobuf message ends at 2 GB, of which the operations take little.
MOST_INSIDE = 2**31 - 2**24


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """What is to be written.

    Attributes:
        task: the network and the size of its images.
        path: of the file.
        fold: batch norms are folded.
        selection: of a detector's detections; None: raw outputs.
    """

    task: ExportTask
    path: Path
    fold: bool
    selection: Selection | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the file's outputs."""
        return tuple(self.task.outputs) if self.selection is None else DETECTIONS


def write_onnx(file: OnnxFile, weights: Mapping[str, Tensor] | None, facts: Facts) -> list[Path]:
    """The file, and that of its weights if they are apart; `UserError` if it would be wrong."""
    model: nn.Module = network(file.task.net, weights)
    # ONNX knows one layout: flattening another one would become a Gather over every feature.
    graph = model
    if file.fold:
        graph = folded(model, file.task).to(memory_format=torch.contiguous_format)
    names = file.outputs
    if file.selection is not None:
        graph = WithDetections(graph, file.task, file.selection)
        names += tuple(file.task.outputs)  # while the detections are checked against them
    proto = _described(_translated(program(graph, file.task), names), facts)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, file.path.name)
        _save(proto, draft)
        if importlib.util.find_spec("onnxruntime") is None:
            warnings.warn(
                f"{file.path} was not run: ONNX Runtime is not installed, so its outputs have not "
                "been compared with the network's (pip install 'scalesearch[onnx]')",
                stacklevel=3,
            )
        else:
            check_file(file, runner(draft), model)
        if len(names) > len(file.outputs):
            del proto.graph.output[len(file.outputs) :]
            _save(proto, draft)
        # The weights first, so that there is never a file whose weights are missing.
        drafts = sorted(draft.parent.iterdir(), reverse=True)
        files = [write_bytes(file.path.with_name(one.name), one.read_bytes()) for one in drafts]
    return files[::-1]


def check_file(file: OnnxFile, run: Run, model: nn.Module) -> None:
    """Compares raw outputs with the network's, detections with what follows from raw outputs."""

    def raw(images: Tensor) -> tuple[Tensor, ...]:
        outputs = run(images)
        if file.selection is None:
            return outputs
        check_detections(outputs, file.task, file.selection, file.path)
        return outputs[len(DETECTIONS) :]

    check_outputs(raw, model, file.task, file.path)


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Writes a file that ONNX's checker finds correct; weights of 2 GB and more go beside it."""
    import onnx

    large = sum(len(weight.raw_data) for weight in model.graph.initializer) > MOST_INSIDE
    onnx.save_model(model, path, save_as_external_data=large, location=f"{path.name}.data")
    onnx.checker.check_model(path, full_check=True)


def runner(path: Path) -> Run:
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
    """The program in ONNX's operations, with names and without paths of this machine."""
    with _quiet():
        translated = torch.onnx.export(
            traced,
            input_names=[INPUT],
            output_names=list(names),
            opset_version=OPSET,
            custom_translation_table=translations(),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert translated is not None
    model: onnx.ModelProto = translated.model_proto
    graph = model.graph
    pad_in_pools(graph)
    del graph.value_info[:]  # shapes in between can be inferred
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    for end in (*graph.input, *graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _described(model: onnx.ModelProto, facts: Facts) -> onnx.ModelProto:
    """The same file with its facts."""
    import onnx

    texts = {
        key: value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in facts.items()
    }
    onnx.helper.set_model_props(model, texts)
    model.doc_string = texts["description"]
    model.graph.name = texts["name"]
    model.producer_name, model.producer_version = texts["written_by"].split()
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch and onnxscript log and warn about in a translation."""
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
