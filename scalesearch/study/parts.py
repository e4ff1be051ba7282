"""The parts of a study file that are written in several forms, each to one frozen record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from scalesearch import plugins
from scalesearch.arch.detector import Anchors, Architecture
from scalesearch.arch.factory import LIBRARIES
from scalesearch.arch.plain import make
from scalesearch.contracts import check_attributes
from scalesearch.cost.cost import COUNTED, UNITS
from scalesearch.cost.limits import Limit, check_limits
from scalesearch.errors import UserError, nearest
from scalesearch.files.architecture import architecture
from scalesearch.files.paths import is_file
from scalesearch.files.results_table import (
    Column,
    find_table,
    plain_values,
    read_table,
    require_columns,
)
from scalesearch.history.fidelity import Fidelity
from scalesearch.history.objective import Objective
from scalesearch.history.stopping import Stopping
from scalesearch.history.trials import RESERVED
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.regularisation import GrowingRate
from scalesearch.spaces.pool import Pool
from scalesearch.study.options import Mistakes, absolute, plain_record, read_record
from scalesearch.training.recipe import preset
from scalesearch.units import parse_bytes, parse_count, parse_seconds

Number = TypeVar("Number", int, float)
# Of a cost in a table: below it amounts must be whole; above it they cannot be counted.
_LEAST_AMOUNT, _MOST_AMOUNT = 100, 1e18


@dataclass(frozen=True)
class Plugin:
    """A plug-in by folder and name, with every option it has, defaults included."""

    folder: str
    name: str
    options: Mapping[str, Any]

    def make(self) -> Any:
        """The instance that keeps the folder's contract in `interfaces.py`."""
        return read_record(plugins.load(self.folder, self.name), self.options, Path())

    def plain(self) -> dict[str, Any]:
        """As it is written in YAML."""
        return {"name": self.name, **self.options}


@dataclass(frozen=True)
class Execution:
    """Where jobs run, and what is kept of trainings that are under way.

    Attributes:
        deterministic: whether the sampler sees results in the order of their numbers.
        checkpoints: the folder of checkpoints, which every machine sees; the run's own by default.
        checkpoint_every: epochs from one to the next; 0 keeps none; None for as many as take less
            than 2 % of the training.
    """

    executor: Plugin
    deterministic: bool
    checkpoints: Path | None = None
    checkpoint_every: int | None = None

    def plain(self) -> dict[str, Any]:
        """As it is written in YAML."""
        folder = None if self.checkpoints is None else str(self.checkpoints)
        own = {"executor": self.executor.name, "deterministic": self.deterministic}
        own |= {"checkpoints": folder, "checkpoint_every": self.checkpoint_every}
        return own | dict(self.executor.options)


@dataclass(frozen=True)
class Baseline:
    """The network that is scaled when there is no search: its source, and replaced fields."""

    source: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The source without what belongs to a path."""
        return Path(self.source).stem

    def make(self) -> Architecture:
        """The network."""
        return architecture(self.source, **self.fields)

    def plain(self) -> dict[str, Any]:
        """As it is written in YAML."""
        return {_kind(self.source): self.source, **self.fields}


@dataclass(frozen=True)
class TableSpace:
    """The networks that a table lists, which need not be any that can be built.

    Attributes:
        table: a CSV, JSON or Parquet file, also one in the folder `$SCALESEARCH_DATA`.
        parameters: its columns that tell networks apart.
        costs: which columns are costs; those that are named as a cost are one without a word.
    """

    table: Path
    parameters: tuple[str, ...]
    costs: Mapping[str, Column] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As it is written in YAML."""
        costs = {name: vars(column) for name, column in self.costs.items()}
        return {"table": str(self.table), "parameters": list(self.parameters), "costs": costs}

    @property
    def name(self) -> str:
        """Of the file."""
        return self.table.name

    def pool(self) -> Pool:
        """The networks of the table, each once, with the costs of its first row.

        Raises:
            UserError: a column is missing, or a cost is no number above 0.
        """
        frame = read_table(self.table)
        require_columns(frame, self.parameters, self.table, "space.parameters")
        columns = {name: Column(column=name) for name in COUNTED if name in frame.columns}
        columns |= self.costs
        require_columns(frame, [c.column for c in columns.values()], self.table, "space.costs")
        values = {name: plain_values(frame[name]) for name in self.parameters}
        rows = list(zip(*values.values(), strict=True))
        for name, each in values.items():
            if all(value is None for value in each):
                raise UserError(f"the column {name!r} is empty", key="space.parameters")
        first = {row: number for number, row in reversed([*enumerate(rows)]) if None not in row}
        positions = sorted(first.values())
        choices = {name: _sorted_choices(each) for name, each in values.items()}
        costs = {
            name: _amounts(frame[c.column].iloc[positions], name, c) for name, c in columns.items()
        }
        networks = tuple(rows[position] for position in positions)
        return Pool(choices_of=choices, networks=networks, costs=costs)


def read_space(given: Any, folder: Path) -> Path | TableSpace:
    """The path of a space's file, or `{table: x.csv, parameters: [a, b], costs: {…}}`."""
    if isinstance(given, str):
        path = Path(absolute(given, folder))
        if not is_file(path):
            raise UserError(f"there is no file {path}")
        return path
    allowed = "a file.yaml, or {table: FILE, parameters: [its columns], costs: {flops: COLUMN}}"
    plain = dict(_mapping(given, allowed))
    for key in plain:
        if key not in ("table", "parameters", "costs"):
            raise UserError(
                f"unknown key {key!r}", key=str(key), allowed="table, parameters, costs"
            )
    for key in ("table", "parameters"):
        if key not in plain:
            raise UserError(f"{key!r} is missing", allowed=allowed)
    names = plain["parameters"]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise UserError(
            f"{names!r} names no columns", key="parameters", allowed="a list of columns"
        )
    if len(set(names)) < len(names):
        raise UserError("a column is named twice", key="parameters")
    for index, column in enumerate(names):
        if column in RESERVED:
            raise UserError(
                f"{column!r} is a column of trials.csv, and cannot be a parameter's too",
                key=f"parameters[{index}]",
                hint="rename the column of the table",
            )
    if not isinstance(plain["table"], str):
        raise UserError(f"{plain['table']!r} is no path", key="table")
    costs = {}
    for name, column in _mapping(plain.get("costs", {})).items():
        if name not in COUNTED:
            raise UserError(
                f"{name!r} is not a cost that a space knows",
                key=f"costs.{name}",
                allowed=", ".join(COUNTED),
                hint="the evaluator `table` takes the column of the latency"
                if name == "latency"
                else nearest(str(name), COUNTED),
            )
        costs[name] = _column(column, f"costs.{name}", folder)
    path = Path(absolute(plain["table"], folder))
    try:
        find_table(path)
    except UserError as error:
        raise error.at(under="table") from None
    return TableSpace(path, tuple(names), costs)


def _column(given: Any, key: str, folder: Path) -> Column:
    if isinstance(given, str):
        return Column(column=given)
    try:
        column: Column = read_record(
            Column, _mapping(given, "a column, or {column: …, times: …}"), folder
        )
    except Mistakes as mistakes:
        raise mistakes.under(key) from None
    return column


def _sorted_choices(values: list[Any]) -> tuple[Any, ...]:
    """The different values: numbers ascending, words as they come."""
    different = [value for value in dict.fromkeys(values) if value is not None]
    words = any(isinstance(value, str | bool) for value in different)
    return tuple(different if words else sorted(different))


def _amounts(values: Any, name: str, column: Column) -> list[int]:
    """Whole amounts of a cost; small numbers that are not whole are in another unit."""
    amounts = []
    for value in plain_values(values):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        amount = value * column.times if is_number else 0.0
        if not 0 < amount <= _MOST_AMOUNT:
            raise UserError(
                f"the column {column.column!r} has {value!r}, which is no amount of {name}",
                key=f"space.costs.{name}",
                allowed=f"numbers above 0, at most {_MOST_AMOUNT:g}",
            )
        if amount < _LEAST_AMOUNT and not float(amount).is_integer():
            raise UserError(
                f"the column {column.column!r} has {amount:g} {UNITS[name]}, which is not whole",
                key=f"space.costs.{name}",
                hint=f"if it is in millions, write `costs: {{{name}: {{column: {column.column}, "
                "times: 1000000}}`",
            )
        amounts.append(round(amount))
    return amounts


def read_plugin(kind: str, given: Any, folder: Path) -> Plugin:
    """The plug-in of `{name: tpe, startup: 20}`, or of `tpe` alone."""
    plain = {"name": given} if isinstance(given, str) else given
    name = plain.get("name") if isinstance(plain, Mapping) else None
    if not isinstance(name, str):
        raise UserError(f"{given!r} names none of the {kind}", allowed="{name: …, its options}")
    options = {key: value for key, value in plain.items() if key != "name"}
    return _plugin(kind, name, options, folder)


def read_execution(given: Any, folder: Path) -> Execution:
    """The executor and its options; several workers take `ray` where none is named."""
    plain = dict(_mapping(given))
    for key in ("timeout", "wait"):
        if isinstance(plain.get(key), str):
            plain[key] = _placed(parse_seconds, plain[key], key)
    deterministic = plain.pop("deterministic", False)
    if not isinstance(deterministic, bool):
        raise UserError(
            f"{deterministic!r} cannot be used", key="deterministic", allowed="true or false"
        )
    checkpoints = plain.pop("checkpoints", None)
    if not isinstance(checkpoints, str | None):
        raise UserError(
            f"{checkpoints!r} is no folder", key="checkpoints", allowed="a path, or nothing"
        )
    every = plain.pop("checkpoint_every", None)
    if not (every is None or (type(every) is int and every >= 0)):
        raise UserError(
            f"{every!r} cannot be used",
            key="checkpoint_every",
            allowed="epochs, 0 for no checkpoints, or nothing for as many as cost little",
        )
    name = plain.pop("executor", "serial" if plain.get("workers", 1) == 1 else "ray")
    if not isinstance(name, str):
        raise UserError(f"{name!r} names no executor", key="executor", allowed="a word")
    executor = _plugin("executors", name, plain, folder, "executor")
    place = None if checkpoints is None else Path(absolute(checkpoints, folder))
    return Execution(executor, deterministic, place, every)


def read_baseline(given: Any, folder: Path) -> Baseline:
    """A name, a file, a factory, or a mapping of one of them with fields to replace."""
    plain = {_kind(given): given} if isinstance(given, str) else dict(_mapping(given))
    sources = [key for key in ("name", "file", "factory", *LIBRARIES) if key in plain]
    if len(sources) != 1 or not isinstance(plain[sources[0]], str):
        raise UserError(
            f"{given!r} does not say which network",
            allowed="efficientnet_b0, a file.yaml, package.module:function, or one of "
            "{name: …}, {file: …}, {factory: …}, {timm: …}, {torchvision: …} with fields to "
            "replace",
        )
    source = plain.pop(sources[0])
    if sources[0] in LIBRARIES:
        source = f"{sources[0]}:{source}"
    if "stages" in plain:
        raise UserError(
            "'stages' cannot be replaced here", key="stages", hint="describe the network in a file"
        )
    baseline = Baseline(absolute(source, folder) if sources == ["file"] else source, plain)
    baseline.make()
    return baseline


def read_coefficients(given: Any, folder: Path) -> Coefficients:
    """`{alpha: 1.2, beta: 1.1, gamma: 1.15}`, or the path of a `coefficients.yaml`."""
    if isinstance(given, str):
        return Coefficients.load(absolute(given, folder))
    coefficients: Coefficients = read_record(Coefficients, _mapping(given), folder)
    return coefficients


def read_detector_coefficients(given: Any, folder: Path) -> DetectorCoefficients:
    """`{neck_width: 1.35, resolution: 128}` and others, or the path of a `coefficients.yaml`."""
    if isinstance(given, str):
        return DetectorCoefficients.load(absolute(given, folder))
    coefficients: DetectorCoefficients = read_record(DetectorCoefficients, _mapping(given), folder)
    return coefficients


def read_anchors(given: Any, folder: Path) -> Anchors | Literal["auto"]:
    """`auto`, or `{scale: 4.0, octaves: 3, ratios: [1, 2, 0.5]}`."""
    if isinstance(given, str):
        if given != "auto":
            raise UserError(f"{given!r} is not known", allowed="auto, or {scale: …, ratios: …}")
        return "auto"
    anchors: Anchors = make(Anchors, _mapping(given), "")
    return anchors


def read_stopping(given: Any, folder: Path) -> Stopping:
    """`{rungs: [1, 3], keep: 0.5, data: [0.25, 0.5], resolution: [0.5, 0.75]}`."""
    stopping: Stopping = read_record(Stopping, _mapping(given), folder)
    return stopping


def read_fidelity(given: Any, folder: Path) -> Fidelity:
    """`{data: 0.25, resolution: 0.5}`."""
    fidelity: Fidelity = read_record(Fidelity, _mapping(given), folder)
    return fidelity


def read_rate(given: Any, folder: Path) -> GrowingRate:
    """`{per_phi: 0.05, most: 0.5}`."""
    rate: GrowingRate = read_record(GrowingRate, _mapping(given), folder)
    return rate


def read_limits(given: Any, folder: Path) -> dict[str, Limit]:
    """`{flops: {max: 400M}, training_bytes: {max: 2GiB}}`."""
    limits: dict[str, Limit] = {}
    mistakes: list[UserError] = []
    for name, bounds in _mapping(given).items():
        try:
            check_limits({name: Limit(min=1)})
            limits[name] = _limit(name, bounds)
        except UserError as error:
            mistakes.append(error if error.key == name else error.at(under=name))
    if mistakes:
        raise Mistakes(mistakes)
    return limits


def plain_limits(limits: Mapping[str, Limit]) -> dict[str, dict[str, float]]:
    """As they are written in YAML, in plain numbers."""
    bounds = {name: {"min": limit.min, "max": limit.max} for name, limit in limits.items()}
    return {
        name: {key: value for key, value in both.items() if value is not None}
        for name, both in bounds.items()
    }


def read_objective(given: Any, folder: Path) -> Objective:
    """`accuracy`, `{reward: accuracy, flops: 400M, exponent: -0.07}` or `[accuracy, flops]`."""
    forms = "accuracy, or {reward: accuracy, flops: 400M, exponent: -0.07}, or [accuracy, flops]"
    if isinstance(given, str):
        return Objective(metric=_metric(given, forms))
    if isinstance(given, list) and len(given) == 2 and all(isinstance(g, str) for g in given):
        return _objective(metric=_metric(given[0], forms), cost=given[1])
    if not isinstance(given, Mapping) or not isinstance(given.get("reward"), str):
        raise UserError(f"{given!r} is not an objective", allowed=forms)
    costs = [key for key in given if key in UNITS]
    others = [key for key in given if key not in (*UNITS, "reward", "exponent")]
    if len(costs) != 1 or others:
        raise UserError(f"{given!r} is not a reward", allowed="{reward: accuracy, flops: 400M}")
    exponent = given.get("exponent", -0.07)
    if isinstance(exponent, bool) or not isinstance(exponent, int | float):
        raise UserError(f"{exponent!r} cannot be used", key="exponent", allowed="a number")
    target = _placed(_unit(costs[0]), given[costs[0]], costs[0])
    metric = _metric(given["reward"], forms)
    return _objective(metric=metric, cost=costs[0], target=target, exponent=exponent)


def plain_objective(objective: Objective) -> str | list[str] | dict[str, Any]:
    """As it is written in YAML."""
    if objective.cost is None:
        return objective.metric
    if objective.target is None:
        return [objective.metric, objective.cost]
    return {
        "reward": objective.metric,
        objective.cost: objective.target,
        "exponent": objective.exponent,
    }


def plain_options(record: Any) -> dict[str, Any]:
    """Any other record as it is written in YAML."""
    return record.plain() if hasattr(record, "plain") else plain_record(record)


def _plugin(
    kind: str, name: str, options: Mapping[str, Any], folder: Path, key: str = "name"
) -> Plugin:
    try:
        loaded = plugins.load(kind, name)
    except UserError as error:
        raise error.at(under=key) from None
    record = read_record(loaded, with_preset(loaded, options), folder)
    if ":" in name:
        try:
            check_attributes(kind, name, record)
        except UserError as error:
            raise error.at(under=key) from None
    return Plugin(kind, name, plain_record(record))


def with_preset(kind: Any, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """A plug-in's options over those of the `recipe` that they name, where it has some by name."""
    presets = getattr(kind, "presets", None)
    if not presets or "recipe" not in options:
        return options
    own = {key: value for key, value in options.items() if key != "recipe"}
    return {**preset(presets, str(options["recipe"])), **own}


def _objective(**fields: Any) -> Objective:
    try:
        return Objective(**fields)
    except UserError as error:  # placed by whoever reads the file
        raise UserError(error.problem, allowed=error.allowed, hint=error.hint) from None


def _limit(name: str, bounds: Any) -> Limit:
    plain = _mapping(bounds, "{min: …}, {max: …} or both")
    for key in plain:
        if key not in ("min", "max"):
            raise UserError(f"unknown key {key!r}", key=key, allowed="min, max")
    return Limit(**{key: _placed(_unit(name), value, key) for key, value in plain.items()})


def _unit(name: str) -> Callable[[object], float]:
    """The reader of a cost's amounts: `64MiB`, `20ms`, `400M`."""
    return {"bytes": parse_bytes, "seconds": parse_seconds}.get(UNITS[name], parse_count)


def _placed(parse: Callable[[object], Number], value: Any, key: str) -> Number:
    try:
        return parse(value)
    except UserError as error:
        raise error.at(under=key) from None


def _metric(word: str, forms: str) -> str:
    if word == "loss":
        raise UserError("an objective is maximised, and a loss is not to be", allowed=forms)
    if word in UNITS:
        raise UserError(
            f"{word!r} is a cost; an objective begins with a metric to be maximised", allowed=forms
        )
    return word


def _mapping(given: Any, allowed: str = "key: value pairs") -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError(f"{given!r} is not a mapping", allowed=allowed)
    return given


def _kind(source: str) -> str:
    if source.endswith((".yaml", ".yml")):
        return "file"
    return "factory" if ":" in source else "name"
