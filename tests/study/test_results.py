from __future__ import annotations

import importlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save

from scalesearch.errors import UserError
from scalesearch.nn.build import build
from scalesearch.study import folder as folder_module
from scalesearch.study.folder import RunFolder
from scalesearch.study.parts import read_plugin
from scalesearch.study.results import export_winners, report, winners
from scalesearch.study.run import run
from tests.fakes import write_study

FORMS = ["python", "onnx", "torch_export"]
PYTHON = (read_plugin("exporters", "python", None),)


@pytest.fixture
def copy(whole, tmp_path):
    """The run's folder, free to be changed."""
    shutil.copytree(whole.folder.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_winners_are_the_baseline_and_every_member_that_has_weights(whole):
    found = {winner.name: winner for winner in winners(whole.folder)}
    assert set(found) == {"baseline", *(member.name for member in whole.folder.family)}
    for winner in found.values():
        assert whole.folder.checkpoint(winner.phase, winner.trial.number).exists()
        assert winner.trial.state == "assessed"
    # At phi 0 all strategies are the baseline: it is trained once, for the compound one.
    assert found["width_phi0"].trial == found["compound_phi0"].trial


def test_an_exported_winner_is_code_with_the_trained_weights(whole, monkeypatch):
    monkeypatch.syspath_prepend(whole.folder.path / "export")
    exported = importlib.import_module("compound_phi1")
    member = next(m for m in winners(whole.folder) if m.name == "compound_phi1")
    ours = build(member.architecture).eval()
    ours.load_state_dict(load_file(whole.folder.checkpoint("family", member.trial.number)))
    image = torch.rand(2, 1, member.architecture.resolution, member.architecture.resolution)
    with torch.no_grad():
        assert torch.equal(exported.build()(image), ours(image))
    for fact in ("small", f"family {member.trial.number}", "accuracy:"):
        assert fact in exported.__doc__


def test_one_winner_in_every_form(copy):
    for file in (copy.path / "family").iterdir():
        if file.stem != "compound_phi1":
            file.unlink()
    shutil.rmtree(copy.path / "export")
    forms = tuple(read_plugin("exporters", form, None) for form in FORMS)
    written = {path.name for path in export_winners(copy, forms)}
    suffixes = (".py", ".safetensors", ".onnx", ".pt2")
    assert written == {f"{name}{s}" for name in ("baseline", "compound_phi1") for s in suffixes}
    assert written == {path.name for path in (copy.path / "export").iterdir()}

    extra = {"about.json": ""}
    place = copy.path / "export" / "compound_phi1.pt2"
    program = torch.export.load(place, extra_files=extra).module()
    member = next(m for m in winners(copy) if m.name == "compound_phi1")
    ours = build(member.architecture).eval()
    ours.load_state_dict(load_file(copy.checkpoint("family", member.trial.number)))
    image = torch.rand(2, 1, member.architecture.resolution, member.architecture.resolution)
    with torch.no_grad():
        torch.testing.assert_close(program(image), ours(image), rtol=1e-5, atol=1e-5)
    facts = json.loads(extra["about.json"])
    assert facts["classes"] == list(map(str, range(10)))
    assert (facts["mean"], facts["std"]) == ([0.5], [0.3])
    assert facts["accuracy"] == member.trial.scores["accuracy"]


@pytest.mark.slow
def test_a_study_that_exports_every_form(tmp_path):
    study = write_study(tmp_path, without=("grid", "family"), export=FORMS)
    folder = run(study, folder=tmp_path / "run")
    suffixes = (".py", ".safetensors", ".onnx", ".pt2")
    written = {path.name for path in (folder.path / "export").iterdir()}
    assert written == {f"baseline{suffix}" for suffix in suffixes}
    page = (folder.path / "report.html").read_text()
    assert all(f"export/baseline{suffix}" in page for suffix in (".py", ".onnx", ".pt2"))


def test_missing_weights_are_told_by_name(copy):
    member = next(w for w in winners(copy) if w.name == "compound_phi1")
    copy.checkpoint("family", member.trial.number).unlink()
    with pytest.raises(UserError, match="the weights of compound_phi1 are missing") as error:
        export_winners(copy, PYTHON)
    assert "scalesearch export" in error.value.hint
    assert "family/compound_phi1.yaml" in error.value.hint


def test_weights_that_are_damaged_or_of_another_network_are_told_by_name(copy, subtests):
    member = next(w for w in winners(copy) if w.name == "compound_phi1")
    file = copy.checkpoint("family", member.trial.number)
    whole = file.read_bytes()
    other = save({"stem.conv.weight": torch.zeros(3)})
    for content, said in (
        (b"", "is empty"),
        (whole[:-1], "cannot be read (incomplete metadata, file not fully covered)"),
        (whole[:50], "cannot be read (invalid header length)"),
        (b"<html>", "is a page of HTML, not weights"),
        (other, "the weights do not fit the network"),
    ):
        file.write_bytes(content)
        with subtests.test(said), pytest.raises(UserError) as told:
            export_winners(copy, PYTHON)
        with subtests.test(said):
            assert f"these are not the weights of compound_phi1: {said}" in told.value.problem
            assert told.value.file == str(file)
            assert "family/compound_phi1.yaml" in told.value.hint
            assert len(str(told.value)) < 1300


def test_without_a_baseline_there_are_no_winners_yet(copy):
    (copy.path / "baseline.yaml").unlink()
    with pytest.raises(UserError, match=r"has no baseline\.yaml yet"):
        list(winners(copy))


def test_negative_and_fractional_phi_give_names_that_python_can_import(copy):
    for member in ("compound_phi1", "depth_phi1"):
        old = copy.path / "family" / f"{member}.yaml"
        old.rename(old.with_name(old.name.replace("phi1", "phi-0.5")))
    written = {path.name for path in export_winners(copy, PYTHON)}
    assert "compound_phiminus0_5.py" in written


def test_the_report_of_a_run_that_is_not_over(copy):
    """After the search alone: one figure, no coefficients, no family."""
    for name in ("coefficients.yaml", "report.html"):
        (copy.path / name).unlink()
    shutil.rmtree(copy.path / "family")
    shutil.rmtree(copy.path / "export")
    written = report(copy)
    assert copy.path / "report.html" in written
    page = (copy.path / "report.html").read_text()
    assert "small" in page


def test_a_report_reads_the_record_once(copy, monkeypatch):
    opened = []

    def open_storage(path, repair):
        opened.append(path)
        return original(path, repair=repair)

    original = folder_module.open_storage
    monkeypatch.setattr(folder_module, "open_storage", open_storage)
    before = (copy.path / "trials.csv").read_bytes()
    report(copy)
    assert opened == [copy.record]
    assert (copy.path / "trials.csv").read_bytes() == before


def test_the_report_names_the_exports_and_the_baseline(whole):
    page = (whole.folder.path / "report.html").read_text()
    assert "export/baseline.py" in page
    for figure in ("search", "grid", "family"):
        assert (whole.folder.path / "figures" / f"{figure}.png").exists()
