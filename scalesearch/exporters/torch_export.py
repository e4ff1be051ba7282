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
from scalesearch.arch.backbone import Backbone
from scalesearch.exporters._about import facts
from scalesearch.files.write import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

ABOUT = "about.json"


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes `NAME.pt2`: `torch.export.load("NAME.pt2").module()` is the network for inference.

    It takes any number of square images of the network's resolution and has no gradients. What is
    known of the network is the extra file `about.json` in it. Before it is written it is read back
    and compared with the network on random images.

    Attributes:
        fold: batch norms are folded into convolutions; outputs differ by rounding.
    """

    suffix: ClassVar[str] = ".pt2"

    fold: bool = True

    def __post_init__(self) -> None:
        check.yes_or_no("fold", self.fold)

    def export(
        self,
        architecture: Backbone,
        path: Path,
        weights: Mapping[str, Tensor] | None,
        about: Mapping[str, Any],
    ) -> Sequence[Path]:
        """The program.

        Raises:
            UserError: another suffix, weights or facts that do not fit, outputs that differ.
        """
        import torch

        from scalesearch.exporters._program import check_outputs, check_suffix, program
        from scalesearch.exporters._weights import network
        from scalesearch.nn.fold import fold

        check_suffix(path, self.suffix)
        known = json.dumps(facts(architecture, path.stem, about), indent=2, default=str)
        model = network(architecture, weights)
        traced = program(fold(model) if self.fold else model, architecture)
        file = io.BytesIO()
        with warnings.catch_warnings():
            # Said of every tensor in channels_last, which shares its memory with no other.
            warnings.filterwarnings("ignore", "No complete tensor found in the group")
            torch.export.save(traced, file, extra_files={ABOUT: known})
        file.seek(0)
        check_outputs(torch.export.load(file).module(), model, architecture, path)
        return [write_bytes(path, file.getvalue())]
