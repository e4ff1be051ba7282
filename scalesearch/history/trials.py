"""A trial, and its plain form in the record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scalesearch.cost.cost import COUNTED, UNITS, Cost
from scalesearch.cost.limits import measured, worst
from scalesearch.history.jobs import NOWHERE, Attempt, Whereabouts

PHASES = ("search", "confirm", "compare", "grid", "grid_confirm", "family", "test")
# `reused` has the result of an equal architecture; `infeasible` is over its limits, by arithmetic
# or as its worker measured, and was never trained; `stopped` was ended early by a stopping rule.
STATES = ("running", "assessed", "reused", "infeasible", "stopped", "failed")
# Words of records that were written before 0.2, and what they are called now.
_RENAMED = {"refused": "infeasible", "excess": "violations"}


# The columns of `trials.csv` beside scores and parameters.
FATE = ("phase", "number", "state", "reason", "digest", "reused_from", "weights_of")
OBJECTIVES = ("objective", "objective_2")
COSTS = (*UNITS, "predicted_latency", "violation")
# They differ when the same study is run again, and stand last.
PLACES = ("node", "device", "images_per_second", "peak_memory", "micro_batch")
TIMES = (*PLACES, "attempts", "seconds", "finished")
RESERVED = (*FATE, *OBJECTIVES, *COSTS, *TIMES, "looked_up")

IMPORTED = "imported from "  # begins the reason of a trial that was

# What an outcome has beside a trial's own fields: a seal, and the steps of its curve, as the record
# also keeps scores of attempts that were cut off. Early records of 0.2 have the last step alone.
SEALING = ("seal", "steps", "last_step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One architecture, from its proposal to its outcome.

    Attributes:
        number: within its phase, from 0, in the order of proposals.
        state: one of `STATES`.
        parameters: in the phase's space.
        digest: identity of the architecture.
        cost: in closed form; equal to the measured counts if the trial was assessed. Latency is
            what the worker measured before training, known of assessed and infeasible trials.
        predicted_latency: seconds by the study's latency table, if it has one.
        violations: over each bound, as a share of it; above 0 is outside.
        scores: the evaluator's last metrics.
        objective: the values that the sampler optimises.
        reason: why it was infeasible or failed.
        source: number of the trial whose result was reused.
        weights_of: of the phase `test`, the trial whose weights it scores: `family 3`.
        curve: the objective's metric after each step.
        seconds: on the worker.
        where: it ran, and what it took there.
        finished: date and time, ISO 8601 in UTC.
    """

    number: int
    state: str
    parameters: Mapping[str, Any]
    digest: str
    cost: Cost
    predicted_latency: float | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    objective: tuple[float, ...] = ()
    reason: str = ""
    source: int | None = None
    weights_of: str = ""
    curve: Mapping[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    where: Whereabouts = NOWHERE
    finished: str = ""

    @property
    def has_result(self) -> bool:
        """Whether it has scores that count: its own or an equal architecture's."""
        return self.state in ("assessed", "reused")

    @property
    def is_imported(self) -> bool:
        """Whether its result came from a table of known ones, and not from this study."""
        return self.state == "assessed" and self.reason.startswith(IMPORTED)

    @property
    def was_job(self) -> bool:
        """Whether a worker had it: it was neither infeasible by arithmetic, reused nor imported."""
        if self.is_imported:
            return False
        infeasible = self.state == "infeasible" and self.cost.latency is None
        return self.source is None and not infeasible

    @property
    def measured_violations(self) -> dict[str, float]:
        """The violations that only a worker's measurement gives."""
        return measured(self.violations)

    def proposed(self) -> dict[str, Any]:
        """What is known when it is proposed, flat, so that dashboards can plot it."""
        known: dict[str, Any] = dict(self.cost.known())
        known.pop("latency", None)  # it belongs to the outcome
        if self.predicted_latency is not None:
            known["predicted_latency"] = self.predicted_latency
        if self.weights_of:
            known["weights_of"] = self.weights_of
        return {"digest": self.digest, **known, "violation": worst(self.violations)}

    def outcome(self) -> dict[str, Any]:
        """What is known when it is finished."""
        keys = ("state", "scores", "objective", "reason", "source", "seconds", "finished")
        plain = {key: getattr(self, key) for key in keys}
        plain |= {"scores": dict(self.scores), "objective": list(self.objective)}
        if self.cost.latency is not None:
            plain |= {"latency": self.cost.latency}
        if self.measured_violations:
            plain |= {"violations": self.measured_violations}
        if where := _plain_where(self.where):
            plain |= {"where": where}
        return plain

    @property
    def cause(self) -> str:
        """The kind of its failure, such as `memory`; empty if it did not fail."""
        return self.reason.partition(":")[0] if self.state == "failed" else ""


def from_record(
    number: int,
    parameters: Mapping[str, Any],
    attributes: Mapping[str, Any],
    violations: Mapping[str, float],
    curve: Mapping[int, float],
) -> Trial:
    """The trial that wrote `proposed` and, if it is finished, `outcome`."""
    written = attributes.get("outcome") or {"state": "running"}
    outcome: dict[str, Any] = {
        _RENAMED.get(key, key): value for key, value in written.items() if key not in SEALING
    }
    outcome["state"] = _RENAMED.get(outcome["state"], outcome["state"])
    outcome["objective"] = tuple(outcome.get("objective", ()))
    steps = written.get("steps", curve)
    cost = Cost.of_columns({key: attributes[key] for key in COUNTED if key in attributes})
    cost = replace(cost, latency=outcome.pop("latency", None))
    where = outcome.pop("where", {})
    attempts = tuple(Attempt(**each) for each in where.get("attempts", ()))
    return Trial(
        number=number,
        parameters=dict(parameters),
        digest=attributes["digest"],
        cost=cost,
        predicted_latency=attributes.get("predicted_latency"),
        weights_of=attributes.get("weights_of", ""),
        violations={**violations, **outcome.pop("violations", {})},
        curve={step: curve[step] for step in steps},
        where=Whereabouts(**{**where, "attempts": attempts}),
        **outcome,
    )


def _plain_where(where: Whereabouts) -> dict[str, Any]:
    """What is known of where a trial ran."""
    known = {key: value for key, value in asdict(where).items() if value}
    if where.attempts:
        known["attempts"] = [asdict(each) for each in where.attempts]
    return known


def seal(*parts: Any) -> str:
    """A short sum over plain values, by which a change of any of them is seen."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def overall(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores without those of single classes, of which there may be hundreds."""
    return {name: value for name, value in scores.items() if not is_of_class(name, scores)}


def is_of_class(name: str, names: Container[str]) -> bool:
    """Whether a score is of one class, such as `ap/NAME` beside `ap`; `val/acc` is none alone."""
    kind, slash, _ = name.partition("/")
    return bool(slash) and kind in names
