from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from scalesearch import plugins

# Options of each data set as YAML gives them.
OPTIONS = {
    "cifar10": {"folder": "cifar", "limit": 100},
    "coco": {"images": "images", "annotations": "boxes.json", "flip": False},
    "fashion_mnist": {"folder": "fashion", "download": True},
    "hugging_face": {"path": "saved", "label": "fine_label", "unpacked": "cache"},
    "image_folder": {"path": "images", "channels": 1},
    "image_list": {"path": "list.csv", "classes": ("cat", "dog")},
    "mnist5k": {"validation": 0.1},
    "mnist_canvas": {"side": 160, "largest": 100},
    "torchvision": {"dataset": "CIFAR100", "root": "data", "validation": "published"},
    "voc": {"path": "VOC2012", "validation": 0.3},
    "webdataset": {"path": "shards/a-{000..099}.tar", "label": "json.label", "limit": 100},
}


def test_every_data_set_is_a_plug_in_with_options_from_yaml():
    assert plugins.names("datasets") == tuple(OPTIONS)
    for name, options in OPTIONS.items():
        kind = plugins.load("datasets", name)
        assert kind.task in ("classification", "detection")
        dataset = TypeAdapter(kind).validate_python(options)
        for key, value in options.items():
            given = getattr(dataset, key)
            assert (str(given) if isinstance(given, Path) else given) == value, (name, key)
