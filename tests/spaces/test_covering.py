"""The blocks of a space, held against going through all of its networks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Deployment
from scalesearch.cost.latency_table import LatencyTable, entry_name, predict
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.spaces.covering import best_network, entries_of, fastest

ROOT = Path(__file__).parents[2]
SPACES = {
    "widths": """
resolution: [16, 20]
stem: {width: [4, 6], stride: 2}
stages:
  - {width: [4, 6], depth: [1, 2], stride: 2, kernel: [3, 5]}
  - options:
      - {block: identity, width: 8, stride: 2}
      - {block: basic, width: 8, depth: 2}
      - {block: separable, width: 6, stride: 2}
  - {width: 8, depth: [1, 3], expand: [1, 2]}
head: {width: [0, 16]}
""",
    "looks": """
resolution: 9
activation: [relu, silu]
padding: [same, symmetric]
drop_path: [0.0, 0.2]
stages:
  - {width: 4, stride: [1, 2]}
  - {width: 4, stride: [1, 2], depth: [1, 2]}
""",
}


@pytest.fixture(params=sorted(SPACES))
def space(request):
    return BackboneSpace.from_plain(yaml.safe_load(SPACES[request.param]))


def entries(net):
    return [entry_name(part.args) for part in walk(net)]


def repeats(net):
    found = Counter()
    for part, entry in zip(walk(net), entries(net), strict=True):
        found[entry] += part.repeats
    return found


def every(space):
    return [space.decode(point) for point in space.points()]


def test_the_entries_of_a_space_are_those_of_all_its_networks(space):
    found = entries_of(space.slots)
    assert len(found) == len(set(found))
    assert set(found) == {entry for net in every(space) for entry in entries(net)}


def test_the_fastest_network_is_the_fastest_of_all(space):
    made_up = {entry: [(7 * i % 11 + 1) / 1000] for i, entry in enumerate(entries_of(space.slots))}
    table = LatencyTable(deployment=Deployment(), machine="", torch="", entries=made_up)
    least = min(predict(table, net) for net in every(space))
    net = fastest(space.slots, table)
    assert predict(table, net) == pytest.approx(least)
    assert space.decode(space.encode(net)) == net, "a network of the space"


def test_the_best_network_has_the_most_of_what_is_wanted(space):
    wanted = set(entries_of(space.slots)[1::3])

    def found(net):
        return len(wanted & set(entries(net)))

    net = best_network(space.slots, lambda entry, repeats: float(entry in wanted))
    # A entry that two stages share counts for each of them.
    assert sum(entry in wanted for entry in entries(net)) == max(
        sum(entry in wanted for entry in entries(other)) for other in every(space)
    )
    assert found(net) > 0


def test_repeats_count(space):
    net = best_network(space.slots, lambda entry, repeats: float(repeats))
    assert sum(repeats(net).values()) == max(sum(repeats(n).values()) for n in every(space))


def test_a_large_space_has_few_blocks():
    # mnasnet_imagenet by hand: stem and head; in each of seven stages 3 expansions, 2 kernels and
    # 2 squeeze-excites for the first block and as many for those behind it.
    space = BackboneSpace.load(ROOT / "search_spaces" / "mnasnet_imagenet.yaml")
    assert len(entries_of(space.slots)) == 2 + 7 * 12 * 2
