"""docs/families.md: current, complete, and equal to what others printed and counted."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from docs.tools.families import difference, fill, main, rounds_to
from docs.tools.papers import PAPERS
from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import names, published
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.cost.closed_form import cost
from scalesearch.nn.build import build
from scalesearch.units import parse_count
from tests.effdets import config, effdet

PATH = Path(__file__).parents[1] / "docs" / "families.md"
PAGE = PATH.read_text()


def tables(text=PAGE):
    """Lists of rows of cells, without the line below each head."""
    for found in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
        rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in found.splitlines()]
        yield [rows[0], *rows[2:]]


def cells(name):
    """The rows of one network, by the words of their heads; equal heads are numbered."""
    found = {}
    for head, *rows in tables():
        for row in rows:
            if row[0] == f"`{name}`":
                for word, cell in zip(head, row, strict=True):
                    found[f"{word} {sum(key.startswith(word) for key in found)}"] = cell
    return found


def test_the_page_is_current():
    assert fill(PAGE) == PAGE, "run `make docs`"


def test_the_page_is_written(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table of resnet -->\nold\n<!-- end -->\nafter\n")
    main(page)
    text = page.read_text()
    assert text.startswith("before\n<!-- table of resnet -->\n\n|  | resolution |")
    assert text.endswith("|\n\n<!-- end -->\nafter\n")
    assert "old" not in text
    assert capsys.readouterr().out == f"{page}\n"


def test_every_paper_has_its_table():
    assert re.findall(r"<!-- table of (\w+) -->", PAGE) == list(PAPERS)


# fvcore 0.1.5.post20221221 on timm's models: params M, convolutions and linear layers G, all G.
COUNTED = {
    "efficientnet_b0": (5.289, 0.386, 0.399),
    "efficientnet_b1": (7.794, 0.687, 0.709),
    "efficientnet_b2": (9.110, 0.994, 1.021),
    "efficientnet_b3": (12.233, 1.827, 1.875),
    "efficientnet_b4": (19.342, 4.394, 4.493),
    "efficientnet_b5": (30.390, 10.27, 10.46),
    "efficientnet_b6": (43.041, 19.07, 19.40),
    "efficientnet_b7": (66.348, 37.75, 38.33),
}


def test_b0_to_b7_as_counted_elsewhere():
    wrong = []
    for name, counted in COUNTED.items():
        row = cells(name)
        params, flops, total = (
            int(row[f"{key} 0"].replace(",", "")) for key in ("params", "flops", "flops_total")
        )
        digits = 3 if counted[1] < 10 else 2
        ours = (round(params / 1e6, 3), round(flops / 1e9, digits), round(total / 1e9, digits))
        if ours != counted:
            wrong.append((name, ours, counted))
    assert wrong == []


# He et al. 2016, Table 1 and its shortcuts of option A; timm, slim and Keras count the others.
KNOWN = {
    "mobilenet_v1": {"params": 4_231_976},
    "mobilenet_v2": {"params": 3_504_872, "flops": 300_774_272},
    "resnet18": {"params": 11_689_512},
    "resnet50": {"params": 25_557_032, "flops": 4_089_184_256},
    "wrn_28_10": {"params": 36_479_194},
    "efficientnet_lite0": {"params": 4_652_008},
}


def test_counts_that_are_known_to_the_unit():
    for name, counts in KNOWN.items():
        assert {key: cells(name)[f"{key} 0"] for key in counts} == {
            key: f"{count:,}" for key, count in counts.items()
        }, name


def test_differences_are_printed():
    # Tan & Le 2019, Table 2 and the count of the same networks: 4.394 / 4.2, 5.289 / 5.3.
    assert cells("efficientnet_b4")["difference 1"] == "+4.6 %*"
    assert cells("efficientnet_b0")["difference 0"] == "-0.2 %"
    assert difference(999_600, "1.0M") == "0.0 %"


def test_rounding_to_printed_digits():
    for ours, printed, equal in (
        (385_814_752, "0.39G", True),
        (686_802_832, "0.70G", False),
        (12_233_232, "12M", True),
        (12_500_000, "12M", True),
        (12_500_001, "12M", False),
        (118_515_272, "120M", False),
    ):
        assert rounds_to(ours, printed) == equal, (ours, printed)


def test_every_difference_is_explained():
    for section in PAGE.split("\n## ")[1:]:
        words = re.sub(r"^\|.*$", "", section, flags=re.M)
        for head, *rows in tables(section + "\n"):
            for row in rows:
                for word, cell in zip(head, row, strict=True):
                    star = word == "difference" and cell.endswith("*")
                    if star and abs(float(cell.rstrip(" %*"))) > 1:
                        assert row[0] in words, f"{row[0]} differs by {cell}, and nothing says why"


def test_what_others_counted_is_equal():
    # 0.301 G is three digits of 0.30077.
    for head, *rows in tables():
        counted = [i + 1 for i, word in enumerate(head) if word.endswith("counted")]
        assert all(row[i] in ("0.0 %", "-0.1 %", "") for row in rows for i in counted)


def test_lites_published_counts_hold_three_more_operations_a_value():
    # The official table: 407, 631, 899, 1440 and 2640 M.
    explained = re.search(r"give ([\d, and]+) M", PAGE.replace("\n", " "))
    ours = []
    for number, printed in enumerate((407, 631, 899, 1440, 2640)):
        spent = cost(published(f"efficientnet_lite{number}"))
        ours.append((spent.flops + 3 * spent.activations) / 1e6)
        assert ours[-1] == pytest.approx(printed, rel=5e-3)
    assert re.findall(r"\d+", explained[1]) == [f"{one:.0f}" for one in ours]


def test_what_the_text_says_of_resnets():
    # A bottleneck whose first convolution has the stride works on a quarter of the pixels there:
    # 256 * 128 at 56 * 56, and twice the same with half the side and twice the widths.
    saved = 3 * (256 * 128 * 56**2 * 3 // 4)
    assert saved // 10**6 == 231
    for name, flops in (("resnet50", 3.86), ("resnet101", 7.57), ("resnet152", 11.28)):
        assert round((cost(published(name)).flops - saved) / 1e9, 2) == flops
        assert f"{flops}" in PAGE
    projections = 64 * 128 * 28**2 + 128 * 256 * 14**2 + 256 * 512 * 7**2
    assert round(projections / 3e6, 1) == 6.4
    assert round((cost(published("resnet34")).flops - projections) / 1e9, 2) == 3.64


def test_what_the_text_says_of_batch_norms():
    # Two values for each channel of a batch norm are learned, two are running statistics.
    def channels(name):
        with torch.device("meta"):
            modules = build(published(name)).modules()
        return sum(module.num_features for module in modules if isinstance(module, nn.BatchNorm2d))

    learned = 2 * channels("mobilenet_v2")
    assert round((cost(published("mobilenet_v2")).params - learned) / 1e6, 2) == 3.47
    for name, params in (("efficientnet_v2_s", 21.6), ("efficientnet_v2_l", 119.0)):
        assert round((cost(published(name)).params + 2 * channels(name)) / 1e6, 1) == params


def test_the_paper_of_efficientdet_counts_one_operation_more_for_each_activation():
    numbers = re.findall(r"[\d.]+", re.search(r"bias: ([\d., \nand]+) G", PAGE)[1])
    rows = PAPERS["efficientdet"].rows
    for said, (name, row) in zip(numbers, rows.items(), strict=True):
        spent = cost(published(name))
        ours = (spent.flops + spent.activations) / 1e9
        assert rounds_to(round(ours * 1e9), row.flops)
        assert f"{ours:.{len(said.partition('.')[2])}f}" == said


def test_every_field_has_a_row_with_its_default():
    for kind, title in (
        (Backbone, "of a network"),
        (Stem, "of the stem"),
        (Head, "of the head"),
        (Stage, "of a stage"),
    ):
        rows = next(rows for (first, *_), *rows in tables() if first == title)
        listed = {name: row[1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
        defaults = {
            field.name: "" if field.default is MISSING else str(field.default)
            for field in fields(kind)
        }
        assert listed == defaults, title


def test_every_block_has_a_row_with_its_fields():
    rows = next(rows for (first, *_), *rows in tables() if first == "block")
    listed = {row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[2])) for row in rows}
    assert listed == BLOCK_FIELDS


ROWS = {name: row for paper in PAPERS.values() for name, row in paper.rows.items()}
COUNTED_ELSEWHERE = [name for name, row in ROWS.items() if row.counted_params]


def test_every_published_network_has_a_row():
    assert set(names()) <= set(ROWS)
    assert len(ROWS) == sum(len(paper.rows) for paper in PAPERS.values())
    assert [name for name, r in ROWS.items() if not (r.params or r.flops or r.counted_params)] == []


def rounded(name, params):
    """A count with the digits that are printed of this network."""
    digits = len(ROWS[name].counted_params.removesuffix("M").partition(".")[2])
    return f"{params / 1e6:.{digits}f}M"


def test_what_effdet_counts():
    for name in COUNTED_ELSEWHERE:
        if name.startswith("efficientdet"):
            with torch.device("meta"):
                model = effdet.EfficientDet(config(f"tf_{name}"), pretrained_backbone=False)
            params = sum(p.numel() for p in model.parameters())
            assert rounded(name, params) == ROWS[name].counted_params, name


def test_what_torchvision_says_of_its_own():
    for name in COUNTED_ELSEWHERE:
        if name.startswith("efficientdet"):
            continue
        meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
        assert rounded(name, meta["num_params"]) == ROWS[name].counted_params, name
        if name != "efficientnet_b2":  # theirs is made for 288 pixels
            counted = parse_count(ROWS[name].counted_flops)
            assert meta["_ops"] * 1e9 == pytest.approx(counted, rel=1e-3), name
