from __future__ import annotations

import json

import pytest

from scalesearch.errors import UserError
from scalesearch.report.coco_files import read_found, read_truth

TRUTH = {
    "images": [
        {"id": 9, "file_name": "/a/9.png", "width": 30, "height": 20},
        {"id": 4, "file_name": "/a/4.png", "width": 10, "height": 10},
    ],
    "annotations": [
        {"image_id": 9, "category_id": 18, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        {"image_id": 9, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}],
}


def test_images_come_by_id_with_their_objects_as_corners(tmp_path):
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    pictures, names = read_truth(tmp_path / "truth.json")
    assert [picture.number for picture in pictures] == [4, 9]
    assert [picture.objects for picture in pictures] == [0, 1]  # a crowd is no object
    assert pictures[1].size == (30, 20)
    assert pictures[1].true.corners.tolist() == [[1, 2, 4, 6], [0, 0, 9, 9]]
    assert pictures[1].true.scores.tolist() == [1, 0]
    assert pictures[0].true.corners.shape == (0, 4)
    assert names == {3: "car", 18: "dog"}


def test_detections_come_by_image_best_first(tmp_path):
    rows = [
        {"image_id": 9, "category_id": 3, "bbox": [1, 1, 2, 2], "score": 0.2},
        {"image_id": 9, "category_id": 18, "bbox": [5, 6, 7, 8], "score": 0.7},
    ]
    (tmp_path / "found.json").write_text(json.dumps(rows))
    found = read_found(tmp_path / "found.json")
    assert list(found) == [9]
    assert found[9].classes.tolist() == [18, 3]
    assert found[9].corners.tolist() == [[5, 6, 12, 14], [1, 1, 3, 3]]


@pytest.mark.parametrize("read", [read_truth, read_found])
def test_a_damaged_file_is_named(tmp_path, read):
    (tmp_path / "half.json").write_text('[{"image_id": 1, ')
    with pytest.raises(UserError, match=r"half\.json: is no JSON"):
        read(tmp_path / "half.json")
