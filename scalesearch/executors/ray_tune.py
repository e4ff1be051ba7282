"""The contract of `ray`, kept through Ray Tune, for those who live with its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scalesearch.executors._desk import Desk
from scalesearch.executors._interrupts import interrupt, on_interrupt
from scalesearch.executors._options import Options
from scalesearch.executors._quiet import quiet_ray
from scalesearch.history.jobs import Job, Outcome, Score
from scalesearch.interfaces import Assess


@dataclass(frozen=True, kw_only=True)
class Executor(Options):
    """Runs each job as a trial of Ray Tune whose actors are used again for the next trial.

    Tune writes nothing that stays: the record of the study is the only truth, and Tune's own way
    of going on after a kill repeats finished trials. Callbacks named in the environment variable
    RAY_TUNE_CALLBACKS see every score. A trial over its `timeout` ends its own worker process.
    After a stopped job, an error of its cleaning up goes to the worker's log only, as Tune tells
    a worker no more of a trial once it is stopped.
    """

    def run(
        self,
        ask: Callable[[], Job | None],
        assess: Assess,
        keep: Callable[[Job, Score], bool],
        tell: Callable[[Job, Outcome], None],
    ) -> None:
        """Keeps the contract of `interfaces.Executor`."""
        desk = Desk(ask, keep, tell, self.retries)
        with on_interrupt(interrupt):
            if desk.done:  # a study that goes on after its end needs no cluster
                return
            quiet_ray()
            from scalesearch.executors._cluster import cluster
            from scalesearch.executors._tune import fit

            with cluster(self):
                fit(self, desk, assess)
