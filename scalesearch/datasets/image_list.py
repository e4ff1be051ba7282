"""Images that a table lists: CSV, TSV, JSON lines or Parquet, a row for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.datasets._checked_files import Source, check_files, readable_counts
from scalesearch.datasets._labels import read_labels
from scalesearch.datasets._listing import LeftOutFiles, Listing, endings, first_few
from scalesearch.datasets._manifest import open_manifest
from scalesearch.datasets._own_parts import require_share
from scalesearch.datasets._parts import (
    ImageOptions,
    Labelled,
    assign_parts,
    counted,
    part_of,
    split_labelled,
)
from scalesearch.datasets._paths import Paths
from scalesearch.datasets._pixels import Reading, choose_levels, notes_on
from scalesearch.datasets.image_folder import FolderImages
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir, is_file
from scalesearch.files.results_table import plain_values, read_table, require_columns
from scalesearch.interfaces import ImageData
from scalesearch.text import look, printable, quoted

if TYPE_CHECKING:
    import pandas as pd

# Names of columns that are recognised, the first that a table has.
_USUAL = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image"),
    "label": ("label", "class", "category", "target", "y"),
    "split": ("split", "part", "subset", "partition"),
}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of columns; null for the usual ones (`path`, `file`, `image`; `label`, `class`;
    `split`).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str | None = None
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset(ImageOptions):
    """Image files that a table names with their classes.

    Attributes:
        path: of the table, with a row for each image; a column that says `train`, `val` or `test`
            is the split.
        validation_list, test_list: tables of the images that validate, and of those that are kept
            for a test; then all of the first one train, but for what is drawn of them.
        folder: paths in the tables start there; by default in the folder of the table.
        columns: their names, where they are not the usual ones.
    """

    task: ClassVar[str] = "classification"

    path: Path
    validation_list: Path | None = None
    test_list: Path | None = None
    folder: Path | None = None
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in ("validation", "test"):
            if getattr(self, part) is not None and getattr(self, f"{part}_list") is not None:
                raise UserError(f"{part}_list is given already", key=part)

    def load(self, seed: int) -> ImageData:
        """Reads the tables, opens each image once to check that it is one, and splits them."""
        left_out = LeftOutFiles(self.folder or self.path.parent)
        parts, notes = self._rows(left_out)
        rows = [row for each in parts.values() for row in each]
        paths = tuple(row.file for row in rows)
        values = [row.label for row in rows]
        labels = read_labels(values, self.classes, lambda n: rows[n].place, "columns.label")
        known = open_manifest(self.folder or self.path.parent)
        checked = check_files([Source(Listing.of(paths), known)], left_out, self.skip_unreadable)
        counts = counted({part: len(each) for part, each in parts.items()})
        own = readable_counts(labels.numbers, labels.classes, checked.places, counts)
        files, headers = checked.paths, checked.headers
        levels, of_levels = choose_levels(self.levels, files, headers)
        reading = Reading(channels=self.channels, levels=levels, fit=self.fit)
        labelled = Labelled(
            images=FolderImages(Paths(files), labels.numbers[checked.places], reading),
            classes=labels.classes,
            groups=checked.groups,
            own=own,
            name=lambda index: files[index],
            ending=lambda index: Path(files[index]).suffix,
            notes=(*checked.notes, *notes, *labels.notes, *of_levels, *notes_on(headers, reading)),
        )
        return split_labelled(labelled, self, seed, left_out)

    def _rows(self, left_out: LeftOutFiles) -> tuple[dict[str, list[_Row]], list[str]]:
        """The rows of each part that has some of its own, and notes."""
        rows = _distinct(self._read(self.path), left_out)
        if self._several:
            return self._given(rows, left_out), []
        named: dict[str, list[_Row]] = {}
        for row in rows:
            named.setdefault(row.part, []).append(row)
        if "" in named:  # there is no such column
            require_share(self.test, self.path)
            return {"train": rows}, []
        parts, notes = assign_parts(named, self, self.path)
        used = {id(row) for each in parts.values() for row in each}
        for row in rows:
            if id(row) not in used:
                left_out.add(f"of the part {row.part}", row.file)
        return parts, notes

    def _given(self, rows: list[_Row], left_out: LeftOutFiles) -> dict[str, list[_Row]]:
        """The rows of parts that have tables of their own; a file stays in the last it is in."""
        if self.test_list is None:
            require_share(self.test, self.path)
        parts = {"train": rows}
        for part, does in (("validation", "validate"), ("test", "test")):
            table = getattr(self, f"{part}_list")
            if table is None:
                continue
            others = {row.file: row for row in _distinct(self._read(table), left_out)}
            for name, before in parts.items():
                twice = [row for row in before if row.file in others]
                _check_contradictions([(row, others[row.file]) for row in twice])
                what = {"train": "training"}.get(name, name)
                for row in twice:
                    left_out.add(f"of the {what} images that {does}, too", row.file)
                parts[name] = [row for row in before if row.file not in others]
            parts[part] = list(others.values())
        return parts

    @property
    def _several(self) -> bool:
        """Whether parts have tables of their own; then a column says nothing of them."""
        return self.validation_list is not None or self.test_list is not None

    def _read(self, path: Path) -> list[_Row]:
        """The rows of a table.

        Raises:
            UserError: columns or cells are missing, or files are.
        """
        table = read_table(path)
        files, labels, parts = self._cells(table, path)
        empty = [n for n, name in enumerate(files) if not name]
        if empty:
            raise UserError(
                f"{len(empty):,} of {len(files):,} rows have no path: "
                f"{first_few(str(_line(n)) for n in empty)}",
                file=str(path),
                key="columns.path",
                hint="remove them, or fill them in",
            )
        folder = self.folder or path.parent
        if not is_dir(folder):
            raise UserError(f"there is no folder {folder}", key="folder")
        found = [_file_of(name, folder) for name in files]
        missing = [name for name, file in zip(files, found, strict=True) if file is None]
        if missing:
            raise _missing(missing, len(files), folder, path)
        return [
            _Row(file=str(file), label=label, part=part, place=f"row {_line(n)} of {path.name}")
            for n, (file, label, part) in enumerate(zip(found, labels, parts, strict=True))
        ]

    def _cells(self, table: pd.DataFrame, path: Path) -> tuple[list[str], list[Any], list[str]]:
        """What each row says of path, label and part of the split."""
        columns = {kind: self._column(table, kind, path) for kind in _USUAL}
        files = [
            "" if cell is None else str(cell).strip()
            for cell in _values(table, columns["path"], path)
        ]
        labels = _values(table, columns["label"], path)
        if not columns["split"] or self._several:
            return files, labels, [""] * len(files)
        words = ["" if w is None else str(w) for w in _values(table, columns["split"], path)]
        parts = [part_of(word) for word in words]
        unknown = [n for n, part in enumerate(parts) if part is None]
        if unknown:
            raise UserError(
                f"{quoted(words[unknown[0]])} is no part of a split (row {_line(unknown[0])}, "
                f"{len(unknown):,} in all)",
                file=str(path),
                key="columns.split",
                allowed="train, val (valid, validation, dev) and test",
                hint=f"rename the column {columns['split']!r} if it is none of a split",
            )
        return files, labels, [str(part) for part in parts]

    def _column(self, table: pd.DataFrame, kind: str, path: Path) -> str:
        """The column of a kind; empty if there is none and need not be."""
        given: str | None = getattr(self.columns, kind)
        if given is not None:
            require_columns(table, [given], path, f"columns.{kind}")
            return given
        by_look = {look(name).lower(): name for name in reversed(list(table.columns))}
        name = next((by_look[usual] for usual in _USUAL[kind] if usual in by_look), "")
        if not name and kind != "split":
            raise UserError(
                f"the table {path.name} has no column of the usual names: "
                f"{', '.join(_USUAL[kind])}",
                key=f"columns.{kind}",
                allowed=first_few(map(str, table.columns), 12),
                hint=f"say which one it is: `columns: {{{kind}: NAME}}`",
            )
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row of a table: where its image lies, its label, its part (empty without one), and where
    it stands.
    """

    file: str
    label: Any
    part: str
    place: str


def _line(index: int) -> int:
    """A row as people count it, from 1, without the names of the columns."""
    return index + 1


def _values(table: pd.DataFrame, column: str, path: Path) -> list[Any]:
    try:
        return plain_values(table[column]) if column else []
    except UserError as error:
        raise error.at(file=str(path)) from None


def _file_of(name: str, folder: Path) -> str | None:
    """The file of a name, if it is there; also with the separators of another system."""
    for one in (name, name.replace("\\", "/")):
        path = os.path.normpath(folder / one)
        if is_file(path):
            return path
    return None


def _missing(names: Sequence[str], total: int, folder: Path, table: Path) -> UserError:
    """The error of files that are not there, with what may be meant."""
    first = names[0].replace("\\", "/")
    parts = [part for part in first.split("/") if part]
    here = next(
        (n for n in range(1, len(parts)) if is_file(folder / "/".join(parts[n:]))),
        None,
    )
    hint = "are the paths relative to this folder? set `folder` to the one where they start"
    if here is not None:
        start = first[: first.index("/".join(parts[here:]))]
        hint = f"{'/'.join(parts[here:])} is there: remove {start!r} from the paths"
    elif first.startswith("/") or first[1:3] == ":/":
        hint = "these are absolute paths, perhaps of another machine: write paths below `folder`"
    elif ending := next(
        (end for end in sorted(endings()) if is_file(folder / f"{first}{end}")), ""
    ):
        hint = f"{first}{ending} is there: add {ending!r} to the paths"
    return UserError(
        f"{len(names):,} of {total:,} files are missing in {printable(str(folder))}: "
        f"{first_few(names)}",
        file=str(table),
        key="folder",
        hint=hint,
    )


def _distinct(rows: Sequence[_Row], left_out: LeftOutFiles) -> list[_Row]:
    """Each file once.

    Raises:
        UserError: one has two labels, or stands in two parts.
    """
    first: dict[str, _Row] = {}
    again = [(first[row.file], row) for row in rows if first.setdefault(row.file, row) is not row]
    _check_contradictions(again)
    for _, row in again:
        left_out.add("listed again", row.file)
    return list(first.values())


def _check_contradictions(pairs: Sequence[tuple[_Row, _Row]]) -> None:
    """Rejects rows of one file that say different things of it."""
    differing = [
        f"{one.file} ({quoted(one.label)} in {one.place}, {quoted(two.label)} in {two.place})"
        for one, two in pairs
        if str(one.label) != str(two.label)
    ]
    if differing:
        raise UserError(
            f"{len(differing):,} files are listed with several labels: {first_few(differing, 2)}",
            key="columns.label",
            hint="an image has one class: remove the wrong rows",
        )
    parted = [
        f"{one.file} ({one.place}, {two.place})" for one, two in pairs if one.part != two.part
    ]
    if parted:
        raise UserError(
            f"{len(parted):,} files are listed in several parts: {first_few(parted, 2)}",
            key="columns.split",
            hint="what trains cannot validate: remove one of the rows",
        )
