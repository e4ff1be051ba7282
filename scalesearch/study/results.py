"""What follows from the trials: the report, and the winners as code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.arch.detector import Architecture
from scalesearch.arch.plain import digest
from scalesearch.contracts import written
from scalesearch.cost.cost import Deployment
from scalesearch.errors import UserError
from scalesearch.files.strict import load_yaml
from scalesearch.history.confirmed import confirmed
from scalesearch.history.drift import drift
from scalesearch.history.final_scores import current, weights_name
from scalesearch.history.points import points
from scalesearch.history.ranking import ranked
from scalesearch.history.stopping import schedule_of
from scalesearch.history.trials import Trial, overall
from scalesearch.plugins import calling
from scalesearch.study.doubt import doubt
from scalesearch.study.folder import RunFolder, load_json
from scalesearch.study.latency import agreement_of
from scalesearch.study.parts import read_limits
from scalesearch.study.surface import GridSurface, best_point, surface_of
from scalesearch.text import printable

if TYPE_CHECKING:
    from scalesearch.report.learned import Learned
    from scalesearch.study.parts import Plugin


@dataclass(frozen=True)
class Winner:
    """A network worth keeping: its name in files, and the trial whose weights it has."""

    name: str
    architecture: Architecture
    phase: str
    trial: Trial

    @property
    def has_weights(self) -> bool:
        """Whether it was trained here: a known result leaves none."""
        return not self.trial.is_imported and "looked_up" not in self.trial.scores

    @property
    def weights_of(self) -> str:
        """Which weights it has, as `Trial.weights_of` says."""
        return weights_name(self.phase, self.trial)

    @property
    def file(self) -> str:
        """Its description in the run folder."""
        return f"family/{self.name}.yaml" if self.phase == "family" else "baseline.yaml"


def winners(folder: RunFolder, phases: Mapping[str, list[Trial]] | None = None) -> Iterator[Winner]:
    """The baseline of the search, and every member of the family, that have a result.

    `phases` are the folder's trials where they were read already.
    """
    phases = folder.read() if phases is None else phases
    if "search" in phases:
        network = folder.baseline
        for phase in ("confirm", "search"):  # of several trainings the best one's weights
            trial = _trial_of(network, ranked(phases.get(phase, ())))
            if trial is not None:
                yield Winner("baseline", network, phase, trial)
                break
    for member in folder.family:
        trial = _trial_of(member.architecture, phases.get("family", []))
        if trial is not None:
            yield Winner(member.name, member.architecture, "family", trial)


def export_winners(folder: RunFolder, exporters: tuple[Plugin, ...]) -> list[Path]:
    """Writes every winner into `export/` in each form and returns the paths."""
    paths: list[Path] = []
    phases = folder.read()
    tested = {trial.weights_of: trial for trial in phases.get("test", ()) if trial.has_result}
    for winner in winners(folder, phases):
        weights = _weights(folder, winner) if winner.has_weights else None
        about = _about(folder, winner, tested.get(winner.weights_of))
        for plugin in exporters:
            exporter = plugin.make()
            name = winner.name.replace("-", "minus").replace(".", "_") + exporter.suffix
            target = folder.path / "export" / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise UserError(
                    "this is a file, and the exports need a folder of this name",
                    file=str(target.parent),
                    hint="move it elsewhere",
                ) from None
            with calling(plugin.name, "export"):
                exported = exporter.export(winner.architecture, target, weights, about)
            paths += written(plugin.name, exported, target)
    return paths


def _weights(folder: RunFolder, winner: Winner) -> Mapping[str, Any]:
    """The state dict of a winner; `UserError` if its file is missing, damaged or another's."""
    from scalesearch.nn.weight_files import read_weights
    from scalesearch.nn.weights import fit, needed_by

    checkpoint = folder.checkpoint(winner.phase, winner.trial.number)
    hint = (
        "put the file back, or export the network without its weights: "
        f"`scalesearch export {folder.path / winner.file}`"
    )
    if not checkpoint.exists():
        raise UserError(
            f"the weights of {winner.name} are missing: there is no {checkpoint}", hint=hint
        )
    try:
        given = read_weights(checkpoint)
        _, fitted = fit(needed_by(winner.architecture), given.state)
        fitted.check()
    except UserError as error:
        problem = f"these are not the weights of {winner.name}: {error.problem}"
        raise UserError(problem, file=str(checkpoint), hint=hint) from None
    return given.state


def report(folder: RunFolder) -> list[Path]:
    """Draws the figures and the page of a run folder, as far as it has got."""
    from scalesearch.history.table import table
    from scalesearch.report.contents import Contents, Detections
    from scalesearch.report.page import write_report

    # Read once: a long record takes seconds, and that of a running study grows.
    settings, phases = folder.settings, folder.read()
    trials = table(phases)
    has_baseline = (folder.path / "baseline.yaml").exists()
    baseline = folder.baseline if has_baseline else None
    baseline_trial = _trial_of(baseline, phases.get("search", [])) if baseline else None
    objective = folder.objective
    has_coefficients = (folder.path / "coefficients.yaml").exists()
    detections = [
        Detections(winner.name, winner.phase, winner.trial.number, file)
        for winner in (winners(folder, phases) if has_baseline else ())
        if (file := folder.detections(winner.phase, winner.trial.number)).exists()
    ]
    folder.write_trials(trials)
    phases = current(phases)
    trials = table(phases)
    metric = objective.metric
    found = [each for each in points(phases.get("grid", ()), metric) if each.trainings]
    surface, grid = GridSurface(), settings.get("grid") or {}
    if has_coefficients and has_baseline and found:
        surface = surface_of(grid, metric, folder.baseline, phases["grid"])
        best = best_point(found, surface)
        found = [best, *(each for each in found if each is not best)]
    contents = Contents(
        name=settings["name"],
        task=folder.task,
        trials=trials,
        rankings={phase: [trial.number for trial in ranked(each)] for phase, each in phases.items()}
        | ({"grid": [each.first.number for each in found]} if found else {}),
        metric=objective.metric,
        objective=objective.label,
        limits={
            phase: read_limits(settings[phase].get("limits", {}), Path())
            for phase in ("search", "grid")
            if settings.get(phase)
        },
        baseline=baseline,
        baseline_trial=baseline_trial.number if baseline_trial else None,
        confirmation=confirmed(phases),
        doubt=doubt(settings) if baseline else "",
        coefficients=folder.coefficients if has_coefficients else None,
        points=found,
        surface=surface.response,
        surface_lines=surface.lines if surface.response else surface.unknown,
        no_surface=surface.reason,
        spent=_spent(folder) if has_coefficients else None,
        seen=_seen(settings),
        drift=drift(phases.get("grid_confirm", ()), metric, grid.get("phi", 1.0)),
        members=folder.family,
        detections=detections,
        truth=folder.truth if folder.truth.exists() else None,
        deployment=_deployment(settings),
        agreement=agreement_of(phases.get("search", [])),
        environment=_environment(folder),
        study_text=(folder.path / "resolved.yaml").read_text("utf-8"),
        exports=[
            printable(str(path.relative_to(folder.path)))
            for path in sorted(folder.path.glob("export/*.*"))
        ],
        data_notes=_data_notes(folder),
        test_images=folder.test_images,
        learned=_learned(folder, phases.get("search", [])),
    )
    return write_report(contents, folder.path)


def _spent(folder: RunFolder) -> tuple[float, float, int] | None:
    """Whole trainings of a grid in rounds, those of repeats among them, and how many networks there
    were to train once; None of any other grid.
    """
    plain = load_yaml(folder.path / "coefficients.yaml").plain
    if "repeats" not in plain:
        return None
    return plain["trainings"], plain["repeats"], plain["trainings_without_halving"]


def _seen(settings: Mapping[str, Any]) -> dict[str, str]:
    """What trainings of each phase saw of the data, in words, where it was not all of it."""
    search = settings.get("search") or {}
    sections = {"search": search, "confirm": search.get("confirm")}
    sections |= {phase: settings.get(phase) for phase in ("grid", "family")}
    schedules = {phase: schedule_of(section) for phase, section in sections.items() if section}
    return {phase: schedule.words for phase, schedule in schedules.items() if schedule}


def _trial_of(network: Architecture, trials: list[Trial]) -> Trial | None:
    """The first trial that trained this network, if one did."""
    wanted = digest(network)
    return next((t for t in trials if t.digest == wanted and t.state == "assessed"), None)


def _deployment(settings: Mapping[str, Any]) -> str:
    """What latency was measured for, in words."""
    section = settings.get("latency")
    if section is None:
        return ""
    return str(Deployment(**{key: value for key, value in section.items() if key != "table"}))


def _learned(folder: RunFolder, trials: Sequence[Trial]) -> Learned | None:
    """What the search learned; nothing if the study's files are gone."""
    from scalesearch.study.learned import learned
    from scalesearch.study.load import load_study

    try:
        study = load_study(folder.path / "resolved.yaml")
    except UserError:
        return None
    return learned(study, trials)


def _data_facts(folder: RunFolder) -> Mapping[str, Any]:
    """What users of the weights must know of the data set; nothing of a study without one."""
    data = folder.data if folder.settings.get("dataset") else {}
    return {key: value for key, value in data.items() if key not in ("files", "images", "notes")}


def _data_notes(folder: RunFolder) -> Sequence[str]:
    """What was said of the data set; nothing if the run ended before it was read."""
    has_data = (folder.path / "data.json").exists()
    notes: Sequence[str] = folder.data.get("notes", ()) if has_data else ()
    return notes


def _environment(folder: RunFolder) -> Mapping[str, Any]:
    file = folder.path / "environment.json"
    return load_json(file) if file.exists() else {}


def _about(folder: RunFolder, winner: Winner, tested: Trial | None) -> dict[str, Any]:
    scores: dict[str, Any] = overall(winner.trial.scores)
    seen = _seen(folder.settings).get(winner.phase)
    if winner.has_weights:
        scores["scores_of"] = "the validation images"
    if tested is not None:
        scores["scores_of"] += "; `test_...` of the test images"
        scores |= {f"test_{name}": value for name, value in overall(tested.scores).items()}
    return {
        "study": folder.settings["name"],
        "trial": f"{winner.phase} {winner.trial.number}",
        **scores,
        **({"trained_on": seen} if seen else {}),
        **_data_facts(folder),
    }
