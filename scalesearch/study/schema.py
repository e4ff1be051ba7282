"""The study file as frozen settings: one class for each section, one field for each key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core.core_schema import CoreSchema, with_info_plain_validator_function

from scalesearch import plugins
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.factory import Factory
from scalesearch.cost.cost import Deployment
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError, nearest
from scalesearch.files.paths import is_file
from scalesearch.files.write import safe_name
from scalesearch.history.fidelity import WHOLE, WHOLE_EPOCHS, Fidelity, Schedule
from scalesearch.history.objective import METRICS, Objective
from scalesearch.history.stopping import Stopping
from scalesearch.interfaces import Executor, hook
from scalesearch.scaling.coefficients import (
    LEAST_PHI,
    MOST_PHI,
    BudgetCost,
    Coefficients,
    HeadScaling,
    Match,
)
from scalesearch.scaling.lines import check_lengths, check_line_name
from scalesearch.scaling.regularisation import GrowingRate, Regularisation
from scalesearch.scaling.strategies import DEFAULT, OWN_PATTERN, STRATEGIES, check_strategy
from scalesearch.study import parts
from scalesearch.study.checks import (
    check_auto_batch,
    check_confirm,
    check_fidelity,
    check_known_costs,
    check_metric,
    check_reward,
    check_rungs,
    check_task,
    check_trainings,
)
from scalesearch.study.options import absolute
from scalesearch.study.parts import Baseline, Execution, Plugin, TableSpace

# So many candidates are proposed for each trial before a search gives up on its limits.
PROPOSALS_PER_TRIAL = 100
TASKS = tuple(METRICS)


def _folder(info: ValidationInfo) -> Path:
    """Where relative paths start: the folder of the study file."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder


@dataclass(frozen=True)
class Reads:
    """A field that is written in several forms.

    Attributes:
        read: what was written, and where its relative paths start, to a record.
        form: of what is written, by its name in `jsonschema.FORMS`.
        optional: it may be null.
    """

    read: Callable[[Any, Path], Any]
    form: str
    optional: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        from scalesearch.study.jsonschema import FORMS

        written: dict[str, Any] = handler(TypeAdapter(FORMS[self.form]()).core_schema)
        return written

    def _validate(self, given: Any, info: ValidationInfo) -> Any:
        return None if self.optional and given is None else self.read(given, _folder(info))


def plugin(folder: str, form: str = "", *, optional: bool = False) -> Reads:
    """A field that names a plug-in of a folder, with its options."""
    return Reads(partial(parts.read_plugin, folder), form or folder, optional)


def _existing(path: Path, info: ValidationInfo) -> Path:
    absolute_path = Path(absolute(str(path), _folder(info)))
    if not is_file(absolute_path):
        raise UserError(f"there is no file {absolute_path}")
    return absolute_path


def _existing_table(path: Path, info: ValidationInfo) -> Path:
    try:
        return _existing(path, info)
    except UserError as error:
        raise UserError(
            error.problem,
            hint="measure one: `scalesearch profile --space SPACE.yaml --latency-out TABLE.json`",
        ) from None


def _known_task(task: Any) -> Any:
    if task not in TASKS:
        raise UserError(
            f"{task!r} is not known", allowed=", ".join(TASKS), hint=nearest(str(task), TASKS)
        )
    return task


def _enough_proposals(settings: dict[str, Any]) -> int:
    trials: int = settings.get("trials", 1)
    return trials * PROPOSALS_PER_TRIAL


def _objective_of(settings: dict[str, Any]) -> Objective:
    """The metric of an evaluator that has one alone, or accuracy."""
    evaluator = settings.get("evaluator")
    known: Sequence[str] = () if evaluator is None else hook(evaluator.make(), "metrics") or ()
    return Objective(metric=known[0]) if len(known) == 1 else Objective()


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, none of which may stand twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UserError(f"{value!r} stands twice", key=f"[{index}]")
    return values


# Below a section that is read before it is checked, a list is Python's and no longer JSON's.
AS_TUPLE = BeforeValidator(lambda given: tuple(given) if isinstance(given, list) else given)
ObjectiveOf = Annotated[Objective, Reads(parts.read_objective, "objective")]
Limits = Annotated[Mapping[str, Limit], Reads(parts.read_limits, "limits")]
FidelityOf = Annotated[Fidelity, Reads(parts.read_fidelity, "fidelity")]
PhaseEvaluator = Annotated[Plugin, plugin("evaluators", "part of an evaluator")]
Compared = Annotated[
    tuple[Annotated[Baseline, Reads(parts.read_baseline, "baseline")], ...], Field(strict=False)
]
StoppingOf = Annotated[Stopping | None, Reads(parts.read_stopping, "stopping", optional=True)]
Trainings = Annotated[int, Field(ge=1)] | None
RateOf = Annotated[GrowingRate | None, Reads(parts.read_rate, "rate", optional=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Phi = Annotated[float, Field(ge=LEAST_PHI, le=MOST_PHI, allow_inf_nan=False)]


Strategy = Annotated[
    str,
    AfterValidator(check_strategy),
    WithJsonSchema({"anyOf": [{"enum": [*STRATEGIES]}, {"pattern": f"^{OWN_PATTERN}$"}]}),
]


# How the cost of a grid's budget is written beside its factor.
_BUDGET_WORDS: Mapping[str, BudgetCost] = {"latency": "latency", "memory": "training_bytes"}
_FACTOR = {"type": "number", "exclusiveMinimum": 0}
_BUDGET = {
    "anyOf": [
        _FACTOR,
        *(
            {
                "type": "object",
                "properties": {word: _FACTOR},
                "required": [word],
                "additionalProperties": False,
            }
            for word in _BUDGET_WORDS
        ),
    ]
}


def _listed(given: Any) -> Any:
    return tuple(given) if isinstance(given, list | tuple) else (given,)


# What a line multiplies one dimension with: a number, or a list of numbers.
_LIST = {"type": "array", "items": _FACTOR, "minItems": 1}
Multiples = Annotated[
    tuple[Positive, ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_FACTOR, _LIST]}),
]


class Settings(BaseModel):
    """A section of the file: frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Phase(Settings):
    """A phase: its evaluator is the study's own where it says nothing."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema["required"].remove("evaluator")
    )

    if TYPE_CHECKING:  # each phase has them behind its own keys
        evaluator: PhaseEvaluator
        fidelity: FidelityOf

    @property
    def schedule(self) -> Schedule:
        """What each epoch of the phase's trainings takes: a rung's shares of the phase's own."""
        stopping: Stopping | None = getattr(self, "stopping", None)
        rungs = WHOLE_EPOCHS if stopping is None else stopping.schedule
        return rungs.within(self.fidelity)

    @model_validator(mode="after")
    def _check_fidelity(self) -> Self:
        check_fidelity(Schedule(then=self.fidelity), self.evaluator, "fidelity")
        return self


class Confirm(Phase):
    """The best networks of the search, each trained several times: which of them is the best."""

    top: int = Field(default=3, ge=2)
    seeds: int = Field(default=3, ge=2)
    evaluator: PhaseEvaluator
    fidelity: FidelityOf = WHOLE


class Search(Phase):
    """Phase 1: the baseline is the best network of a space."""

    task_name: ClassVar[str] = "classification"

    space: Annotated[Path | TableSpace, Reads(parts.read_space, "space")]
    sampler: Annotated[Plugin, plugin("samplers")] = Field(
        default_factory=lambda: "predictor", validate_default=True
    )
    trials: int = Field(ge=1)
    proposals: int = Field(default_factory=_enough_proposals, ge=1)
    limits: Limits = Field(default_factory=dict)
    evaluator: PhaseEvaluator
    fidelity: FidelityOf = WHOLE
    objective: ObjectiveOf = Field(default_factory=_objective_of)
    stopping: StoppingOf = None
    confirm: Confirm | None = None
    compare: Compared = ()

    @model_validator(mode="after")
    def _check(self) -> Search:
        if self.proposals < self.trials:
            raise UserError(
                f"{self.proposals} proposals cannot give {self.trials} trials",
                key="proposals",
                allowed=f"at least {self.trials}",
            )
        check_rungs(self.stopping, self.evaluator)
        check_metric(self.evaluator, self.objective.metric, self.task_name)
        check_known_costs(self.space, self.limits, self.objective)
        check_reward(self.objective, minimizes=hook(self.evaluator.make(), "minimizes"))
        if isinstance(self.space, TableSpace) and self.objective.metric in self.space.parameters:
            raise UserError(
                f"the column {self.objective.metric!r} is a parameter and the metric",
                key="space.parameters",
            )
        names = [one.name for one in self.compare]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise UserError(
                    f"two networks are named {name!r}",
                    key=f"compare[{index}]",
                    hint="rename one of the files",
                )
        if self.confirm is not None:
            key, metric = "confirm.evaluator", self.objective.metric
            check_metric(self.confirm.evaluator, metric, self.task_name, key)
        return self


class GridConfirm(Settings):
    """The grid's leaders and single dimensions, trained longer and scaled further."""

    lengths: Annotated[
        tuple[Positive, ...], Field(min_length=1), AfterValidator(distinct), AS_TUPLE
    ] = (1.0, 3.0)
    phi: Annotated[
        tuple[Positive, ...], Field(min_length=1), AfterValidator(distinct), AS_TUPLE
    ] = (1.0, 2.0)
    top: int = Field(default=3, ge=1)
    strategies: Annotated[tuple[Strategy, ...], AfterValidator(distinct), AS_TUPLE] = (
        "depth",
        "width",
        "resolution",
    )
    seeds: int = Field(default=1, ge=1)


class Grid(Phase):
    """Phase 2: the best triple of coefficients for the baseline.

    `budget: {latency: 2.0}` is `budget: 2.0, budget_cost: latency`.
    """

    budget: Annotated[Positive, WithJsonSchema(_BUDGET)] = 2.0
    budget_cost: BudgetCost = "flops"
    tolerance: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    step: Positive = 0.05
    phi: Positive = 1.0
    head_scaling: HeadScaling = "scale"
    match: Match = "measured"
    limits: Limits = Field(default_factory=dict)
    trainings: Trainings = None
    stopping: StoppingOf = None
    confirm: GridConfirm | None = None
    evaluator: PhaseEvaluator
    fidelity: FidelityOf = WHOLE

    @model_validator(mode="before")
    @classmethod
    def _named_budget(cls, given: Any) -> Any:
        """The cost beside its factor, where they are written as one."""
        named = given.get("budget") if isinstance(given, Mapping) else None
        if not isinstance(named, Mapping):
            return given
        if len(named) != 1 or (word := next(iter(named))) not in _BUDGET_WORDS:
            raise UserError(
                f"{dict(named)!r} names no budget",
                key="budget",
                allowed="a number, {latency: 2.0} or {memory: 2.0}",
            )
        return {**given, "budget": named[word], "budget_cost": _BUDGET_WORDS[word]}

    @model_validator(mode="after")
    def _check(self) -> Grid:
        if self.budget_cost != "flops" and self.match == "nominal":
            raise UserError(
                f"networks of a nominal grid have no equal {self.budget_cost}",
                key="match",
                allowed="measured",
            )
        check_trainings(self.trainings, self.stopping, self.evaluator)
        if self.confirm is not None:
            check_confirm(self.confirm.lengths, self.evaluator)
        return self


class Line(Settings):
    """Networks of a family that a study lists, as papers plot them.

    Either multipliers of the baseline, rounded as in the paper: lists are read together, place by
    place, and one number stands for every place. Or `networks` by name.
    """

    depth: Multiples = (1.0,)
    width: Multiples = (1.0,)
    resolution: Multiples = (1.0,)
    head_scaling: HeadScaling = "scale"
    networks: Compared = ()

    @property
    def multipliers(self) -> dict[str, tuple[float, ...]]:
        """Each dimension to its values."""
        return {"depth": self.depth, "width": self.width, "resolution": self.resolution}

    @model_validator(mode="after")
    def _check(self) -> Line:
        given = self.model_fields_set
        if self.networks and any(self.multipliers[key] != (1.0,) for key in self.multipliers):
            raise UserError(
                "a line is of networks by name, or of multipliers of the baseline",
                key="networks",
                allowed="one of them; write a second line for the others",
            )
        if self.networks and self.head_scaling != "scale":
            raise UserError(
                "networks by name are not scaled, and head_scaling does nothing to them",
                key="head_scaling",
                allowed="multipliers of the baseline, or no head_scaling",
            )
        check_lengths(self.multipliers)
        if not given - {"head_scaling"}:
            raise UserError(
                "the line has no networks", allowed="depth, width, resolution, networks"
            )
        return self


class Family(Phase):
    """Phase 3: the baseline scaled, and by single dimensions for comparison.

    `lines` have networks that are listed, with or without those of `phi` and `strategies`.
    `dropout` and `drop_path` grow with phi.
    """

    phi: Annotated[tuple[Phi, ...], Field(strict=False), AfterValidator(distinct)] = ()
    strategies: Annotated[
        tuple[Strategy, ...], Field(strict=False, min_length=1), AfterValidator(distinct)
    ] = DEFAULT
    lines: Mapping[str, Line] = Field(default_factory=dict)
    dropout: RateOf = None
    drop_path: RateOf = None
    evaluator: PhaseEvaluator
    fidelity: FidelityOf = WHOLE

    @model_validator(mode="after")
    def _check_members(self) -> Family:
        for name in self.lines:
            try:
                check_line_name(name)
            except UserError as error:
                raise error.at(under=f"lines.{name}") from None
        if not self.phi and not self.lines:
            raise UserError(
                "the family has no members",
                key="phi",
                allowed="at least 1 of them, or `lines:` that list networks",
            )
        if not self.phi and self.regularisation:
            raise UserError(
                "rates grow with phi, and networks of `lines` have none",
                key="drop_path" if self.dropout is None else "dropout",
                allowed="`phi:` beside it",
            )
        return self

    @property
    def regularisation(self) -> Regularisation:
        """The rates of the members at each phi."""
        return Regularisation(dropout=self.dropout, drop_path=self.drop_path)


class Latency(Settings):
    """What the latency of every assessed network is measured for, on its worker."""

    device: Literal["cpu", "cuda"] = "cpu"
    batch: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)
    table: Annotated[Path, AfterValidator(_existing_table)] | None = None

    @property
    def deployment(self) -> Deployment:
        """The same as measuring takes it."""
        return Deployment(device=self.device, batch=self.batch, threads=self.threads)


def _below_file(path: Path, info: ValidationInfo) -> Path:
    return Path(absolute(str(path), _folder(info)))


class Cache(Settings):
    """The images of the data set, packed once at a side in pixels, for this and later studies.

    They lie in `folder`; by default in the user's cache folder.
    """

    side: int = Field(ge=4)
    folder: Annotated[Path, AfterValidator(_below_file)] | None = None


class Study(Settings):
    """A whole study file: every default filled in, every path absolute, every option checked."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["search"]}, {"required": ["baseline"]}]}
    )
    default_evaluator: ClassVar[str] = "training"
    metric: ClassVar[str] = METRICS["classification"]
    network: ClassVar[type] = Backbone
    task_name: ClassVar[str] = "classification"

    name: Annotated[str, AfterValidator(safe_name)]
    task: Annotated[Literal["classification"], BeforeValidator(_known_task)] = "classification"
    seed: int = Field(default=0, ge=0)
    dataset: Annotated[Plugin | None, plugin("datasets", optional=True)] = None
    cache: Cache | None = None
    evaluator: Annotated[Plugin, plugin("evaluators")] = Field(
        default_factory=lambda: "training", validate_default=True
    )
    latency: Latency | None = None
    baseline: Annotated[Baseline | None, Reads(parts.read_baseline, "baseline", optional=True)] = (
        None
    )
    search: Search | None = None
    coefficients: Annotated[
        Coefficients | None, Reads(parts.read_coefficients, "coefficients", optional=True)
    ] = None
    grid: Grid | None = None
    family: Family | None = None
    execution: Annotated[Execution, Reads(parts.read_execution, "execution")] = Field(
        default_factory=dict, validate_default=True
    )
    export: Annotated[tuple[Annotated[Plugin, plugin("exporters")], ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check(self) -> Study:
        if (self.baseline is None) == (self.search is None):
            raise UserError(
                "a study needs a search or a baseline, and not both",
                allowed="`search:` with a space, or `baseline: efficientnet_b0`",
            )
        if self.grid is not None and self.coefficients is not None:
            raise UserError(
                "the grid finds the coefficients; they cannot be given as well",
                key="coefficients",
                hint="leave out one of `grid` and `coefficients`",
            )
        scaled = self.family is not None and bool(self.family.phi)
        if scaled and self.grid is None and self.coefficients is None:
            raise UserError(
                "a family needs coefficients",
                key="family",
                allowed="`grid:` to find them, or `coefficients:` with alpha, beta and gamma",
            )
        if not scaled and self.coefficients is not None:
            raise UserError(
                "coefficients do nothing without a family" + " that has phi" * bool(self.family),
                key="coefficients",
                allowed="`family:`",
            )
        if self.export and self.search is None and self.family is None:
            raise UserError(
                "only a search or a family leaves networks to export", key="export", allowed="[]"
            )
        suffixes = [plugin.make().suffix for plugin in self.export]
        if twice := sorted({suffix for suffix in suffixes if suffixes.count(suffix) > 1}):
            raise UserError(
                f"two exports would write the same {' and '.join(twice)} files",
                key="export",
                hint="keep one; `scalesearch export RUN` writes others later",
            )
        if self.baseline is not None and self.export:
            network = self.baseline.make()
            for index, form in enumerate(self.export):
                try:
                    hook(form.make(), "check")(network)
                except UserError as error:
                    raise error.at(under=f"export[{index}]") from None
        if self.search is None and self.grid is None and self.family is None:
            raise UserError("there is nothing to do", allowed="a search, a grid or a family")
        if self.grid is not None and self.grid.trainings and self.execution.checkpoint_every == 0:
            raise UserError(
                "a grid in rounds goes on from checkpoints, and there are none",
                key="execution.checkpoint_every",
                allowed="epochs above 0, or nothing",
                hint="or leave `grid.trainings` out",
            )
        gpus = self.execution.executor.options.get("gpus") or 0
        for name, phase in self.phases.items():
            check_auto_batch(phase.evaluator, gpus, f"{name}.evaluator")
        self._check_data()
        self._check_task()
        self._check_latency()
        return self

    @property
    def objective(self) -> Objective:
        """What a search maximises, and what all phases are ranked by."""
        return self.search.objective if self.search else Objective(metric=self.metric)

    @property
    def trains(self) -> bool:
        """Whether the search trains its networks."""
        return self.search is None or bool(hook(self.search.evaluator.make(), "trains"))

    @property
    def phases(self) -> dict[str, Search | Confirm | Grid | Family]:
        """The sections with an evaluator of their own, by their keys."""
        phases = {
            "search": self.search,
            "search.confirm": None if self.search is None else self.search.confirm,
            "grid": self.grid,
            "family": self.family,
        }
        return {key: phase for key, phase in phases.items() if phase is not None}

    def require_files(self) -> None:
        """Raises `UserError` for a file that an evaluator of a phase needs and that is not there.

        Not as the study is read: a file may be had later than the study.
        """
        for name, phase in self.phases.items():
            try:
                hook(phase.evaluator.make(), "require_files")()
            except UserError as error:
                raise error.at(under=f"{name}.evaluator") from None

    def _check_data(self) -> None:
        """Rejects a study that trains and has no images, or scales what it cannot build."""
        for name, phase in self.phases.items():
            trains = hook(phase.evaluator.make(), "trains")
            if name != "search" and not trains:
                raise UserError(
                    f"the evaluator {phase.evaluator.name!r} knows networks of the search alone",
                    key=f"{name}.evaluator",
                    hint="name one that trains, such as `{name: training, epochs: 10}`, and a "
                    "data set",
                )
            if trains and self.dataset is None:
                raise UserError(
                    "a study that trains needs a data set",
                    key="dataset",
                    allowed=", ".join(plugins.names("datasets")),
                )
        if self.cache is not None and self.dataset is None:
            raise UserError(
                "there are no images to be packed", key="cache", allowed="a study with `dataset:`"
            )
        if self.search is not None and isinstance(self.search.space, TableSpace):
            if self.trains or len(self.phases) > 1:
                raise UserError(
                    "networks that are rows of a table cannot be built, trained or scaled",
                    key="search.space",
                    allowed="a search with `evaluator: {name: table, …}`, and nothing behind it",
                )
            if self.search.compare:
                raise UserError(
                    "networks that are rows of a table are compared with no others",
                    key="search.compare",
                    allowed="[]",
                )
            if self.export:
                raise UserError(
                    "networks that are rows of a table cannot be exported",
                    key="export",
                    allowed="[]",
                )

    def _check_task(self) -> None:
        """Rejects a data set, an evaluator or a network that is of the other task."""
        used = {} if self.dataset is None else {"dataset": self.dataset}
        used |= {"evaluator": self.evaluator}
        used |= {f"{name}.evaluator": phase.evaluator for name, phase in self.phases.items()}
        for key, plugin in used.items():
            check_task(plugin, self.task, key)
        compared = self.search.compare if self.search else ()
        named = [(f"search.compare[{n}]", one) for n, one in enumerate(compared)]
        named += [] if self.baseline is None else [("baseline", self.baseline)]
        for name, line in ({} if self.family is None else self.family.lines).items():
            places = enumerate(line.networks)
            named += [(f"family.lines.{name}.networks[{n}]", one) for n, one in places]
        for key, one in named:
            kinds = (Backbone, Factory) if self.network is Backbone else self.network
            if isinstance(one.make(), kinds):
                continue
            raise UserError(
                f"{one.source} is not a network of the task {self.task}",
                key=key,
                allowed=f"a {self.network.__name__}",
                hint="`task: detection` takes detectors, `task: classification` all others",
            )

    @property
    def needs_table(self) -> str:
        """The key of what makes networks equal in predicted latency, or nothing."""
        if getattr(self.grid, "budget_cost", "flops") == "latency":
            return "grid.budget"
        return "coefficients" if getattr(self.coefficients, "budget_cost", "") == "latency" else ""

    def _check_latency(self) -> None:
        if self.needs_table and (self.latency is None or self.latency.table is None):
            raise UserError(
                "networks can only be made equal in a latency that is predicted",
                key=self.needs_table,
                hint="name a table: `latency: {table: TABLE.json}`; `scalesearch profile --space "
                "SPACE.yaml --latency-out TABLE.json` measures one",
            )
        if self.latency is None:
            key = self._asks_for_latency()
            confirms = self.search is not None and self.search.confirm is not None
            looks_up = self._looks_latency_up() and not (confirms and key == "search.objective")
            if key and not looks_up:
                raise UserError(
                    "latency is measured only where a study says on what",
                    key=key,
                    hint="add a section `latency: {device: cpu, batch: 1, threads: 1}`",
                )
            return
        executor: Executor = self.execution.executor.make()
        if self.latency.device == "cuda" and not self.execution.executor.options.get("gpus", 1):
            raise UserError(
                "no worker has a GPU to measure on",
                key="latency.device",
                hint="give each a whole one: `execution: {gpus: 1}`",
            )
        if self.latency.device == "cpu" and self.latency.threads > executor.threads:
            raise UserError(
                f"{self.latency.threads} threads on workers that may use {executor.threads}",
                key="latency.threads",
                hint=f"give each as many: `execution: {{cpus: {self.latency.threads}}}`",
            )
        if self.latency.table is not None and self.search is None and not self.needs_table:
            raise UserError(
                "a latency table predicts the candidates of a search, and there is none",
                key="latency.table",
            )

    def _looks_latency_up(self) -> bool:
        return self.search is not None and bool(hook(self.search.evaluator.make(), "gives_latency"))

    def _asks_for_latency(self) -> str:
        """The key of the first limit or objective on latency, or nothing."""
        if self.search is not None and self.search.objective.cost == "latency":
            return "search.objective"
        phases = {"search": self.search, "grid": self.grid}
        limited = (p for p, settings in phases.items() if settings and "latency" in settings.limits)
        return next((f"{phase}.limits.latency" for phase in limited), "")
