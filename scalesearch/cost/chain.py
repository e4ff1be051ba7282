"""What blocks in a row add up to: counted once each, with what each depends on."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.walk import Part, Rule
from scalesearch.cost.cost import Workload
from scalesearch.cost.inference import inference
from scalesearch.cost.memory import COPY, FULL, Setting
from scalesearch.cost.sums import NOTHING, Sums, join, repeat
from scalesearch.cost.tally import tally
from scalesearch.cost.training import training


def first_setting(backbone: Backbone, workload: Workload) -> Setting:
    """What the stem's memory depends on."""
    return Setting(
        inference_batch=workload.inference_batch,
        training_batch=workload.training_batch,
        value_bytes=FULL if workload.precision == "float32" else COPY,
        sum_bytes=COPY if workload.precision == "bf16" else FULL,
        same=backbone.padding == "same",
        in_place=backbone.activation == "relu",
        drop_path=backbone.drop_path > 0,
    )


def added(parts: Iterable[Part], setting: Setting) -> tuple[Sums, Setting]:
    """The sums of parts in a row, and the setting of what is behind them."""
    sums = NOTHING
    for _, repeats, rule, args in parts:
        block, after = counted(rule, args, setting)
        if repeats > 1 and after.kept != setting.kept:  # only the first has another block before it
            sums = join(sums, block)
            repeats -= 1
            block, after = counted(rule, args, after)
        sums = join(sums, repeat(block, repeats))
        setting = after
    return sums, setting


@lru_cache(maxsize=100_000)
def counted(rule: Rule, args: tuple[Hashable, ...], setting: Setting) -> tuple[Sums, Setting]:
    """The sums of one block, and the setting of the one behind it.

    The networks of a search share most of their blocks, so what was counted is kept.
    """
    ops = rule(*args)
    trained, after = training(ops, setting)
    return Sums(*tally(ops), *inference(ops, setting), *trained), after
