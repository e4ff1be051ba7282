"""A network as a program of `torch.export`, which torch runs without any code of ours."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.arch import check
from scalesearch.arch.detector import Architecture
from scalesearch.exporters._export_task import check_size, check_suffix, export_task
from scalesearch.exporters._facts import facts
from scalesearch.files.write import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

ABOUT = "about.json"


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes `NAME.pt2`: `torch.export.load("NAME.pt2").module()` is the network for inference.

    It takes any number of images of one size and has no gradients. A detector outputs class logits
    and box deltas. What is known of the network is the extra file `about.json` in it. Before it is
    written it is read back and compared with the network on random images.

    Attributes:
        fold: batch norms are folded into convolutions; outputs differ by rounding. What a factory
            builds is exported as it is.
        size: height and width of the images; the network's own by default.
    """

    suffix: ClassVar[str] = ".pt2"

    fold: bool = True
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check.yes_or_no("fold", self.fold)
        check_size(self)

    def export(
        self,
        architecture: Architecture,
        path: Path,
        weights: Mapping[str, Tensor] | None,
        about: Mapping[str, Any],
    ) -> Sequence[Path]:
        """The program.

        Raises:
            UserError: another suffix, weights or facts that do not fit, outputs that differ.
        """
        import torch

        from scalesearch.exporters._torch_network import check_outputs, folded, network, program

        check_suffix(path, self.suffix)
        task = export_task(architecture, self.size)
        known = json.dumps(facts(task, path.stem, about), indent=2, default=str)
        model = network(architecture, weights)
        traced = program(folded(model, task) if self.fold else model, task)
        file = io.BytesIO()
        with warnings.catch_warnings():
            # Said of every tensor in channels_last, which shares its memory with no other.
            warnings.filterwarnings("ignore", "No complete tensor found in the group")
            torch.export.save(traced, file, extra_files={ABOUT: known})
        file.seek(0)
        check_outputs(torch.export.load(file).module(), model, task, path)
        return [write_bytes(path, file.getvalue())]
