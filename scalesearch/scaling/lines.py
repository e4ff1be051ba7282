"""Lines of a family: networks that are listed one by one, as papers plot them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.factory import Factory
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.factory import multiplied as multiplied_factory
from scalesearch.scaling.family import Member, is_strategy
from scalesearch.scaling.multiply import multiply

# As in the names of files, and of columns.
_NAME = re.compile(r"[a-z][a-z_0-9.]{0,59}")


def check_line_name(name: str) -> str:
    """The name, if a line may have it.

    Raises:
        UserError: it cannot name files, or is that of a strategy.
    """
    if not _NAME.fullmatch(name) or "_phi" in name or ".." in name:
        raise UserError(
            f"{name!r} cannot name a line",
            allowed="up to 60 small letters, digits, _ and . with a letter first, such as d2_r1.3",
        )
    if is_strategy(name):
        raise UserError(
            f"{name!r} is a strategy, whose members have the FLOPs of the compound one",
            hint=f"give the line another name, such as by_{name}",
        )
    return name


def check_lengths(by: Mapping[str, Sequence[float]]) -> int:
    """How many networks a line's multipliers make.

    Raises:
        UserError: two lists are not of one length.
    """
    count = max(map(len, by.values()), default=1)
    for key, values in by.items():
        if len(values) not in (1, count):
            raise UserError(
                f"{len(values)} values beside a list of {count}",
                key=key,
                allowed=f"one, or {count}: lists are read together, place by place",
            )
    return count


def multiplied(
    baseline: Backbone | Factory, by: Mapping[str, Sequence[float]], head_scaling: str = "scale"
) -> tuple[Any, ...]:
    """The baseline multiplied and rounded as in the paper, once for each place in the lists.

    A factory rounds as it does.

    Args:
        baseline: what is multiplied.
        by: `depth`, `width` and `resolution` to their values; a single value stands for all.
        head_scaling: as of `Multipliers`.

    Raises:
        UserError: two lists are not of one length.
    """
    count = check_lengths(by)
    places = (
        {key: values[n if len(values) > 1 else 0] for key, values in by.items()}
        for n in range(count)
    )
    times: Any = multiplied_factory if isinstance(baseline, Factory) else multiply
    return tuple(
        times(baseline, Multipliers(**place, head_scaling=head_scaling))  # type: ignore[arg-type]
        for place in places
    )


def line(name: str, baseline: Backbone, networks: Sequence[Backbone]) -> tuple[Member, ...]:
    """The members of one line; rounding may give two the same network, which is one member.

    Their phi is log2 of their FLOPs as a multiple of the baseline's: that of the compound member
    as large, where FLOPs double with each phi.

    Raises:
        UserError: two different networks have the same FLOPs, so that phi cannot tell them apart.
    """
    start, known = counts(baseline).flops, dict[float, Backbone]()
    for network in networks:
        phi = round(math.log2(counts(network).flops / start), 4) + 0.0  # no -0
        if known.setdefault(phi, network) != network:
            raise UserError(
                f"two networks of the line {name!r} have the same FLOPs",
                hint="write them as two lines",
            )
    return tuple(Member(name, phi, network) for phi, network in known.items())
