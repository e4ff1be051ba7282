"""Drawn predictions, read back from the figure's artists."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from scalesearch.report import predictions
from scalesearch.report.coco_files import Boxes, Picture, read_found, read_truth
from scalesearch.report.contents import Found
from scalesearch.report.threshold import Threshold, best_threshold

NO_BOXES = Boxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))


def with_objects(number, count):
    true = Boxes(np.tile([0.0, 0, 1, 1], (count, 1)), np.ones(count, int), np.ones(count))
    return Picture(number, Path("none.png"), (10, 10), true)


def figure_of(pictures, found, threshold, names):
    shown = [predictions._Shown(each, np.zeros((10, 10, 3), np.uint8)) for each in pictures]
    return predictions._draw(shown, found, names, threshold)


def test_the_best_network_comes_first_and_each_has_a_figure(detectors):
    drawn = predictions.draw_all(detectors)
    assert [one.file for one in drawn] == ["predictions", "predictions_baseline"]
    assert [one.network for one in drawn] == ["compound_phi1: AP 47.00", "baseline: AP 34.00"]
    for one in drawn:
        assert Image.open(io.BytesIO(one.png)).width == 1650
    pictures, _ = read_truth(detectors.truth)
    threshold = best_threshold(pictures, read_found(detectors.found[1].file))
    assert f"a score of {threshold.score:.2g} or more" in drawn[0].text
    assert f"{threshold.f1:.3f} at an intersection over union of 0.5" in drawn[0].text
    assert "all 30 for validation" in drawn[0].text
    assert "of that list 12 at equal distances." in drawn[0].text


def test_images_are_spread_by_number_of_objects_whatever_was_found():
    pictures = [with_objects(number, number % 4) for number in range(1, 24)]
    chosen = predictions.choose(pictures)
    assert len(chosen) == 12
    keys = [(picture.objects, picture.number) for picture in chosen]
    assert keys == sorted(set(keys))
    # Of 23 sorted by objects and id: every second, from the first to the last.
    assert keys[:3] == [(0, 4), (0, 12), (0, 20)]
    assert keys[-1] == (3, 23)
    assert predictions.choose(list(reversed(pictures))) == chosen
    assert predictions.choose(pictures[:5]) == sorted(pictures[:5], key=lambda p: p.objects)
    assert predictions.choose([]) == []


def test_only_what_reaches_the_threshold_is_drawn_beside_every_object():
    found = Boxes(
        np.array([[1.0, 2, 4, 6], [5, 5, 9, 9], [0, 0, 3, 3]]),
        np.array([7, 1, 7]),
        np.array([0.9, 0.5, 0.4999]),
    )
    figure = figure_of([with_objects(3, 2)], {3: found}, Threshold(0.5, 0.8), {7: "cat", 1: "ox"})
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "image 3: 2 objects, 2 found"
    colours = [to_hex(patch.get_edgecolor()) for patch in axes.patches]
    assert colours == ["#f0e442"] * 2 + ["#56b4e9"] * 2
    dashed = [patch.get_linestyle() not in ("-", "solid") for patch in axes.patches]
    assert dashed == [True, True, False, False]
    assert axes.patches[-1].get_bbox().extents.tolist() == [1, 2, 4, 6]  # the best on top
    assert [text.get_text() for text in axes.texts] == ["ox 0.50", "cat 0.90"]


def test_without_a_threshold_the_objects_alone_are_drawn():
    found = {3: Boxes(np.array([[0.0, 0, 5, 5]]), np.array([1]), np.array([0.9]))}
    axes = figure_of([with_objects(3, 1)], found, None, {1: "ox"}).axes[0]
    assert axes.get_title(loc="left") == "image 3: 1 object, 0 found"
    assert len(axes.patches) == 1


def test_a_network_that_finds_nothing_right_says_so(detectors, tmp_path):
    (tmp_path / "none.json").write_text("[]")
    found = [Found("baseline", "search", 1, tmp_path / "none.json")]
    (drawn,) = predictions.draw_all(replace(detectors, found=found))
    assert "so none is drawn" in drawn.text


def test_lost_images_are_left_out_and_told(detectors, tmp_path):
    truth = json.loads(detectors.truth.read_text())
    pictures, _ = read_truth(detectors.truth)
    gone = {picture.number for picture in predictions.choose(pictures)[:2]}
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nno image")
    for index, image in enumerate(i for i in truth["images"] if i["id"] in gone):
        image["file_name"] = str(broken if index else tmp_path / "gone.png")
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    drawn = predictions.draw_all(replace(detectors, truth=tmp_path / "truth.json"))
    assert "but for 2 whose files are gone or unreadable" in drawn[0].text
    for image in truth["images"]:
        image["file_name"] = str(tmp_path / "gone.png")
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert predictions.draw_all(replace(detectors, truth=tmp_path / "truth.json")) == []


def test_nothing_kept_draws_nothing(detectors, small):
    assert predictions.draw_all(small) == []
    assert predictions.draw_all(replace(detectors, found=())) == []
    assert predictions.draw_all(replace(detectors, truth=None)) == []


def test_the_same_files_give_the_same_bytes(detectors):
    one = replace(detectors, found=detectors.found[:1])
    assert predictions.draw_all(one) == predictions.draw_all(one)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "I;16", "LA"])
@pytest.mark.parametrize("size", [(3, 2), (2000, 400), (50, 900)])
def test_images_of_any_kind_and_size_are_read(tmp_path, mode, size):
    file = tmp_path / f"image.{'tif' if mode == 'CMYK' else 'png'}"
    if mode == "I;16":
        Image.fromarray(np.full(size[::-1], 0x8000, np.uint16)).save(file)
    else:
        Image.new(mode, size).save(file)
    pixels = predictions.read_pixels(Picture(1, file, size, NO_BOXES))
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert max(pixels.shape) <= 640
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(size[0] / size[1], rel=0.05)
    if mode == "I;16":
        assert pixels[0, 0].tolist() == [128, 128, 128]


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path):
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    picture = Picture(1, tmp_path / "turned.jpg", (20, 40), NO_BOXES)
    assert predictions.read_pixels(picture).shape == (40, 20, 3)
