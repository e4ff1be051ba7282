"""The space of backbones: sizes by hand arithmetic, a bijection, and mistakes in words."""

import csv
import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.plain import digest
from scalesearch.arch.published import published
from scalesearch.arch.stage import BLOCK_FIELDS
from scalesearch.errors import UserError
from scalesearch.spaces.backbone import BackboneSpace

ROOT = Path(__file__).parents[2]
CSV = ROOT.parent / "shared" / "data" / "mbconv_imagenet.csv"
MNASNET = BackboneSpace.load(ROOT / "search_spaces" / "mnasnet_imagenet.yaml")
SMALL = BackboneSpace.load(ROOT / "search_spaces" / "mbconv_small.yaml")

# Two blocks, of which identity reads neither kernel nor depth: 2 * 2 + 1 stages, not 8.
MIXED = {
    "resolution": [32, 64],
    "stem": {"width": [8, 16], "stride": 1},
    "stages": [
        {"block": ["mbconv", "identity"], "width": 16, "kernel": [3, 5], "depth": [1, 2]},
        {
            "options": [
                {"block": "identity", "width": 24, "stride": 2},
                {"block": "mbconv", "width": 24, "stride": 2, "kernel": 5, "expand": 6},
            ]
        },
    ],
    "head": {"width": 64},
}


def test_the_size_of_the_mnasnet_space():
    # A stage: 3 expansions, 2 kernels, 3 depths, 2 squeeze-excite ratios; stage 6 has 4 depths.
    assert MNASNET.size == 36**6 * 48 == 104_485_552_128
    assert len(MNASNET.parameters) == 28


def test_efficientnet_b0_is_a_point_of_the_mnasnet_space():
    b0 = published("efficientnet_b0")
    parameters = MNASNET.encode(b0)
    assert [parameters[f"stage{i}.depth"] for i in range(1, 8)] == [1, 2, 2, 3, 3, 4, 1]
    assert [parameters[f"stage{i}.kernel"] for i in range(1, 8)] == [3, 3, 5, 3, 5, 5, 3]
    assert [parameters[f"stage{i}.expand"] for i in range(1, 8)] == [1, 6, 6, 6, 6, 6, 6]
    assert {parameters[f"stage{i}.se"] for i in range(1, 8)} == {0.25}
    assert MNASNET.decode(parameters) == b0


def test_every_row_of_the_benchmark_is_a_point():
    if not CSV.is_file():
        pytest.skip("../shared/data/mbconv_imagenet.csv is not here")
    with CSV.open() as file:
        for row in csv.DictReader(file):
            own = {name: float(row[name]) for name in MNASNET.parameters}
            network = MNASNET.decode(own)
            assert MNASNET.encode(network) == own
            assert [stage.depth for stage in network.stages] == [
                int(row[f"stage{i}.depth"]) for i in range(1, 8)
            ]


def test_the_small_space_is_for_small_grey_images():
    # 3*2*2*3*2, 3*3*2*3*2, 4 options, 3*2*2*2*2, 2 heads
    assert SMALL.size == 72 * 108 * 4 * 48 * 2
    network = SMALL.sample(0)
    assert (network.resolution, network.in_channels, network.num_classes) == (28, 1, 10)
    assert any(label.startswith("identity") for label in SMALL.parameters["stage3"])


def test_combinations_that_give_one_network_count_once():
    space = BackboneSpace.from_plain(MIXED)
    assert space.size == 2 * 2 * (2 * 2 + 1) * 2
    points = list(space.points())
    assert len(points) == space.size
    assert len({space.decode(point) for point in points}) == space.size
    assert space.parameters["stage2"] == ("identity_w24_s2", "mbconv_w24_d1_s2_k5_e6_se0")
    assert [len(space.slots[name]) for name in ("resolution", "stem", "stage1", "head")] == [
        2,
        2,
        5,
        1,
    ]


def test_every_combination_decodes_and_encodes_to_the_canonical_one():
    space = BackboneSpace.from_plain(MIXED)
    canonical = [tuple(point.values()) for point in space.points()]
    every = list(itertools.product(*space.parameters.values()))
    assert len(every) == 2 * 2 * 8 * 2
    for chosen in every:
        network = space.decode(dict(zip(space.parameters, chosen, strict=True)))
        back = space.encode(network)
        assert tuple(back.values()) in canonical
        assert space.decode(back) == network
        if chosen in canonical:
            assert tuple(back.values()) == chosen


def test_points_come_in_a_fixed_order():
    resolutions = [point["resolution"] for point in BackboneSpace.from_plain(MIXED).points()]
    assert resolutions == [32] * 20 + [64] * 20


def test_parameters_follow_the_file():
    assert list(BackboneSpace.from_plain(MIXED).parameters) == [
        "resolution",
        "stem.width",
        "stage1.block",
        "stage1.kernel",
        "stage1.depth",
        "stage2",
    ]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.sampled_from([MNASNET, SMALL]))
def test_samples_are_points(seed, space):
    network = space.sample(seed)
    assert network == space.sample(seed)
    assert space.decode(space.encode(network)) == network


def test_sampling_is_uniform_over_architectures():
    space = BackboneSpace.from_plain(MIXED)
    draws = 8000
    counts = {}
    for seed in range(draws):
        stage = space.sample(seed).stages[0]
        counts[stage] = counts.get(stage, 0) + 1
    # Five stages, a fifth each; over combinations identity would have half of the draws.
    # Chi-squared with 4 degrees of freedom: 18.5 is passed once in a thousand.
    expected = draws / 5
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 18.5


def test_the_same_seed_gives_the_same_network_in_every_version():
    # random.Random(0).randrange is specified to give these; see Python's own test of `random`.
    draw = random.Random(3)
    space = BackboneSpace.from_plain(MIXED)
    expected = [values[draw.randrange(len(values))] for values in space.slots.values()]
    network = space.sample(3)
    assert network.resolution == expected[0]
    assert network.stages == tuple(expected[2:4])


def test_one_choice_lists_are_parameters():
    space = BackboneSpace.from_plain(
        {"stages": [{"width": [8, 16], "kernel": [3]}], "resolution": [28]}
    )
    assert space.size == 2
    assert space.parameters["stage1.kernel"] == (3,)


def stage(**fields):
    return {"stages": [{"width": 8, "kernel": [3, 5]}, {"width": 16} | fields]}


def test_reading_spaces_and_files_needs_no_heavy_package():
    heavy = ["pydantic", "torch", "optuna", "numpy"]
    code = (
        "import sys, scalesearch.spaces.backbone, scalesearch.files.architecture\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Two choices for each field that any block reads.
CHOICES = {"depth": [1, 2], "kernel": [3, 5], "expand": [1, 4], "se": [0, 0.25], "reduce": [2, 4]}


@pytest.mark.parametrize("kind", BLOCK_FIELDS)
def test_every_block_kind_can_be_searched_with_all_that_it_reads(kind):
    read = {key: CHOICES[key] for key in BLOCK_FIELDS[kind]}
    space = BackboneSpace.from_plain(
        {"stages": [{"block": kind, "width": [8, 16], "stride": 2, **read}]}
    )
    assert space.size == 2 * 2 ** len(BLOCK_FIELDS[kind])
    assert set(space.parameters) == {"stage1.width", *(f"stage1.{key}" for key in read)}
    points = [space.decode(parameters) for parameters in space.points()]
    assert len({digest(net) for net in points}) == space.size
    assert all(space.decode(space.encode(net)) == net for net in points)


def test_a_stage_may_choose_among_all_block_kinds():
    every = list(BLOCK_FIELDS)
    space = BackboneSpace.from_plain({"stages": [{"block": every, "width": 8, **CHOICES}]})
    # Each kind has the fields that it reads: 16 + 16 + 4 + 4 + 8 + 4 + 1.
    assert space.size == sum(2 ** len(read) for read in BLOCK_FIELDS.values()) == 53
    options = [{"block": kind, "width": 8} for kind in every]
    assert BackboneSpace.from_plain({"stages": [{"options": options}]}).size == 7


def test_stem_and_head_can_be_searched_too():
    # A head with a convolution brings its norm: two choices of it are one network.
    head = {"width": [0, 64], "norm": [True, False]}
    stem = {"pool": [1, 2], "norm": [True, False]}
    space = BackboneSpace.from_plain({"stages": [{"width": 8}], "stem": stem, "head": head})
    assert space.size == 2 * 2 * (2 + 1)
    points = [space.decode(parameters) for parameters in space.points()]
    assert len({digest(net) for net in points}) == space.size


def test_a_field_that_no_chosen_block_reads_is_told():
    with pytest.raises(UserError) as caught:
        BackboneSpace.from_plain(
            {"stages": [{"block": ["basic", "wide"], "width": 8, "se": [0, 0.5]}]}
        )
    assert str(caught.value).startswith(
        "stages[0].se: the block 'basic/wide' has no 'se'\n"
        "  allowed: block, width, depth, stride, kernel"
    )


BAD = [
    ({}, "stages: a space needs a list of stages"),
    ({"stages": []}, "stages: a space needs a list of stages"),
    ({"stages": [{"width": 8}]}, "every field has one value: there is nothing to search"),
    (stage(kernel=[]), "stages[1].kernel: an empty list leaves no choice"),
    (stage(kernel=[3, 3]), "stages[1].kernel[1]: 3 is listed twice"),
    (stage(se=[0, 0.0]), "stages[1].se[1]: 0.0 is listed twice"),
    (stage(kernel=[3, 4]), "stages[1].kernel[1]: 4 cannot be used\n  allowed: an odd whole number"),
    (stage(kernel=[3, [5]]), "stages[1].kernel[1]: [5] is not a choice"),
    (stage(kernel=[3, None]), "stages[1].kernel[1]: None is not a choice"),
    (stage(se=[0, 2]), "stages[1].se[1]: 2 cannot be used\n  allowed: a number from 0 to 1"),
    (stage(kernal=[3, 5]), "stages[1].kernal: unknown key 'kernal'"),
    (stage(block="mbconf"), "stages[1].block: 'mbconf' is not known"),
    (
        stage(block="identity", kernel=[3, 5]),
        "stages[1].kernel: the block 'identity' has no 'kernel'",
    ),
    ({"stages": [{"depth": [1, 2]}]}, "stages[0]: 'width' is missing"),
    ({"stages": [3]}, "stages[0]: 3 is not a mapping"),
    (stage() | {"num_classes": [10, 20]}, "num_classes: the data set decides this"),
    (stage() | {"resolution": [28, 0]}, "resolution[1]: 0 cannot be used"),
    (stage() | {"resolutoin": 28}, "resolutoin: unknown key 'resolutoin'"),
    (stage() | {"head": {"width": ["wide"]}}, "head.width: 'wide' cannot be used"),
    (stage() | {"stem": 3}, "stem: 3 is not a mapping"),
    (stage() | {"activation": ["silu", "swish"]}, "activation[1]: 'swish' is not known"),
    ({"stages": [{"options": []}]}, "stages[0].options: [] gives no options"),
    (
        {"stages": [{"options": [{"width": 8}], "width": 8}]},
        "stages[0].width: 'width' cannot stand",
    ),
    (
        {"stages": [{"options": [{"width": 8}, {"width": 8, "kernel": 3}]}]},
        "stages[0].options[1]: 'mbconv_w8_d1_s1_k3_e1_se0' is listed twice",
    ),
    (
        {"stages": [{"options": [{"width": 8, "kernel": [3, 5]}]}]},
        "stages[0].options[0].kernel: an option is one whole stage and holds no list",
    ),
    (
        {"stages": [{"options": [{"width": 8}, {"block": "identity", "width": 8, "se": 0}]}]},
        "stages[0].options[1].se: the block 'identity' has no 'se'",
    ),
    (
        {"stages": [{"width": list(range(1, 1002)), "depth": list(range(1, 1002))}]},
        "stages[0]: 1,002,001 combinations in one stage are too many",
    ),
]


@pytest.mark.parametrize(("plain", "text"), BAD, ids=[text.split("\n")[0] for _, text in BAD])
def test_mistakes_in_a_space(plain, text):
    with pytest.raises(UserError) as caught:
        BackboneSpace.from_plain(plain)
    assert str(caught.value).startswith(text)


def test_a_mistake_in_a_file_has_its_line(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(
        "resolution: 28\nstages:\n  - {width: 8}\n  - width: 8\n    kernel:\n      [3, 4]\n"
    )
    with pytest.raises(UserError) as caught:
        BackboneSpace.load(path)
    assert str(caught.value).startswith(f"{path}:6: stages[1].kernel[1]: 4 cannot be used")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"stage1.kernel": 7}, "stage1.kernel: 7 is not a choice\n  allowed: 3, 5"),
        ({"stage1.kernle": 3}, "stage1.kernle: this space has no parameter 'stage1.kernle'"),
        (
            {"stage2": "mbconv"},
            "stage2: 'mbconv' is not a choice\n  allowed: identity_w24_s2, mbconv",
        ),
        ({"stage1.kernel": [3]}, "stage1.kernel: [3] is not a choice"),
        ({"stage1.kernel": "3"}, "stage1.kernel: '3' is not a choice"),
    ],
)
def test_parameters_that_are_none_of_the_space(change, text):
    space = BackboneSpace.from_plain(MIXED)
    with pytest.raises(UserError) as caught:
        space.decode(next(space.points()) | change)
    assert str(caught.value).startswith(text)


def test_a_missing_parameter_is_named():
    space = BackboneSpace.from_plain(MIXED)
    point = next(space.points())
    del point["stem.width"]
    with pytest.raises(UserError, match=r"the parameter 'stem\.width' is missing"):
        space.decode(point)


def test_networks_that_are_none_of_the_space():
    with pytest.raises(UserError, match=r"head: .* is not in this space"):
        MNASNET.encode(published("efficientnet_b0", head=SMALL.sample(0).head))
    with pytest.raises(UserError, match=r"stages: a network of 4 stages .*\n  allowed: 7 stages"):
        MNASNET.encode(SMALL.sample(0))
    with pytest.raises(UserError, match="resolution: 240 is not in this space"):
        MNASNET.encode(published("efficientnet_b0", resolution=240))
