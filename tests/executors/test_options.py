from __future__ import annotations

import math
import subprocess
import sys

import pytest
from pydantic import TypeAdapter

from scalesearch import plugins
from scalesearch.errors import UserError
from scalesearch.executors._options import Options, Resources


def test_impossible_options_are_rejected():
    for options, message in (
        ({"workers": 0}, "workers: 0 cannot be used\n  allowed: a whole number from 1"),
        ({"cpus": 0}, "cpus: 0 cannot be used\n  allowed: a number above 0"),
        ({"gpus": -1}, "gpus: -1 cannot be used"),
        ({"gpus": 1.5}, "gpus: 1.5 cannot be used\n  allowed: 0, a share of one GPU such as 0.5"),
        ({"gpus": math.nan}, "gpus: nan cannot be used"),
        ({"gpus": 2}, "gpus: 2 cannot be used\n  allowed: 0, a share of one GPU such as 0.5, or 1"),
        ({"wait": -1}, "wait: -1 cannot be used\n  allowed: seconds from 0"),
        ({"retries": -1}, "retries: -1 cannot be used"),
        ({"timeout": 0}, "timeout: 0 cannot be used\n  allowed: seconds above 0"),
        ({"timeout": math.inf}, "timeout: inf cannot be used\n  allowed: seconds above 0"),
    ):
        with pytest.raises(UserError) as raised:
            Options(**options)
        assert str(raised.value).startswith(message)


@pytest.mark.parametrize("value", [10**30, 1e400, -(10**30), math.nan, 10_001])
@pytest.mark.parametrize("key", ["workers", "cpus", "gpus", "retries", "timeout"])
def test_numbers_beyond_all_measure(key, value):
    if key == "timeout" and value == 10_001:
        return
    with pytest.raises(UserError) as raised:
        Options(**{key: value})
    assert str(raised.value).startswith(f"{key}: {value!r} cannot be used\n  allowed: ")


def test_resources_of_a_cluster():
    asked = Resources(accelerator_type="T4", custom={"disk": 0.5})
    assert Options(resources=asked).resources == asked
    with pytest.raises(UserError, match=r"custom.disk: 0 cannot be used"):
        Resources(custom={"disk": 0})
    with pytest.raises(UserError, match="'GPU' is no resource of a cluster's own"):
        Resources(custom={"GPU": 1})


@pytest.mark.parametrize(
    "address",
    [
        "local",
        "auto",
        "127.0.0.1:6379",
        "head-1.cluster.local:6379",
        "my_head:1",
        "[::1]:65535",
        "ray://head:10001",
        "ray://[fe80::1]:10001",
    ],
)
def test_addresses_of_every_form(address):
    assert Options(address=address).address == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nowhere",
        "head:",
        ":6379",
        "head:0",
        "head:65536",
        "head:6379x",
        "http://head:8265",
        "ray:/head:10001",
        "ray://head",
        "head 1:6379",
        "::1:6379",
        "Local",
        "head:6379/",
        "h:1\n",
        "a" * 10000,
    ],
)
def test_an_address_that_is_none(address):
    with pytest.raises(UserError) as raised:
        Options(address=address)
    text = str(raised.value)
    assert text.startswith("address: '")
    assert text.endswith("allowed: local, auto, host:port, ray://host:port")
    assert len(text) < 320


def test_threads_and_limit_follow():
    assert [Options(cpus=cpus).threads for cpus in (0.25, 1, 2.5, 4)] == [1, 1, 2, 4]
    assert Options().limit == math.inf
    assert Options(timeout=90).limit == 90
    assert Options(workers=3).slots == 3


def test_all_executors_take_the_same_options_from_yaml():
    given = {"workers": 1, "cpus": 2, "gpus": 0, "address": "local", "retries": 1, "timeout": 60}
    for name in plugins.names("executors"):
        executor = TypeAdapter(plugins.load("executors", name)).validate_python(given)
        assert {key: getattr(executor, key) for key in given} == given


def test_choosing_an_executor_loads_neither_ray_nor_torch():
    code = (
        "import sys; from scalesearch import plugins\n"
        "for name in plugins.names('executors'): plugins.load('executors', name)()\n"
        "print(plugins.names('executors'), {'ray', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('ray', 'serial') set()"
