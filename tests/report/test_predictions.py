"""Drawn predictions, read back from the figure's artists."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from scalesearch.report import predictions
from scalesearch.report.contents import Detections
from scalesearch.report.detections import (
    NO_BOXES,
    Boxes,
    Threshold,
    ValidationImage,
    best_threshold,
    read_detections,
    read_truth,
)


def image(number, path, size, truth=NO_BOXES):
    return ValidationImage(number=number, path=path, size=size, truth=truth)


def with_objects(number, count):
    truth = Boxes(np.tile([0.0, 0, 1, 1], (count, 1)), np.ones(count, int), np.ones(count))
    return image(number, Path("none.png"), (10, 10), truth)


def figure_of(images, detections, threshold, names):
    shown = [(each, np.zeros((10, 10, 3), np.uint8)) for each in images]
    return predictions.draw(shown, detections, names, threshold)


def test_the_best_network_comes_first_and_each_has_a_figure(detectors):
    drawn = predictions.draw_all(detectors)
    assert [one.file for one in drawn] == ["predictions", "predictions_baseline"]
    assert [one.network for one in drawn] == ["compound_phi1: AP 47.00", "baseline: AP 34.00"]
    for one in drawn:
        assert Image.open(io.BytesIO(one.png)).width == 1650
    images, _ = read_truth(detectors.truth)
    threshold = best_threshold(images, read_detections(detectors.detections[1].path))
    assert f"a score of {threshold.score:.2g} or more" in drawn[0].text
    assert f"{threshold.f1:.3f} at an intersection over union of 0.5" in drawn[0].text
    assert "12 at equal distances out of all 30 validation images" in drawn[0].text


def test_images_are_spread_by_number_of_objects():
    images = [with_objects(number, number % 4) for number in range(1, 24)]
    chosen = predictions.choose(images)
    assert len(chosen) == 12
    keys = [(each.objects, each.number) for each in chosen]
    assert keys == sorted(set(keys))
    # Of 23 sorted by objects and id: every second, from the first to the last.
    assert keys[:3] == [(0, 4), (0, 12), (0, 20)]
    assert keys[-1] == (3, 23)
    assert predictions.choose(list(reversed(images))) == chosen
    assert predictions.choose(images[:5]) == sorted(images[:5], key=lambda p: p.objects)
    assert predictions.choose([]) == []


def test_only_what_reaches_the_threshold_is_drawn_beside_every_object():
    detections = Boxes(
        np.array([[1.0, 2, 4, 6], [5, 5, 9, 9], [0, 0, 3, 3]]),
        np.array([7, 1, 7]),
        np.array([0.9, 0.5, 0.4999]),
    )
    figure = figure_of(
        [with_objects(3, 2)], {3: detections}, Threshold(0.5, 0.8), {7: "cat", 1: "ox"}
    )
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "image 3: 2 objects, 2 detections"
    colours = [to_hex(patch.get_edgecolor()) for patch in axes.patches]
    assert colours == ["#f0e442"] * 2 + ["#56b4e9"] * 2
    dashed = [patch.get_linestyle() not in ("-", "solid") for patch in axes.patches]
    assert dashed == [True, True, False, False]
    assert axes.patches[-1].get_bbox().extents.tolist() == [1, 2, 4, 6]  # the best on top
    assert [text.get_text() for text in axes.texts] == ["ox 0.50", "cat 0.90"]


def test_without_a_threshold_the_objects_alone_are_drawn():
    detections = {3: Boxes(np.array([[0.0, 0, 5, 5]]), np.array([1]), np.array([0.9]))}
    axes = figure_of([with_objects(3, 1)], detections, None, {1: "ox"}).axes[0]
    assert axes.get_title(loc="left") == "image 3: 1 object, 0 detections"
    assert len(axes.patches) == 1


def test_a_network_without_a_right_detection_says_so(detectors, tmp_path):
    (tmp_path / "none.json").write_text("[]")
    none = [Detections("baseline", "search", 1, tmp_path / "none.json")]
    (drawn,) = predictions.draw_all(replace(detectors, detections=none))
    assert "so none is drawn" in drawn.text


def test_lost_images_are_left_out_and_counted(detectors, tmp_path):
    truth = json.loads(detectors.truth.read_text())
    images, _ = read_truth(detectors.truth)
    gone = {each.number for each in predictions.choose(images)[:2]}
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nno image")
    for index, entry in enumerate(i for i in truth["images"] if i["id"] in gone):
        entry["file_name"] = str(broken if index else tmp_path / "gone.png")
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    drawn = predictions.draw_all(replace(detectors, truth=tmp_path / "truth.json"))
    assert "without 2 whose files are gone or unreadable" in drawn[0].text
    for entry in truth["images"]:
        entry["file_name"] = str(tmp_path / "gone.png")
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert predictions.draw_all(replace(detectors, truth=tmp_path / "truth.json")) == []


def test_nothing_recorded_draws_nothing(detectors, small):
    assert predictions.draw_all(small) == []
    assert predictions.draw_all(replace(detectors, detections=())) == []
    assert predictions.draw_all(replace(detectors, truth=None)) == []


def test_the_same_files_give_the_same_bytes(detectors):
    one = replace(detectors, detections=detectors.detections[:1])
    assert predictions.draw_all(one) == predictions.draw_all(one)


def test_images_of_any_kind_and_size_are_read(tmp_path):
    modes = ("L", "RGB", "RGBA", "P", "1", "CMYK", "I;16", "LA")
    for mode, size in itertools.product(modes, [(3, 2), (2000, 400), (50, 900)]):
        path = tmp_path / f"image.{'tif' if mode == 'CMYK' else 'png'}"
        if mode == "I;16":
            Image.fromarray(np.full(size[::-1], 0x8000, np.uint16)).save(path)
        else:
            Image.new(mode, size).save(path)
        pixels = predictions.read_pixels(image(1, path, size))
        assert (pixels.dtype, pixels.shape[2]) == (np.uint8, 3), mode
        assert max(pixels.shape) <= 640, mode
        ratio = pixels.shape[1] / pixels.shape[0]
        assert ratio == pytest.approx(size[0] / size[1], rel=0.05), mode
        if mode == "I;16":
            assert pixels[0, 0].tolist() == [128, 128, 128]


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path):
    photograph = Image.new("RGB", (40, 20))
    exif = photograph.getexif()
    exif[0x0112] = 6  # turned by a quarter
    photograph.save(tmp_path / "turned.jpg", exif=exif)
    turned = image(1, tmp_path / "turned.jpg", (20, 40))
    assert predictions.read_pixels(turned).shape == (40, 20, 3)
