import pytest
import torch

from scalesearch.errors import UserError
from scalesearch.training.device import isolated, pick_device, uses_bf16

CPU = torch.device("cpu")


def test_auto_follows_what_the_process_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize(("name", "gpus"), [("cuda", 0), ("cuda:1", 1)])
def test_a_missing_gpu_is_the_users_to_mend(monkeypatch, name, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=f"'{name}' cannot be used: this process sees {gpus} GPUs"):
        pick_device(name)


def test_bf16_is_automatic_on_gpus_that_have_it_alone(monkeypatch):
    assert not uses_bf16("auto", CPU)
    assert uses_bf16("bf16", CPU)
    gpu = torch.device("cuda")
    for supported in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda answer=supported: answer)
        assert uses_bf16("auto", gpu) is supported
    assert not uses_bf16("float32", gpu)


def test_random_numbers_follow_the_seed_inside_and_stay_untouched_outside():
    before = torch.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        with isolated(seed, CPU):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.get_rng_state())


def test_an_error_inside_restores_too():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="size"), isolated(1, CPU):
        torch.rand(3) + torch.rand(2)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.backends.cudnn.deterministic
