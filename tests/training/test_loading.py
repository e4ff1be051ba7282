"""Processes that read images: the same pixels whoever reads, and what becomes of their failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import TrialError, UserError
from scalesearch.nn.build import build
from scalesearch.training import loading
from scalesearch.training.classify import Classification
from scalesearch.training.detect import Detection
from scalesearch.training.loading import Request, close_loaders, loader_pool
from scalesearch.training.loop import train
from scalesearch.training.recipe import DetectionRecipe, Recipe
from scalesearch.view import View
from tests.pictures import classes, noise
from tests.shapes import detector, squares


@pytest.fixture(autouse=True)
def _end():
    yield
    close_loaders()


@pytest.fixture
def photographs(tmp_path):
    """Two classes of a dozen JPEG files each, all of other sizes."""
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for n in range(12):
            size = (40 + 3 * n, 50 + n * (label == "cat"))
            noise(n + 100 * (label == "cat"), size).save(tmp_path / label / f"{n}.jpg")
    return Dataset(path=tmp_path).load(0)


NET = Backbone(
    stem=Stem(width=8),
    stages=(Stage(block="mbconv", width=8, stride=2, expand=2),),
    head=Head(width=16),
    resolution=32,
    num_classes=2,
)
RECIPE = Recipe(
    epochs=2,
    batch_size=8,
    device="cpu",
    crop="random_resized",
    policy="rand_augment",
    erase=0.3,
    cutmix=1.0,
)


def trained(net, data, recipe):
    torch.manual_seed(0)
    model = build(net)
    task = Classification(architecture=net, data=data, recipe=recipe)
    scores = [dict(score.values) for score in train(model, task, 3)]
    return scores, torch.cat([p.flatten() for p in model.parameters()])


@pytest.mark.slow
def test_weights_do_not_depend_on_how_many_processes_read(photographs):
    scores, weights = trained(NET, photographs, RECIPE)
    before = torch.get_rng_state()
    for count in (1, 2):
        again, others = trained(NET, photographs, replace(RECIPE, loaders=count))
        assert again == scores
        assert torch.equal(others, weights)
    assert loading._pool.count == 2
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.slow
def test_detections_do_not_depend_on_how_many_processes_read():
    net, results = detector(), []
    for count in (0, 2):
        torch.manual_seed(0)
        model = build(net)
        recipe = DetectionRecipe(epochs=1, batch_size=4, device="cpu", loaders=count)
        task = Detection(architecture=net, data=squares(10, 2), recipe=recipe)
        results.append([dict(score.values) for score in train(model, task, 0)])
    assert results[0] == results[1]


@pytest.mark.slow
def test_processes_are_kept_for_the_next_training_even_if_this_one_was_given_up(photographs):
    task = Classification(architecture=NET, data=photographs, recipe=replace(RECIPE, loaders=1))
    torch.manual_seed(0)
    training = train(build(NET), task, 3)
    next(training)
    training.close()
    first = loading._pool
    pids = [worker.pid for worker in first._loader._iterator._workers]
    scores, _ = trained(NET, photographs, replace(RECIPE, loaders=1))
    assert loading._pool is first
    assert [worker.pid for worker in first._loader._iterator._workers] == pids
    assert scores == trained(NET, photographs, RECIPE)[0]


@pytest.mark.slow
def test_an_error_of_a_process_is_the_users_own(photographs):
    Path(photographs.train.paths[3]).write_bytes(b"\xff\xd8\xff\xe0 no picture")
    pool = loader_pool((photographs.train,), 1, pinned=False)
    with pytest.raises(UserError, match=r"cannot decode 1 of 20 files: .*\.jpg"):
        list(pool.read([Request(0, read_whole, np.arange(20))]))
    # It reads on after that.
    assert len(list(pool.read([Request(0, read_whole, np.array([0]))]))) == 1


@pytest.mark.slow
def test_a_process_that_dies_fails_the_trial_and_the_next_one_has_new_processes(photographs):
    pool = loader_pool((photographs.train,), 1, pinned=False)
    with pytest.raises(TrialError, match="a process that reads images died"):
        list(pool.read([Request(0, die, np.arange(2))]))
    pool = loader_pool((photographs.train,), 1, pinned=False)
    assert len(list(pool.read([Request(0, read_whole, np.arange(3))]))) == 1


@pytest.mark.slow
def test_processes_end_with_the_one_that_reads(tmp_path):
    """Also where that one is killed, and a script without a guard is not run again by them."""
    classes(tmp_path / "images")
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import os, signal\n"
        "import numpy as np\n"
        "from scalesearch.datasets.image_folder import Dataset\n"
        "from scalesearch.training.loading import Request, loader_pool\n"
        "from tests.training.test_loading import read_whole\n"
        f"print('begun', flush=True)\ndata = Dataset(path={str(tmp_path / 'images')!r}).load(0)\n"
        "pool = loader_pool((data.train,), 2, pinned=False)\n"
        "print(len(list(pool.read([Request(0, read_whole, np.arange(2))]))), flush=True)\n"
        "print(*[worker.pid for worker in pool._loader._iterator._workers], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=100,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    begun, read, pids = done.stdout.split("\n")[:3]
    assert (begun, read) == ("begun", "1")
    assert done.stdout.count("begun") == 1
    assert all(ended(int(pid)) for pid in pids.split())


def ended(pid, seconds=30):
    import time

    for _ in range(10 * seconds):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.1)
    return False


def read_whole(images, indices):
    return images.batch(indices, View(16))


def die(images, indices):
    os.kill(os.getpid(), signal.SIGKILL)
