"""A whole study, from its file to its run folder."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from scalesearch.errors import UserError
from scalesearch.files.write import write_bytes, write_text
from scalesearch.history.record import open_storage, reopen_failed
from scalesearch.history.trials import PHASES
from scalesearch.interfaces import BoxData
from scalesearch.study.context import Context
from scalesearch.study.folder import RunFolder, existing, load_json, opened
from scalesearch.study.grid import coefficients
from scalesearch.study.inputs import data_notes
from scalesearch.study.load import load_study as read_study
from scalesearch.study.load import placing, resolved
from scalesearch.study.members import check_lines
from scalesearch.study.phases import baseline, family
from scalesearch.study.results import export_winners, report
from scalesearch.study.scoring import score_reported
from scalesearch.study.watch import Log, Watch, Watches
from scalesearch.training.average_precision import truth_of


def run(
    file: str | Path,
    overrides: Sequence[str] = (),
    *,
    folder: str | Path | None = None,
    watches: Iterable[Watch] = (),
    retry_failed: bool = False,
) -> RunFolder:
    """Runs a study to its end and returns its folder; resumes where an earlier run stopped.

    Args:
        file: the study's YAML file.
        overrides: settings in place of the file's, such as `search.trials=5`.
        folder: of the run; `runs/<name of the study>` below the current one by default.
        watches: get every event as it happens, beside `log.txt`.
        retry_failed: assess the trials that failed in earlier runs again, and no other one that is
            finished.

    Raises:
        UserError: a mistake in the file, a folder that holds another study, or no result at all.
        KeyboardInterrupt: everything finished is recorded; run it again to resume.
    """
    study = read_study(file, overrides)
    run_folder = RunFolder(Path(folder) if folder else Path("runs") / study.name)
    try:
        source = Path(file).read_text(encoding="utf-8")
        with opened(run_folder, resolved(study), source) as notes:
            watch = Watches((Log(run_folder.path / "log.txt"), *watches))
            for note in notes:
                watch.note(note)
            if retry_failed:
                _retry_failed(run_folder, watch)
            storage = open_storage(run_folder.record, repair=True)
            run_folder.read(storage)  # whole, or said before anything is added
            with placing(file, overrides):
                carry_out(Context(study, run_folder, storage, watch))
    except PermissionError as error:
        raise UserError(
            f"{error.filename or run_folder.path}: permission denied",
            hint="choose another --folder, or mend its permissions",
        ) from error
    except RuntimeError as error:
        if "did not possess lock" not in str(error):  # Optuna's word
            raise
        raise UserError(
            f"{run_folder.record}: its lock was removed by another process, or cannot be renamed",
            hint="see that nothing else writes there, and run the same command again",
        ) from error
    except OSError as error:
        # Optuna tidies up its lock when Ctrl-C ends a write, and may find nothing to tidy up.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        place = error.filename or run_folder.path
        raise UserError(
            f"no space is left on the disk of {run_folder.path}"
            if full
            else f"{place}: {error.strerror or error}",
            hint="every finished trial is recorded: "
            f"{'free some space' if full else 'mend this'} and run it again"
            f"{'' if full else ', or choose another --folder'}",
        ) from error
    return run_folder


def _retry_failed(folder: RunFolder, watch: Watch) -> None:
    """Makes the failed trials of a folder unfinished ones, and says which they are."""
    rows = folder.trials
    if not (rows["state"] == "failed").any():
        watch.note("no trial has failed: there is none to try again")
        return
    kept = folder.record.with_suffix(".before-retry")
    write_bytes(kept, folder.record.read_bytes())
    rows.loc[rows["state"] == "failed", "state"] = "running"
    folder.write_trials(rows)  # before the record, which may not lack what the table has
    failed = reopen_failed(folder.record)
    for phase, trials in failed.items():
        for trial in trials:
            watch.note(f"trial {trial.number} of the {phase} is tried again: {trial.reason}")
    phases = [phase for phase in PHASES if phase in failed or (rows["phase"] == phase).any()]
    first = min(phases.index(phase) for phase in failed)
    if resting := phases[first + 1 :]:
        watch.note(
            f"the {', '.join(resting)} rest on what the {phases[first]} found: if it finds another "
            f"network now, this folder cannot go on with them; {kept} is the record as it was"
        )


def carry_out(context: Context) -> None:
    """Every phase of a study, the export of the winners, and the report."""
    context.study.require_files()
    context.tidy_unfinished()
    describe_data(context)
    unscored: UserError | None = None
    with context.executor.connect():
        network = baseline(context)
        check_lines(context.study, network, context.data)
        triple = coefficients(context, network)
        scaled = () if context.study.family is None else family(context, network, triple)
        try:
            score_reported(context, scaled)
        except UserError as error:  # all are trained, which is worth their export and a page
            unscored = error
    context.tidy_unfinished()
    note_workers(context.folder)
    try:
        if context.study.export:
            paths = export_winners(context.folder, context.study.export)
            context.watch.note(f"export: {len(paths)} files in {context.folder.path / 'export'}")
    finally:  # the results are worth a page, even if a missing checkpoint ends the export
        report(context.folder)
    context.watch.note(f"report: {context.folder.path / 'report.html'}")
    if unscored is not None:
        raise unscored


def note_workers(folder: RunFolder) -> None:
    """Adds to `environment.json` on which nodes and devices the trials ran."""
    file = folder.path / "environment.json"
    trials = [trial for each in folder.read().values() for trial in each]
    used = {(trial.where.node, trial.where.device) for trial in trials if trial.where.node}
    about = dict(load_json(file))
    about["workers"] = [{"node": node, "device": device} for node, device in sorted(used)]
    write_text(file, json.dumps(about, indent=2) + "\n")


def describe_data(context: Context) -> None:
    """Writes what users of the weights must know of the data set, and logs its notes."""
    data, folder = context.data, context.folder
    if data is None:
        return
    notes = data_notes(data, context.study.objective.metric)
    about = {"classes": data.classes, "mean": data.mean, "std": data.std} | data.outputs
    if data.files is not None:
        about["files"] = {"seen": data.files.seen, **asdict(data.files)}
    about["notes"] = notes
    about["images"] = {"train": len(data.train), "validation": len(data.validation)}
    if context.test_data is not None:
        about["images"]["test"] = len(context.test_data.validation)
    if isinstance(data, BoxData):
        truth = json.dumps(truth_of(data.validation, data.classes, data.category_ids))
        write_text(folder.truth, truth)
    for note in notes:
        context.watch.note(note)
    write_text(folder.path / "data.json", json.dumps(about, indent=2) + "\n")


def load_study(folder: str | Path) -> RunFolder:
    """The results of a study that was run before: baseline, coefficients, family, trials."""
    return existing(folder)
