"""Checkpoints as trainers write them: the weights are found in each."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scalesearch.errors import UserError
from scalesearch.nn.weight_sets import weight_set


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


STATE, OTHER = small(0).state_dict(), small(1).state_dict()
TRAINING = {
    "epoch": 3,
    "best_acc": torch.tensor(0.5),
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 0.1}]},
    "lr_scheduler": {"base": {"weights": torch.ones(2)}},
    "amp_scaler": {"scale": torch.tensor(1.0)},
    "class_weights": torch.ones(10),
    "arch": "efficientnet_b0",
    "none": None,
}


def is_state(found, state=STATE):
    assert list(found.state) == list(state)
    assert all(torch.equal(found.state[name], value) for name, value in state.items())


def under(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "keys",
    [
        ("state_dict",),
        ("model_state_dict",),
        ("model",),
        ("network",),
        ("params",),
        ("params_ema",),
        ("ema",),
        ("module",),
        ("some_word_of_ones_own",),
        ("model", "state_dict"),
        ("ema", "module"),
        ("a", "b", "c"),
    ],
)
@pytest.mark.parametrize("beside", [{}, TRAINING], ids=["alone", "beside"])
def test_containers(keys, beside):
    content = STATE
    for key in reversed(keys):
        content = beside | {key: content}
    found = weight_set(content)
    is_state(found)
    assert found.notes == ()


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module.module.", "_orig_mod.module.", "module._orig_mod."],
)
def test_wrappers(prefix):
    is_state(weight_set(under(prefix)))
    # Inside of names, too, where one part of a network was wrapped.
    is_state(weight_set(under(f"encoder.{prefix}")), under("encoder."))


def test_wrappers_without_which_two_names_would_be_one():
    state = under("module.") | STATE
    is_state(weight_set(state), state)


def test_an_averaged_model():
    average = AveragedModel(small(), multi_avg_fn=get_ema_multi_avg_fn(0.9))
    average.update_parameters(small(1))
    assert "n_averaged" in average.state_dict()
    is_state(weight_set(average.state_dict()), average.module.state_dict())


@pytest.mark.parametrize(
    ("raw", "average"),
    [
        ("state_dict", "state_dict_ema"),  # timm
        ("model", "model_ema"),  # torchvision
        ("params", "params_ema"),  # BasicSR
        ("model_state_dict", "ema_state_dict"),
        ("net", "ema"),
        ("model", "swa-model"),
    ],
)
@pytest.mark.parametrize("first", ["raw", "average"])
def test_of_two_sets_the_average_is_taken_and_said(raw, average, first):
    both = {raw: OTHER, average: {"n_averaged": torch.tensor(9)} | under("module.")}
    if first == "average":
        both = dict(reversed(both.items()))
    found = weight_set(TRAINING | both)
    is_state(found)
    said = f"the moving average of weights under {average!r} is taken, not {raw!r}"
    assert found.notes == (said,)
    is_state(weight_set(TRAINING | both, key=raw), OTHER)
    assert weight_set(TRAINING | both, key=raw).notes == ()


def test_two_sets_in_one_mapping():
    """As Lightning keeps a network and its average in one module."""
    state = under("model.", OTHER) | {"ema.n_averaged": torch.tensor(3)} | under("ema.module.")
    found = weight_set({"state_dict": state, "epoch": 3})
    is_state(found, under("ema."))
    assert found.notes == (
        "the moving average of weights under 'state_dict.ema' is taken, not 'state_dict'",
    )


def test_an_average_of_what_is_trained_alone():
    trained = {name: STATE[name] for name in ("0.weight", "0.bias", "1.weight", "1.bias")}
    found = weight_set({"model": OTHER, "ema": trained})
    assert found.state.keys() == OTHER.keys()
    assert torch.equal(found.state["0.weight"], STATE["0.weight"])
    assert found.notes[1] == "3 tensors that it lacks are from 'model'"


def test_several_sets_of_which_none_is_surely_meant():
    with pytest.raises(UserError) as told:
        weight_set({"generator": STATE, "discriminator": OTHER}, "gan.pth")
    assert str(told.value) == (
        "gan.pth: holds 2 sets of weights: 'generator', 'discriminator'\n"
        "  choose with load_weights(…, key=…), or save one of them alone"
    )
    is_state(weight_set({"generator": STATE, "discriminator": OTHER}, key="discriminator"), OTHER)
    with pytest.raises(UserError) as told:
        weight_set({"generator": STATE, "discriminator": OTHER}, key="generater")
    assert told.value.allowed == "generator, discriminator"
    assert told.value.hint == "did you mean 'generator'?"


def test_of_a_usual_word_and_another_the_usual_one_is_taken_and_said():
    found = weight_set({"model": STATE, "criterion": OTHER})
    is_state(found)
    assert found.notes == ("the set of weights under 'model' is taken, not 'criterion'",)


def test_a_pickle_may_hold_itself_or_go_deep():
    content = {"model": STATE}
    content["self"] = content
    is_state(weight_set(content))
    deep = {}
    for _ in range(5000):
        deep = {"model": deep}
    with pytest.raises(UserError, match="holds no weights"):
        weight_set(deep)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([STATE], "holds no weights but a value of type list"),
        (torch.zeros(3), "holds no weights but a value of type Tensor"),
        ({}, "holds no weights"),
        ({"loss": torch.tensor(3.0)}, "holds no weights"),
        ({"w" * 999: 3}, "is not a tensor but of type int"),
        (
            {str(i): {} for i in range(9999)},
            "holds no weights under its keys '0', '1', '2', '3', '4', 9994 more",
        ),
    ],
)
def test_nothing_to_take(content, said):
    with pytest.raises(UserError) as told:
        weight_set(content)
    assert said in told.value.problem
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("name", ["average_meters", "ema_losses", "ema"])
def test_what_is_called_an_average_and_averages_no_weights_is_none(name):
    content = {"model": dict(STATE), name: {"train.loss": torch.ones(3)}}
    is_state(weight_set(content))


def test_an_average_of_what_is_trained_alone_below_another_prefix_is_completed():
    trained = {name: OTHER[name] for name in OTHER if "running" not in name and "num" not in name}
    found = weight_set({"state_dict": under("model."), "ema": trained})
    assert set(found.state) == set(STATE)
    for name, value in found.state.items():
        assert torch.equal(value, trained.get(name, STATE[name]))
    assert "3 tensors that it lacks are from 'state_dict'" in found.notes


def test_the_counts_of_a_profiler_are_no_weights():
    counts = {"0.total_ops": torch.zeros(1), "total_params": torch.zeros(1)}
    is_state(weight_set(STATE | counts))


@pytest.mark.parametrize("key", ["encoder_q", "module.encoder_q", "state_dict.module.encoder_q"])
def test_a_key_may_end_in_a_prefix_of_names(key):
    both = under("module.encoder_q.") | under("module.encoder_k.", OTHER)
    is_state(weight_set({"state_dict": both, "epoch": 3}, key=key))
