from __future__ import annotations

import torch
from hypothesis import given, settings

from scalesearch.arch.walk import walk
from scalesearch.nn.build import build
from scalesearch.nn.links import links
from tests.strategies import backbones


@given(backbones())
@settings(max_examples=30)
def test_the_links_in_a_row_are_the_network(net):
    """Of every block kind, stem and head; as many as the walk has, each as often as it repeats."""
    torch.manual_seed(0)
    model = build(net).eval()
    images = torch.randn(2, net.in_channels, net.resolution, net.resolution)
    chain = links(model)
    assert len(chain) == sum(part.repeats for part in walk(net))
    with torch.inference_mode():
        x = images
        for link in chain:
            x = link(x)
        assert torch.equal(x, model(images))
