"""Numbers of EfficientNet-B0 as timm builds and fvcore counts it."""

from __future__ import annotations

import json

from scalesearch.arch.published import published
from scalesearch.cli.profile import stage_rows

# fvcore on timm's efficientnet_b0 at 224 pixels, evaluation mode.
B0 = {"flops": 385_814_752, "flops_total": 399_352_864, "params": 5_288_548}
B0 |= {"activations": 6_748_036}


def test_the_table_of_b0(scalesearch):
    done = scalesearch("profile", "efficientnet_b0")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    for number in ("385.8 M", "399.4 M", "5.3 M", "6.7 M"):
        assert number in lines["total"]
    assert "mbconv k3 s1 e1 se0.25" in lines["stage1"]
    assert "14 x 14" in lines["stage5"]
    assert len([name for name in lines if name.startswith("stage")]) == 8  # with its head line
    assert "1 flop = 1 multiply-add" in done.out
    assert "\x1b" not in done.out


def test_json_is_exact(scalesearch):
    plain = json.loads(scalesearch("profile", "efficientnet_b0", "--json").out)
    assert {name: plain[name] for name in B0} == B0
    assert plain["resolution"] == 224
    for name, total in B0.items():
        assert sum(stage[name] for stage in plain["stages"]) == total
    assert [stage["stage"] for stage in plain["stages"]] == [
        "stem",
        *(f"stage{n}" for n in range(1, 8)),
        "head",
    ]


def test_another_resolution(scalesearch):
    plain = json.loads(
        scalesearch("profile", "efficientnet_b0", "--resolution", "112", "--json").out
    )
    assert plain["params"] == B0["params"]
    assert plain["flops"] < B0["flops"] / 3
    assert plain["stages"][0]["output"] == "56 x 56"


def test_stages_of_identities_are_rows_too():
    from dataclasses import replace

    from scalesearch.arch.stage import Stage

    net = published("efficientnet_b0")
    plain = Stage(block="identity", width=net.stages[0].width, stride=2)
    changed = replace(net, stages=(net.stages[0], plain, *net.stages[1:]))
    rows = list(stage_rows(changed))
    assert rows[2]["stage"] == "stage2"
    assert rows[2]["block"] == "identity s2"
    assert rows[2]["output"] == "56 x 56"


def test_mistakes(wrong, tmp_path):
    assert "efficientnet_bo" in wrong("profile", "efficientnet_bo")
    assert "missing.yaml" in wrong("profile", tmp_path / "missing.yaml")
    assert "resolution" in wrong("profile", "efficientnet_b0", "--resolution", "0")
    assert "no_such_module" in wrong("profile", "no_such_module:net")
