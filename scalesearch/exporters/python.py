"""One readable Python file that needs torch alone, and its weights beside it."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.arch import check
from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.errors import UserError
from scalesearch.exporters._export_task import export_task
from scalesearch.exporters._factory_file import factory_text
from scalesearch.exporters._python_file import FileOptions, file_text
from scalesearch.files.write import write_bytes, write_text

if TYPE_CHECKING:
    from torch import Tensor

# A file of such a name would stand in the way of what exported files import themselves.
_TAKEN = {*sys.stdlib_module_names, "torch", "safetensors", "numpy"}


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes `NAME.py`: our own sources joined with the network's literal; no other code.

    It runs with Python 3.10 or newer and torch 2. `torch.fx.symbolic_trace` takes its classifiers.
    Its `build()` makes the network; a detector also has `detect(model, images)`. The weights go to
    `NAME.safetensors`. `about` may hold the `name` of the network, `mean` and `std` of the
    channels, the names of the `classes`, and a data set's `category_ids` of them; all other facts
    are listed in the docstring. Of what a factory builds the file holds the call, and needs
    its module.

    Attributes:
        fold: the file builds the network for inference, with its batch norms folded (but those of
            a detector's heads). The weights beside it are the same in either case.
    """

    suffix: ClassVar[str] = ".py"

    fold: bool = False

    def __post_init__(self) -> None:
        check.yes_or_no("fold", self.fold)

    def check(self, architecture: Architecture) -> None:
        """Raises `UserError` if the network has no folded form and one is asked for."""
        if self.fold and isinstance(architecture, Factory):
            raise UserError(
                "what a factory builds is called, not written, and has no folded form",
                key="fold",
                allowed="false",
            )

    def export(
        self,
        architecture: Architecture,
        path: Path,
        weights: Mapping[str, Tensor] | None,
        about: Mapping[str, Any],
    ) -> Sequence[Path]:
        """The Python file, and the file of the weights if there are any.

        Raises:
            UserError: a name that Python cannot import, weights or facts that do not fit.
        """
        _check_name(path)
        options = FileOptions(path.stem, trained=weights is not None, fold=self.fold)
        self.check(architecture)
        text_of = factory_text if isinstance(architecture, Factory) else file_text
        text = text_of(export_task(architecture), options, about)
        if weights is None:
            return [write_text(path, text)]
        from safetensors.torch import save

        from scalesearch.exporters._torch_network import fitted

        content = save(fitted(architecture, weights))
        beside = write_bytes(path.with_suffix(".safetensors"), content)
        return [write_text(path, text), beside]


def _check_name(path: Path) -> None:
    stem = path.stem
    if path.suffix == ".py" and stem.isidentifier() and not _is_taken(stem):
        return
    words = "_".join(re.findall(r"\w+", stem)).lower()
    good = words if words.isidentifier() and not _is_taken(words) else f"net_{words}".rstrip("_")
    raise UserError(
        f"{path.name!r} is not a file that Python can import",
        file=str(path),
        allowed="letters, digits and _ , no digit first, no name of a library, ending in .py",
        hint=f"for example {str(path.with_name(f'{good}.py'))!r}",
    )


def _is_taken(stem: str) -> bool:
    return keyword.iskeyword(stem) or stem in _TAKEN
