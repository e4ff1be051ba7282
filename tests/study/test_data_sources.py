"""A small study with images of each source, trained for real."""

import io
import tarfile

import pyarrow as pa
import pytest

from scalesearch.study import run as running
from scalesearch.study.run import run
from tests.fakes import write_study
from tests.pictures import noise, save


def png(seed):
    file = io.BytesIO()
    noise(seed).save(file, "PNG")
    return file.getvalue()


def image_list(folder):
    for seed in range(12):
        save(folder / "im" / f"{seed}.png", seed)
    rows = [f"im/{seed}.png,{'ab'[seed % 2]}" for seed in range(12)]
    (folder / "list.csv").write_text("\n".join(["file,kind", *rows]))
    return {"path": "list.csv", "columns": {"path": "file", "label": "kind"}}


def webdataset(folder):
    with tarfile.open(folder / "a-0.tar", "w") as tar:
        for seed in range(12):
            for name, data in ((f"{seed}.png", png(seed)), (f"{seed}.cls", b"%d" % (seed % 2))):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return {"path": "a-{0..0}.tar", "classes": ["a", "b"]}


def hugging_face(folder):
    columns = {"image": [png(seed) for seed in range(12)], "label": ["a", "b"] * 6}
    table = pa.table(columns)
    with (
        pa.OSFile(str(folder / "x.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as writer,
    ):
        writer.write_table(table)
    return {"path": "x.arrow", "label": "label"}


def torchvision(folder):
    for seed in range(12):
        save(folder / "eurosat" / "2750" / "ab"[seed % 2] / f"{seed}.png", seed)
    return {"dataset": "EuroSAT", "root": "."}


@pytest.mark.parametrize("source", [image_list, webdataset, hugging_face, torchvision])
def test_trains_with(tmp_path, monkeypatch, source):
    monkeypatch.setattr(running, "report", lambda folder: [])
    options = source(tmp_path)
    if source is not torchvision:
        options["fit"] = "stretch"
    file = write_study(
        tmp_path,
        without=("grid", "family"),
        dataset={"name": source.__name__, "validation": 0.34, **options},
        evaluator={"name": "training", "epochs": 1, "batch_size": 4, "device": "cpu"},
        search={
            "space": "space.yaml",
            "sampler": {"name": "random"},
            "trials": 1,
            "limits": {"flops": {"max": "100k"}},
        },
    )
    (tmp_path / "space.yaml").write_text(
        (tmp_path / "space.yaml").read_text().replace("num_classes: 10", "num_classes: 2")
    )
    folder = run(file, folder=tmp_path / "run")
    (state,) = folder.trials["state"].tolist()
    assert state == "assessed"
    assert 0 <= folder.trials["accuracy"][0] <= 1
    assert "12 taken" in (folder.path / "data.json").read_text()
