"""The numbers that papers print of the published networks, digit for digit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

NONE = "\N{EN DASH}"


class Row(NamedTuple):
    """One network: `5.3M` parameters, `0.39G` multiply-adds, as printed; empty where they are not.

    Attributes:
        params, flops: of the paper.
        score: of the paper, in words of its `Paper`.
        counted_params, counted_flops: of a public implementation.
    """

    params: str = ""
    flops: str = ""
    score: str = ""
    counted_params: str = ""
    counted_flops: str = ""


class Paper(NamedTuple):
    """Where the rows come from.

    Attributes:
        score: what the score is.
        source: paper and table.
        counted: whose implementation was counted by whom; empty if none was.
        rows: name to what is printed of it.
    """

    score: str
    source: str
    counted: str
    rows: Mapping[str, Row]


class Scaled(NamedTuple):
    """A figure or table of scaled networks.

    Attributes:
        network: what is scaled.
        source: paper and table.
        rows: multipliers to FLOPs as printed, FLOPs of public implementations with these
            multipliers by fvcore (convolutions and linear layers), and top-1 as printed.
    """

    network: str
    source: str
    rows: Mapping[str, tuple[str, str, str]]


_TORCHVISION = "torchvision's `num_params` and `_ops`"

PAPERS: dict[str, Paper] = {
    "efficientnet": Paper(
        "ImageNet top-1 %",
        "Tan & Le 2019 (arXiv 1905.11946 v5), Table 2",
        "timm's models by fvcore, convolutions and linear layers",
        {
            "efficientnet_b0": Row("5.3M", "0.39G", "77.1", "5.289M", "0.386G"),
            "efficientnet_b1": Row("7.8M", "0.70G", "79.1", "7.794M", "0.687G"),
            "efficientnet_b2": Row("9.2M", "1.0G", "80.1", "9.110M", "0.994G"),
            "efficientnet_b3": Row("12M", "1.8G", "81.6", "12.233M", "1.827G"),
            "efficientnet_b4": Row("19M", "4.2G", "82.9", "19.342M", "4.394G"),
            "efficientnet_b5": Row("30M", "9.9G", "83.6", "30.390M", "10.27G"),
            "efficientnet_b6": Row("43M", "19G", "84.0", "43.041M", "19.07G"),
            "efficientnet_b7": Row("66M", "37G", "84.3", "66.348M", "37.75G"),
        },
    ),
    "efficientnet_lite": Paper(
        "",
        "the official EfficientNet-Lite code's table of results",
        "",
        {
            "efficientnet_lite0": Row("4.7M", "407M"),
            "efficientnet_lite1": Row("5.4M", "631M"),
            "efficientnet_lite2": Row("6.1M", "899M"),
            "efficientnet_lite3": Row("8.2M", "1.44G"),
            "efficientnet_lite4": Row("13.0M", "2.64G"),
        },
    ),
    "efficientnet_v2": Paper(
        "",
        "Tan & Le 2021 (arXiv 2104.00298), Table 7",
        _TORCHVISION,
        {
            "efficientnet_v2_s": Row("22M", "8.8G", "", "21.458488M", "8.366G"),
            "efficientnet_v2_m": Row("54M", "24G", "", "54.139356M", "24.582G"),
            "efficientnet_v2_l": Row("120M", "53G", "", "118.515272M", "56.08G"),
        },
    ),
    "mobilenet": Paper(
        "ImageNet top-1 %",
        "Howard et al. 2017 (arXiv 1704.04861), Table 8; Sandler et al. 2018 (arXiv 1801.04381), "
        "Table 4",
        _TORCHVISION,
        {
            "mobilenet_v1": Row("4.2M", "569M", "70.6"),
            "mobilenet_v2": Row("3.4M", "300M", "72.0", "3.504872M", "0.301G"),
        },
    ),
    "resnet": Paper(
        "",
        "He et al. 2016 (arXiv 1512.03385), Table 1, which prints no parameters",
        _TORCHVISION,
        {
            "resnet18": Row("", "1.8G", "", "11.689512M", "1.814G"),
            "resnet34": Row("", "3.6G", "", "21.797672M", "3.664G"),
            "resnet50": Row("", "3.8G", "", "25.557032M", "4.089G"),
            "resnet101": Row("", "7.6G", "", "44.549160M", "7.801G"),
            "resnet152": Row("", "11.3G", "", "60.192808M", "11.514G"),
        },
    ),
    "wide_resnet": Paper(
        "error %, CIFAR-10 / CIFAR-100",
        "Zagoruyko & Komodakis 2016 (arXiv 1605.07146), which prints no multiply-adds",
        "",
        {
            "wrn_40_1": Row("0.6M", "", "6.85 / 30.89"),
            "wrn_40_2": Row("2.2M", "", "5.33 / 26.04"),
            "wrn_40_4": Row("8.9M", "", "4.97 / 22.89"),
            "wrn_40_8": Row("35.7M", "", f"4.66 / {NONE}"),
            "wrn_28_10": Row("36.5M", "", "4.17 / 20.50"),
            "wrn_28_12": Row("52.5M", "", "4.33 / 20.43"),
            "wrn_22_8": Row("17.2M", "", "4.38 / 21.22"),
            "wrn_22_10": Row("26.8M", "", "4.44 / 20.75"),
            "wrn_16_8": Row("11.0M", "", "4.81 / 22.07"),
            "wrn_16_10": Row("17.1M", "", "4.56 / 21.59"),
        },
    ),
    "efficientdet": Paper(
        "COCO test-dev AP",
        "Tan, Pang & Le 2020 (arXiv 1911.09070 v7), Table 2",
        "effdet 0.4.1's `tf_efficientdet_d0` to `d3`",
        {
            "efficientdet_d0": Row("3.9M", "2.5G", "34.6", "3.88M"),
            "efficientdet_d1": Row("6.6M", "6.1G", "40.5", "6.63M"),
            "efficientdet_d2": Row("8.1M", "11G", "43.9", "8.10M"),
            "efficientdet_d3": Row("12M", "25G", "47.2", "12.03M"),
            "efficientdet_d4": Row("21M", "55G", "49.7"),
            "efficientdet_d5": Row("34M", "135G", "51.5"),
            "efficientdet_d6": Row("52M", "226G", "52.6"),
            "efficientdet_d7": Row("52M", "325G", "53.7"),
            "efficientdet_d7x": Row("77M", "410G", "55.1"),
        },
    ),
    "efficientdet_lite": Paper(
        "",
        "no paper: the settings are those of the official code",
        "effdet 0.4.1's `tf_efficientdet_lite0` to `lite4`",
        {
            "efficientdet_lite0": Row(counted_params="3.243M"),
            "efficientdet_lite1": Row(counted_params="4.248M"),
            "efficientdet_lite2": Row(counted_params="5.252M"),
            "efficientdet_lite3": Row(counted_params="8.351M"),
            "efficientdet_lite4": Row(counted_params="15.131M"),
        },
    ),
}

_ALL = "depth 1.4, width 1.2, resolution 1.3"
_TABLE_3 = "Tan & Le 2019 (arXiv 1905.11946 v5), Table 3"

# By the study of `studies/paper/` that lists the multipliers.
SCALED: dict[str, Scaled] = {
    "efficientnet_figure3": Scaled("efficientnet_b0", "Tan & Le 2019, Figure 3: no numbers", {}),
    "efficientnet_figure4": Scaled("efficientnet_b0", "Tan & Le 2019, Figure 4: no numbers", {}),
    "efficientnet_figure8": Scaled(
        "efficientnet_b0",
        "Tan & Le 2019 (arXiv 1905.11946 v5), Table 7",
        {
            "baseline": ("0.4G", "0.386G", "77.3"),
            "depth 4": ("1.8G", "1.575G", "79.0"),
            "width 2": ("1.8G", "1.450G", "78.9"),
            "resolution 2": ("1.9G", "1.538G", "79.1"),
            _ALL: ("1.8G", "1.800G", "81.1"),
        },
    ),
    "table3_mobilenet_v1": Scaled(
        "mobilenet_v1",
        _TABLE_3,
        {
            "baseline": ("0.6G", "0.569G", "70.6"),
            "width 2": ("2.2G", "2.22G", "74.2"),
            "resolution 2": ("2.2G", "2.27G", "72.7"),
            _ALL: ("2.3G", "2.47G", "75.6"),
        },
    ),
    # Of these two the compound multipliers are not printed, nor then a row to compare with.
    "table3_mobilenet_v2": Scaled(
        "mobilenet_v2",
        _TABLE_3,
        {
            "baseline": ("0.3G", "0.301G", "72.0"),
            "depth 4": ("1.2G", "1.22G", "76.8"),
            "width 2": ("1.1G", "1.14G", "76.4"),
            "resolution 2": ("1.2G", "1.20G", "74.8"),
        },
    ),
    "table3_resnet50": Scaled(
        "resnet50",
        _TABLE_3,
        {
            "baseline": ("4.1G", "4.09G", "76.0"),
            "depth 4": ("16.2G", "14.6G", "78.1"),
            "width 2": ("14.7G", "15.9G", "77.7"),
            "resolution 2": ("16.4G", "16.35G", "77.5"),
        },
    ),
}
