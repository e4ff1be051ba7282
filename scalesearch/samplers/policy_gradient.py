"""A policy learned by reinforcement, as MnasNet's (Tan et al. 2019), without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt
from optuna.samplers import BaseSampler

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.errors import UserError
from scalesearch.interfaces import Space
from scalesearch.samplers._history import History
from scalesearch.samplers._whole_space import FromHistory

_TRIES = 64
_FEWEST = 3  # results, without which there is no deviation to measure advantages by
_LEAST = 1e-300


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws each choice by a probability of its own, which good results raise.

    REINFORCE (Williams 1992) over independent choices, replayed from all results each time: the
    logits of a network's choices move by its advantage over a moving average, and by the gradient
    of the policy's entropy. Draws over a limit on counted costs, or of a known network, are drawn
    again. One objective only, such as a reward.

    Attributes:
        startup: networks that are drawn uniformly before; more until three have a result.
        learning_rate: of the logits, by advantage in standard deviations.
        decay: of the moving average of values.
        entropy: weight of the entropy, which keeps the policy from settling too early.
    """

    startup: Annotated[int, Ge(1)] = 10
    learning_rate: Annotated[float, Gt(0)] = 0.3
    decay: Annotated[float, Ge(0), Lt(1)] = 0.9
    entropy: Annotated[float, Ge(0)] = 0.01

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial, or for a whole study of Optuna's own."""
        return FromHistory(space, seed, limits, workload, self._drawn)

    def _drawn(self, history: History, random: np.random.Generator) -> np.ndarray:
        if history.values.shape[1] > 1:
            raise UserError(
                "the sampler 'policy_gradient' learns from one objective",
                key="search.sampler",
                allowed="a metric, or a reward such as {reward: accuracy, flops: 400M}",
                hint="`predictor`, `nsga2` and `evolution` find fronts",
            )
        if len(history.known) < self.startup or len(history.rows) < _FEWEST:
            return history.fresh(random)
        policy = self._policy(history)
        names = [*history.space.parameters]
        choices = [*history.space.parameters.values()]
        for _ in range(_TRIES):
            drawn = {
                name: c[int(random.choice(len(c), p=p))]
                for name, c, p in zip(names, choices, policy, strict=True)
            }
            row = np.array([history.space.locate(history.space.nearest(drawn))], np.intp)
            if len(history.unknown(history.candidates.within(row))):
                return row[0]
        return history.fresh(random)

    def _policy(self, history: History) -> list[np.ndarray]:
        """The probability of each choice of each parameter."""
        values = history.values[:, 0]
        scaled = (values - np.median(values)) / (values.std() or 1.0)
        chosen = history.space.chosen(history.rows)
        sizes = [len(c) for c in history.space.parameters.values()]
        logits = [np.zeros(size) for size in sizes]
        average = float(scaled[0])
        for choice, value in zip(chosen, scaled, strict=True):
            advantage = float(np.clip(value - average, -3, 3))
            average = self.decay * average + (1 - self.decay) * float(value)
            for own, position in zip(logits, choice, strict=True):
                p = _softmax(own)
                surprise = np.log(np.maximum(p, _LEAST))
                own += self.learning_rate * (
                    advantage * (np.eye(len(p))[position] - p)
                    - self.entropy * p * (surprise - p @ surprise)
                )
        return [_softmax(own) for own in logits]


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    share: np.ndarray = weights / weights.sum()
    return share
