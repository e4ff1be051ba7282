"""`scalesearch scale`: a network before and after scaling, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.arch.plain import digest
from scalesearch.cli.scaled_table import Scaled, print_scaled
from scalesearch.cost.cost import Workload
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture, save_architecture
from scalesearch.scaling.coefficients import COEFFICIENTS, Coefficients
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.factory import scaled_dimensions
from scalesearch.scaling.limits import Costs, check_limits
from scalesearch.scaling.measure import latency_by
from scalesearch.scaling.regularisation import GrowingRate, Regularisation
from scalesearch.scaling.solve import Growing, growing, largest
from scalesearch.scaling.strategies import COMPOUND, of_shares, shares_of
from scalesearch.units import (
    parse_bytes,
    parse_count,
    parse_seconds,
)

# The coefficients that scale each kind of network.
_KINDS: Mapping[type[Architecture], type[Scaling]] = {
    Backbone: Coefficients,
    Detector: DetectorCoefficients,
    Factory: Coefficients,
}
# Of EfficientNet-B0: what a limit takes where no coefficients are given.
_PAPER = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}
# Options that limit a cost: the cost, and what reads them.
_LIMITS: Mapping[str, tuple[str, Callable[[object], float]]] = {
    "flops": ("flops", parse_count),
    "params": ("params", parse_count),
    "memory": ("training_bytes", parse_bytes),
    "latency": ("latency", parse_seconds),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """How far a network is scaled, as the command line says it.

    Attributes:
        phi: the member, or None where limits say it.
        limits: of FLOPs, params, memory and latency, as they were written.
        batch: images in a training step, for memory.
        table: file of a latency table; None measures latency on this machine.
        strategy: `compound`, or another one of `scaling/strategies.py`.
        regularisation: how dropout and stochastic depth grow with phi.
    """

    phi: float | None = None
    limits: Mapping[str, str | None] = field(default_factory=dict)
    batch: int = 32
    table: Path | None = None
    strategy: str = COMPOUND
    regularisation: Regularisation = field(default_factory=Regularisation)

    def bounds(self) -> dict[str, float]:
        """Each limited cost to its bound.

        Raises:
            UserError: both phi and a limit, or neither, or a limit that cannot be read.
        """
        given = {name: text for name, text in self.limits.items() if text is not None}
        if self.phi is not None and given:
            raise UserError(
                f"--phi and --{next(iter(given))} both say how large the network is to be",
                allowed="--phi alone, or any of --flops, --params, --memory and --latency",
            )
        if self.phi is None and not given:
            raise UserError(
                "nothing says how large the network is to be",
                allowed="--phi 1, or limits such as --flops 1.8G --params 12M",
            )
        bounds = {}
        for name, text in given.items():
            key, parse = _LIMITS[name]
            try:
                bounds[key] = parse(text)
                check_limits({key: bounds[key]})
            except UserError as error:
                raise error.moved(f"--{name}") from None
        return bounds


def show_scaled(
    name: str,
    given: Mapping[str, float | str | None],
    file: Path | None,
    target: Target,
    output: Path | None,
) -> None:
    """Prints widths, depths and costs before and after; writes the result if asked to."""
    before, bounds = architecture(name), target.bounds()
    latency = _latency(target, bounds, before)
    family, coefficients, notes = _family(before, given, file, target, latency)
    if target.regularisation:
        family = _regularised(family, before, target.regularisation)
    if target.phi is not None:
        phi, after = target.phi, family.network(target.phi)
    else:
        workload = Workload(training_batch=target.batch)
        phi, after = largest(family, bounds, Costs(workload=workload, latency=latency))
    if target.regularisation:
        notes += _rates(before, after)
    if file is not None:
        notes += _other_way(file, coefficients, before, after)
    by = None
    if isinstance(coefficients, Coefficients):
        by = coefficients.at(phi)
    elif isinstance(coefficients, str):
        by = shares_of(coefficients).at(2.0**phi)
    scaled = Scaled(before=before, after=after, phi=phi, coefficients=coefficients, by=by)
    for note in notes:
        print(f"note  {note}")
    print_scaled(name, scaled, target.batch, latency)
    if output is not None:
        about = {"scaled from": name, "phi": phi, "coefficients": coefficients}
        save_architecture(output, after, about)
        print(f"written to {output}")


def _family(
    net: Architecture,
    given: Mapping[str, float | str | None],
    file: Path | None,
    target: Target,
    latency: Callable[[Architecture], float] | None,
) -> tuple[Growing, Scaling | str, list[str]]:
    """The members by phi, what they are scaled by, and notes on that."""
    if target.strategy != COMPOUND:
        others = [name for name, one in given.items() if one is not None and name != "head_scaling"]
        if others or file is not None:
            raise UserError(
                f"the strategy {target.strategy!r} has shares of its own, and takes no coefficients"
            )
        shares = shares_of(target.strategy)
        if isinstance(net, Detector):
            raise UserError(
                f"{target.strategy!r} does not scale a detector",
                key="--strategy",
                allowed=COMPOUND,
                hint="`strategies` of a family scale single parts of detectors",
            )
        head: Any = given.get("head_scaling") or "scale"
        return of_shares(net, shares, Coefficients(1, 1, 1, head).head_scaling), target.strategy, []
    coefficients, notes = choose_coefficients(net, given, file, target.phi is None)
    measure = None if latency is None else latency_by(latency)
    if target.phi is None:
        return growing(net, coefficients, measure), coefficients, notes
    from scalesearch.scaling.scale import scale

    network = partial(scale, net, coefficients, measure=measure)
    return Growing(network=network), coefficients, notes


def rates_of(per_phi: Mapping[str, float | None]) -> Regularisation:
    """How much each rate grows with phi; None for one that stays as it is.

    Raises:
        UserError: one is no rate.
    """
    rates = {}
    for name, more in per_phi.items():
        try:
            rates[name] = None if more is None else GrowingRate(per_phi=more)
        except UserError as error:
            raise error.moved(_option(name)) from None
    return Regularisation(**rates)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}-per-phi"


def _regularised(family: Growing, before: Architecture, rates: Regularisation) -> Growing:
    """The family with rates that grow with phi."""
    try:
        rates.applied(before, 0)
    except UserError as error:
        raise error.moved(_option(error.key.partition(".")[0])) from None
    at = None if family.at is None else rates.along(family.at)
    return replace(family, network=rates.along(family.network), at=at)


def _rates(before: Architecture, after: Architecture) -> list[str]:
    """The rates of dropout and stochastic depth, before and after, where they differ."""
    one, other = (cast(Backbone | Detector, net).trunk for net in (before, after))
    rates = {
        "dropout": (one.head.dropout, other.head.dropout),
        "stochastic depth": (one.drop_path, other.drop_path),
    }
    return [
        f"{words} {own:g} -> {grown:g}" for words, (own, grown) in rates.items() if own != grown
    ]


def choose_coefficients(
    net: Architecture,
    given: Mapping[str, float | str | None],
    file: Path | None,
    to_limit: bool = False,
) -> tuple[Scaling, list[str]]:
    """The coefficients of a network's kind, of a file or the options given, and notes on them.

    A detector's that are not given are the paper's; a classifier's three are all required, unless
    a limit says how large the network is to be: then FLOPs are met within 2 % (`measured`), and
    EfficientNet-B0's coefficients are taken where none is given.

    Raises:
        UserError: a file and numbers, too few of them, or one of the other kind.
    """
    numbers: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
    kind, notes = _KINDS[type(net)], list[str]()
    names = [entry.name for entry in fields(kind) if not entry.name.startswith("budget")]
    options = " ".join(f"--{name.replace('_', '-')}" for name in names)
    if file is not None:
        if numbers:
            raise UserError(f"give --coefficients or {options}, not both")
        loaded = kind.load(file)
        return loaded, [*_of_another(net, file), *_doubts(loaded)]
    if wrong := [name for name in numbers if name not in names]:
        raise UserError(
            f"--{wrong[0].replace('_', '-')} does not scale this kind of network", allowed=options
        )
    if kind is Coefficients and to_limit:
        numbers = {"match": "measured", **numbers}
        if not {*_PAPER} & {*numbers}:
            numbers |= _PAPER | _unscaled(net)
            notes.append(
                "coefficients: EfficientNet-B0's alpha 1.2, beta 1.1, gamma 1.15; a grid finds "
                "those of another network"
            )
    try:
        made = kind(**numbers)
        return made, [*notes, *_doubts(made)]
    except TypeError:  # an argument without a default is missing
        raise UserError(
            "coefficients are missing",
            allowed="--alpha 1.2 --beta 1.1 --gamma 1.15, or --coefficients FILE",
        ) from None


def _unscaled(net: Architecture) -> dict[str, float]:
    """The coefficients of what a factory does not scale: 1."""
    known = scaled_dimensions(net) if isinstance(net, Factory) else tuple(COEFFICIENTS)
    return {letter: 1.0 for name, letter in COEFFICIENTS.items() if name not in known}


def _doubts(coefficients: Scaling) -> list[str]:
    """A warning of a product that is far from the budget."""
    doubt = coefficients.off_budget if isinstance(coefficients, Coefficients) else ""
    return [doubt] if doubt else []


def _of_another(net: Architecture, file: Path) -> list[str]:
    """Warnings of a file found for another network, or beyond the results that it is of."""
    from scalesearch.files.strict import load_yaml

    plain, notes = load_yaml(file).plain, list[str]()
    if plain.get("baseline_digest") not in (None, digest(net)):
        notes.append(
            f"warning: {file} was found for another network than this: its best may be others"
        )
    evidence = plain.get("evidence")
    if isinstance(evidence, Mapping) and evidence.get("beyond_results") is True:
        notes.append(
            f"warning: the coefficients of {file} are beyond the results that they were found from"
        )
    return notes


def _other_way(
    file: Path, coefficients: Scaling | str, before: Architecture, after: Architecture
) -> list[str]:
    """A warning of coefficients found for shrinking a network that grows, or the reverse."""
    if not isinstance(coefficients, Coefficients) or after == before:
        return []
    found, done = (
        "growing" if more else "shrinking"
        for more in (coefficients.growth > 1, counts(after).flops > counts(before).flops)
    )
    if found == done:
        return []
    return [
        f"warning: {file} was found for {found} and not for {done}: what is best for one need not "
        "be best for the other"
    ]


def _latency(
    target: Target, bounds: Mapping[str, float], before: Architecture
) -> Callable[[Architecture], float] | None:
    """What predicts or measures latency, if a limit or a table asks for it."""
    if target.table is not None:
        if isinstance(before, Factory):
            raise UserError(
                f"a latency table does not know the blocks of what {before.factory} builds",
                key="--table",
                hint="without a table latency is measured on this machine",
            )
        from scalesearch.cost.latency_estimate import estimator
        from scalesearch.study.latency import load_table

        estimate = estimator(load_table(target.table))
        return lambda net: estimate(cast(Backbone | Detector, net).trunk)
    if "latency" not in bounds:
        return None
    from scalesearch.cost.latency import measure_latency
    from scalesearch.nn.build import build

    def measured(net: Architecture) -> float:
        side = net.resolution
        return measure_latency(build(net), (net.in_channels, side, side)).low

    return measured
