"""Processes that read images: the same pixels whoever reads, and what becomes of their failures."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.datasets.image_folder import Dataset
from scalesearch.errors import TrialError, UserError
from scalesearch.executors._failures import failure_of
from scalesearch.nn.build import build
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
    first = loader_pool((photographs.train, photographs.validation), 1, pinned=False)
    pids = first.pids
    scores, _ = trained(NET, photographs, replace(RECIPE, loaders=1))
    assert loader_pool((photographs.train, photographs.validation), 1, pinned=False) is first
    assert first.pids == pids
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
    with pytest.raises(TrialError, match="the processes that read images are lost") as caught:
        list(pool.read([Request(0, die, np.arange(2))]))
    assert failure_of(caught.value).kind == "machine"  # which is tried again elsewhere
    pool = loader_pool((photographs.train,), 1, pinned=False)
    assert len(list(pool.read([Request(0, read_whole, np.arange(3))]))) == 1


@pytest.mark.slow
def test_whose_fault_an_error_is_survives_the_way_from_a_process(photographs):
    pool = loader_pool((photographs.train,), 1, pinned=False)
    with pytest.raises(TrialError, match="the disk answers no more") as caught:
        list(pool.read([Request(0, no_disk, np.arange(2))]))
    assert failure_of(caught.value).kind == "machine"
    with pytest.raises(RuntimeError, match="holds a lock"):  # and one that cannot be pickled
        list(pool.read([Request(0, locked, np.arange(2))]))
    assert len(list(pool.read([Request(0, read_whole, np.arange(3))]))) == 1


def test_a_batch_of_detections_is_pickled_as_a_few_arrays():
    """A tensor that comes from another process takes an open file, of which there are 1,024."""
    data = squares(40, 2)
    read = Detection(architecture=detector(), data=data, recipe=DetectionRecipe()).reader(0, 32)
    batch = read(data.train, np.arange(40))
    again = pickle.loads(pickle.dumps(batch))
    _, arguments = batch.__reduce__()
    assert sum(isinstance(each, torch.Tensor) for each in arguments) == 1
    assert torch.equal(again.pixels, batch.pixels)
    for one, other in zip(again.samples, batch.samples, strict=True):
        assert (one.index, one.letterbox) == (other.index, other.letterbox)
        for name in ("boxes", "labels", "crowd"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    for name in ("boxes", "labels", "crowds"):
        ours, theirs = getattr(again.objects, name), getattr(batch.objects, name)
        assert torch.equal(ours, theirs)


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
        "print(*pool.pids, flush=True)\n"
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
    for _ in range(10 * seconds):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.1)
    return False


def read_whole(images, indices):
    return images.batch(indices, View(16))


def die(images, indices):
    os.kill(os.getpid(), signal.SIGKILL)


def no_disk(images, indices):
    raise TrialError("the disk answers no more") from OSError(5, "Input/output error")


def locked(images, indices):
    error = ValueError("holds a lock")
    error.lock = threading.Lock()
    raise error
