"""Warm Ray actors in a wait loop: several workers, GPUs and their shares, whole clusters."""

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
    """Runs jobs on actors that live for the whole run, one for each of `workers`.

    A trial over its `timeout` has its worker killed. A worker that dies is replaced and its job
    tried again. A Ray that the caller has initialised is used and left running.
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
        quiet_ray()
        from scalesearch.executors._cluster import cluster
        from scalesearch.executors._crew import Crew

        # Twice, as Ray installs a SIGTERM handler of its own when it starts.
        with on_interrupt(interrupt):
            if desk.done:  # a study that goes on after its end needs no cluster
                return
            with cluster(self), on_interrupt(interrupt), Crew(self, assess) as crew:
                crew.work(desk)
