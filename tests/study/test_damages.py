"""A damaged record ends in the same result, or in a sentence that names the file."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from scalesearch.errors import UserError
from scalesearch.files.write import write_bytes
from scalesearch.report import page
from scalesearch.study import run as running
from scalesearch.study.results import report as draw_report
from scalesearch.study.run import load_study, run
from tests.study.test_run import rows


def of(*operations, phase=None, place=0):
    """The index of a line with one of these operations, the `place`-th of them."""

    def find(lines):
        found = [n for n, line in enumerate(lines) if json.loads(line)["op_code"] in operations]
        return found[place]

    return find


CREATE_STUDY, CREATE_TRIAL, SET_STATE, SET_STEP, SET_ATTRIBUTE = 0, 4, 6, 7, 8


def replaced(find, old, new):
    """A part of one line changed; at least once, or the damage would be none."""

    def damage(lines):
        index = find(lines)
        assert old in lines[index], lines[index]
        lines[index] = lines[index].replace(old, new, 1)

    return damage


def edited(find, edit):
    def damage(lines):
        index = find(lines)
        entry = json.loads(lines[index])
        edit(entry)
        lines[index] = json.dumps(entry)

    return damage


def without(find):
    def damage(lines):
        del lines[find(lines)]

    return damage


def twice(find):
    def damage(lines):
        index = find(lines)
        lines.insert(index, lines[index])

    return damage


def swapped(find, other):
    def damage(lines):
        a, b = find(lines), other(lines)
        lines[a], lines[b] = lines[b], lines[a]

    return damage


def inserted(find, text):
    def damage(lines):
        lines.insert(find(lines), text)

    return damage


def cut(find, share):
    def damage(lines):
        index = find(lines)
        lines[index] = lines[index][: int(len(lines[index]) * share)]

    return damage


def joined(find):
    def damage(lines):
        index = find(lines)
        lines[index] += lines.pop(index + 1)

    return damage


def set_in(*keys, to):
    """Another value at a place of a line."""

    def edit(entry):
        for key in keys[:-1]:
            entry = entry[key]
        assert keys[-1] in entry
        entry[keys[-1]] = to(entry[keys[-1]]) if callable(to) else to

    return edit


first, last = (of(CREATE_TRIAL), of(CREATE_TRIAL, place=-1))
middle = of(CREATE_TRIAL, place=5)
outcome, state = of(SET_ATTRIBUTE, place=2), of(SET_STATE, place=2)


def change_parameter(entry):
    name = next(iter(entry["params"]))
    entry["params"][name] = 1 - int(entry["params"][name] > 0)


def outcome_value(key, to):
    def edit(entry):
        (holder,) = (v for k, v in entry["user_attr"].items() if k == "outcome")
        holder[key] = to

    return edit


DAMAGES = {
    "a bit in the operation": edited(middle, set_in("op_code", to=5)),
    "an unknown operation": edited(middle, set_in("op_code", to=42)),
    "an operation that is a text": edited(middle, set_in("op_code", to="4")),
    "another study": edited(middle, set_in("study_id", to=1)),
    "no such study": edited(middle, set_in("study_id", to=9)),
    "a bit in a key": replaced(middle, '"params"', '"pcrams"'),
    "a bit in a key of an outcome": replaced(outcome, '"outcome"', '"outcoMe"'),
    "a bit in the name of a parameter": replaced(middle, "stage1", "stage3"),
    "another parameter": edited(middle, change_parameter),
    "other costs": edited(middle, set_in("user_attrs", "flops", to=lambda flops: flops + 1)),
    "another digest": edited(middle, set_in("user_attrs", "digest", to="0" * 16)),
    "another seal": edited(middle, set_in("user_attrs", "seal", to="0" * 16)),
    "no seal of an outcome that has one": edited(outcome, outcome_value("seal", "")),
    "another score": edited(outcome, outcome_value("scores", {"accuracy": 0.999, "loss": 0.1})),
    "another objective": edited(outcome, outcome_value("objective", [0.999])),
    "another state in an outcome": edited(outcome, outcome_value("state", "failed")),
    "an unknown state in an outcome": edited(outcome, outcome_value("state", "lost")),
    "another state": edited(state, set_in("state", to=3)),
    "another value": edited(state, set_in("values", to=[0.999])),
    "no value": edited(state, set_in("values", to=None)),
    "a state of another trial": edited(state, set_in("trial_id", to=lambda number: number + 1)),
    "an outcome of another trial": edited(outcome, set_in("trial_id", to=lambda n: n - 1)),
    "a trial that there is not": edited(state, set_in("trial_id", to=10**6)),
    "the first trial gone": without(first),
    "a trial gone in the middle": without(middle),
    "the last trial gone": without(last),
    "an outcome gone": without(outcome),
    "a state gone": without(state),
    "the last line gone": without(lambda lines: len(lines) - 1),
    "the first study gone": without(of(CREATE_STUDY)),
    "the last study gone": without(of(CREATE_STUDY, place=-1)),
    "a study under another name": replaced(of(CREATE_STUDY), "search", "seasch"),
    "two studies of one name": replaced(of(CREATE_STUDY, place=1), "grid", "search"),
    "a study that is minimised": edited(of(CREATE_STUDY), set_in("directions", to=[1])),
    "a trial twice": twice(middle),
    "an outcome twice": twice(outcome),
    "a state twice": twice(state),
    "a study twice": twice(of(CREATE_STUDY)),
    "trials swapped": swapped(first, middle),
    "outcomes swapped": swapped(outcome, of(SET_ATTRIBUTE, place=4)),
    "a torn line in the middle": cut(middle, 0.5),
    "two lines joined": joined(middle),
    "a line of something else": inserted(middle, "Killed"),
    "an empty line": inserted(middle, ""),
    "a line that is a number": inserted(middle, "7"),
    "a line that is a list": inserted(middle, "[]"),
    "an empty mapping": inserted(middle, "{}"),
    "the second half gone": lambda lines: lines.__delitem__(slice(len(lines) // 2, None)),
    "all but one line gone": lambda lines: lines.__delitem__(slice(1, None)),
    "all gone": lambda lines: lines.clear(),
}
BYTES = {
    "ends of lines of an editor": lambda content: content.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "no end of the last line": lambda content: content.rstrip(b"\n"),
    "a torn last line": lambda content: content[:-20],
    "zeros at the end": lambda content: content + bytes(512),
    "zeros in the middle": lambda content: content[:3000] + bytes(64) + content[3064:],
    "not UTF-8": lambda content: content[:3000] + b"\xff\xfe" + content[3002:],
    "another file": lambda content: b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "a huge line": lambda content: content + b'{"op_code": ' + b"9" * 10**6 + b"}\n",
}


def unpainted(figure, folder, name):
    return [write_bytes(folder / f"{name}.{ending}", b"") for ending in ("png", "svg")]


@pytest.fixture
def copy(whole, tmp_path, monkeypatch):
    """A copy of the whole run; figures are not painted, which takes longer than all the rest."""
    monkeypatch.setattr(running, "report", lambda folder: [])
    monkeypatch.setattr(page, "save", unpainted)
    shutil.copytree(whole.folder.path, tmp_path / "run")
    return tmp_path / "run"


def mistake_of(use):
    """What it says is wrong, if it does; any other exception is a failure."""
    try:
        use()
    except UserError as error:
        return error
    return None


def ends_well(whole, folder):
    """Reading it, and going on with it, give what they gave before, or name the record."""
    record = folder / "record.journal"
    before = rows(whole.folder.path)

    def go_on():
        run(whole.file, ["export=[]"], folder=folder)  # that follows from the record as ever

    for use in (lambda: load_study(folder).trials, go_on):
        if error := mistake_of(use):
            assert str(record) in str(error)
            assert "record.journal" in error.hint
            assert len(str(error)) < 1500
            # The way out that is offered: the record as it was.
            shutil.copy(whole.folder.record, record)
            go_on()
    assert rows(folder) == before
    for name in ("baseline.yaml", "coefficients.yaml"):
        assert (folder / name).read_text() == (whole.folder.path / name).read_text()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_line(whole, copy, name):
    record = copy / "record.journal"
    lines = record.read_text().splitlines()
    DAMAGES[name](lines)
    record.write_text("".join(f"{line}\n" for line in lines))
    ends_well(whole, copy)


@pytest.mark.parametrize("name", BYTES)
def test_a_damaged_file(whole, copy, name):
    record = copy / "record.journal"
    record.write_bytes(BYTES[name](record.read_bytes()))
    ends_well(whole, copy)


def test_no_file_and_a_folder(whole, copy):
    record = copy / "record.journal"
    record.unlink()
    ends_well(whole, copy)
    record.unlink()
    record.mkdir()
    with pytest.raises(UserError, match=r"record\.journal: this is a folder"):
        run(whole.file, folder=copy)


def test_finished_trials_that_only_the_table_knows_are_counted(whole, copy):
    """An older record was copied over the newer one."""
    record = copy / "record.journal"
    lines = record.read_text().splitlines(keepends=True)
    grid = of(CREATE_STUDY, place=1)(lines)
    record.write_text("".join(lines[:grid]))
    with pytest.raises(
        UserError, match=r"has lost \d+ finished trials that trials\.csv has: grid 0"
    ) as e:
        run(whole.file, folder=copy)
    assert "move trials.csv away" in e.value.hint
    (copy / "trials.csv").unlink()
    run(whole.file, folder=copy)
    assert rows(copy) == rows(whole.folder.path)


def test_a_record_without_seals_is_read(whole, copy):
    """As earlier versions wrote it."""
    record = copy / "record.journal"
    lines = []
    for line in record.read_text().splitlines():
        entry = json.loads(line)
        entry.get("user_attrs", {}).pop("seal", None)
        for holder in (entry.get("user_attrs", {}), entry.get("user_attr", {})):
            for key in ("seal", "steps"):
                holder.get("outcome", {}).pop(key, None)
        lines.append(json.dumps(entry) + "\n")
    record.write_text("".join(lines))
    run(whole.file, folder=copy)
    assert rows(copy) == rows(whole.folder.path)


def uses(whole, folder):
    """What can be done with a run folder that is over."""
    yield "trials", lambda: load_study(folder).trials
    yield "family", lambda: load_study(folder).family
    yield "report", lambda: draw_report(load_study(folder))
    yield "run", lambda: run(whole.file, folder=folder)


def said(whole, folder):
    """The mistakes of each use, without which it did what it should."""
    errors = {name: mistake_of(use) for name, use in uses(whole, folder)}
    return {name: str(error) for name, error in errors.items() if error}


STRANGE = {
    "notes": ("family/notes.txt", b"about"),
    "a Mac's": ("family/._compound_phi1.yaml", b"\x00\x05\x16\x07"),
    "Windows'": ("family/Thumbs.db", b"x"),
    "not UTF-8": (os.fsdecode(b"gr\xfcn.txt"), b"x"),
    "not UTF-8 in export": (os.fsdecode(b"export/gr\xfcn.py"), b"x"),
    "not UTF-8 in checkpoints": (os.fsdecode(b"checkpoints/\xff.safetensors"), b"x"),
    "a figure": ("figures/mine.svg", b"<svg/>"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_files_that_do_no_harm(whole, copy, name):
    path, content = STRANGE[name]
    (copy / path).write_bytes(content)
    assert said(whole, copy) == {}
    assert rows(copy) == rows(whole.folder.path)


WRONG = {
    "a copy of a member": ("family/compound_phi1 (1).yaml", b"{}"),
    "a member of an unknown strategy": ("family/sideways_phi1.yaml", b"{}"),
    "a member of an endless phi": ("family/compound_phi1e999.yaml", b"{}"),
    "notes that are a number": ("data.json", b'{"classes": ["a"], "notes": 5}'),
    "settings without a name": ("resolved.yaml", b"task: classification\n"),
    "a member of another form": ("family/compound_phi_x.yaml", b"{}"),
    "a member that is none": ("family/compound_phi7.yaml", b"[1, 2]"),
    "a member that is damaged": ("family/compound_phi1.yaml", b"{resolution: 8, stem: "),
    "an empty member": ("family/compound_phi1.yaml", b""),
    "an empty baseline": ("baseline.yaml", b""),
    "a damaged baseline": ("baseline.yaml", b"\xff\xfe\x00"),
    "damaged coefficients": ("coefficients.yaml", b"alpha: [1\n"),
    "empty coefficients": ("coefficients.yaml", b""),
    "no coefficients": ("coefficients.yaml", b"alpha: 1.2\n"),
    "damaged data": ("data.json", b'{"classes": ["a"'),
    "empty data": ("data.json", b""),
    "a list for data": ("data.json", b"[]"),
    "a damaged environment": ("environment.json", b"{"),
}


@pytest.mark.parametrize("name", WRONG)
def test_damaged_files_are_named_or_written_anew(whole, copy, name):
    """Going on with the run mends what follows from the record."""
    path, content = WRONG[name]
    (copy / path).write_bytes(content)
    for text in said(whole, copy).values():
        assert path in text
        assert len(text) < 1500
    if path in ("family/compound_phi1.yaml", "data.json", "environment.json", "coefficients.yaml"):
        assert said(whole, copy) == {}
    assert rows(copy) == rows(whole.folder.path)


@pytest.mark.parametrize(
    "name",
    [
        *("baseline.yaml", "coefficients.yaml", "data.json", "environment.json", "trials.csv"),
        *("log.txt", "study.yaml", "report.html", "family", "figures", "export"),
    ],
)
def test_missing_files_are_written_anew(whole, copy, name):
    path = copy / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    mistake = mistake_of(lambda: run(whole.file, folder=copy))
    assert mistake is None
    assert rows(copy) == rows(whole.folder.path)
    assert said(whole, copy) == {}


def test_damaged_checkpoints_are_named(whole, copy):
    for content in (b"", b"no weights", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "):
        for file in (copy / "checkpoints").iterdir():
            file.write_bytes(content)
        text = str(mistake_of(lambda: run(whole.file, folder=copy)))
        assert "checkpoints" in text
        assert len(text) < 1500
