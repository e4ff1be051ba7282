"""A network as an ONNX file, for ONNX Runtime, TensorRT, OpenVINO and others."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.arch import check
from scalesearch.arch.backbone import Backbone
from scalesearch.errors import UserError
from scalesearch.exporters._about import Facts, facts
from scalesearch.files.write import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx
    from torch import Tensor
    from torch.export import ExportedProgram

INPUT, OUTPUT = "images", "logits"
# Of 2022; ONNX Runtime has it since 1.14, TensorRT since 8.6.
OPSET = 18
# Bytes of weights; a protobuf message ends at 2 GB, of which the operations take little.
MOST_INSIDE = 2**31 - 2**24
# What writing takes beyond torch.
_NEEDED = ("onnx", "onnxscript")


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes `NAME.onnx`: input `images` [batch, C, side, side], output `logits` [batch, classes].

    It takes any number of images. What is known of the network are the file's metadata, whatever
    is no text as JSON. Before it is written ONNX's checker reads it, and ONNX Runtime, where that
    is installed, runs it beside the network on random images; where not, a warning says so.

    Attributes:
        fold: batch norms are folded into convolutions; outputs differ by rounding.

    Raises:
        UserError: onnx or onnxscript is not installed.
    """

    suffix: ClassVar[str] = ".onnx"

    fold: bool = True

    def __post_init__(self) -> None:
        check.yes_or_no("fold", self.fold)
        # Asked when a study is read: its end, after all the training, is a bad time to hear it.
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"an ONNX file cannot be written without {' and '.join(missing)}",
                hint="pip install 'scalesearch[onnx]'",
            )

    def export(
        self,
        architecture: Backbone,
        path: Path,
        weights: Mapping[str, Tensor] | None,
        about: Mapping[str, Any],
    ) -> Sequence[Path]:
        """The ONNX file, and `NAME.onnx.data` beside it for weights of 2 GB and more.

        Raises:
            UserError: another suffix, weights or facts that do not fit, outputs that differ.
        """
        import torch

        from scalesearch.exporters._program import check_outputs, check_suffix, program
        from scalesearch.exporters._weights import network
        from scalesearch.nn.fold import fold

        check_suffix(path, self.suffix)
        known = facts(architecture, path.stem, about)
        model = network(architecture, weights)
        # ONNX knows one layout: flattening another one would become a Gather over every feature.
        folded = fold(model).to(memory_format=torch.contiguous_format) if self.fold else model
        made = _described(_translated(program(folded, architecture)), known)
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder, path.name)
            _save(made, draft)
            if importlib.util.find_spec("onnxruntime") is None:
                warnings.warn(
                    f"{path} was not run: ONNX Runtime is not installed, so nobody has compared "
                    "its outputs with the network's (pip install 'scalesearch[onnx]')",
                    stacklevel=2,
                )
            else:
                check_outputs(runner(draft), model, architecture, path)
            # The weights first, so that there is never a file whose weights are missing.
            drafts = sorted(draft.parent.iterdir(), reverse=True)
            written = [write_bytes(path.with_name(one.name), one.read_bytes()) for one in drafts]
        return written[::-1]


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Writes a file that ONNX's checker finds correct; weights of 2 GB and more go beside it."""
    import onnx

    large = sum(len(weight.raw_data) for weight in model.graph.initializer) > MOST_INSIDE
    onnx.save_model(model, path, save_as_external_data=large, location=f"{path.name}.data")
    onnx.checker.check_model(path, full_check=True)


def runner(path: Path) -> Callable[[Tensor], Tensor]:
    """The function that an ONNX file computes, by ONNX Runtime on the CPU."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(logits)

    return run


def _translated(traced: ExportedProgram) -> onnx.ModelProto:
    """The program in ONNX's operations, with names and no trace of where it was made."""
    import torch

    with _quiet():
        made = torch.onnx.export(
            traced,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
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
