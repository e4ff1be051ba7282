import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from scalesearch.training.depthwise import quick_depthwise, weight_gradient


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_weight_gradient_is_the_one_of_autograd(data):
    sizes = [data.draw(st.integers(1, most)) for most in (3, 9, 9, 9, 3)]
    images, channels, height, width, stride = sizes
    seed = data.draw(st.integers())
    draw = torch.Generator().manual_seed(seed % 2**31)
    x = torch.randn(images, channels, height, width, generator=draw, dtype=torch.float64)
    weight = torch.randn(channels, 1, 5, 5, generator=draw, dtype=torch.float64)
    weight.requires_grad_()
    out = functional.conv2d(x, weight, None, stride, 2, groups=channels)
    gradient = torch.randn(out.shape, generator=draw, dtype=torch.float64)
    out.backward(gradient)
    torch.testing.assert_close(weight_gradient(gradient, x, stride), weight.grad)


class Net(nn.Module):
    def __init__(self, **options):
        super().__init__()
        options = {"stride": 1, "padding": 2, "groups": 6, "bias": False} | options
        self.before = nn.Conv2d(2, 6, 1)
        self.conv = nn.Conv2d(6, 6, 5, **options)

    def forward(self, x):
        return self.conv(self.before(x).relu())


def gradients(net, x):
    net.zero_grad()
    out = net(x)
    out.square().sum().backward()
    return out, [p.grad.clone() for p in net.parameters()]


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"stride": 3}, {"bias": True}, {"groups": 1}, {"padding": 1}],
    ids=str,
)
def test_training_with_it_is_training_without_it(options):
    torch.manual_seed(0)
    net, x = Net(**options), torch.randn(3, 2, 7, 8)
    x = x.contiguous(memory_format=torch.channels_last)
    plain = gradients(net, x)
    with quick_depthwise(net):
        replaced = "_conv_forward" in vars(net.conv)
        quick = gradients(net, x)
    assert replaced == (options in ({}, {"stride": 2}))
    assert "_conv_forward" not in vars(net.conv)
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-4)
    assert torch.equal(quick[0], plain[0])


def test_where_nothing_learns_the_convolution_is_the_usual_one():
    net, x = Net().requires_grad_(False), torch.randn(1, 2, 5, 5)
    with quick_depthwise(net):
        assert torch.equal(net(x), net(x))
        assert not net(x).requires_grad
        with torch.no_grad():
            assert not net.requires_grad_()(x).requires_grad


def test_an_error_leaves_the_model_as_it_was():
    net = Net()
    with pytest.raises(KeyError), quick_depthwise(net):
        raise KeyError
    assert "_conv_forward" not in vars(net.conv)


def test_a_model_on_another_device_is_left_as_it_is():
    net = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False, device="meta"))
    with quick_depthwise(net):
        assert "_conv_forward" not in vars(net[0])
    with quick_depthwise(net.to_empty(device="cpu")):
        assert "_conv_forward" in vars(net[0])
