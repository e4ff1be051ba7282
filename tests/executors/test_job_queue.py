from __future__ import annotations

from collections.abc import Iterable

from scalesearch.arch.published import published
from scalesearch.executors._job_queue import JobQueue, Place, QueuedJob, Try
from scalesearch.history.jobs import Attempt, Failure, Job, Outcome, Whereabouts

NET = published("efficientnet_b0")
DIED = Failure("died", "the worker died")


def queue_of(
    asked: Iterable[int | None], retries: int = 1
) -> tuple[JobQueue, list[tuple[int, Outcome]]]:
    """A queue of jobs with these numbers, and the outcomes that it reports."""
    numbers, outcomes = iter(asked), []

    def ask() -> Job | None:
        number = next(numbers)
        return None if number is None else Job("search", number, NET, seed=0)

    def tell(job: Job, outcome: Outcome) -> None:
        outcomes.append((job.number, outcome))

    return JobQueue(ask, lambda *_: True, tell, retries), outcomes


def test_asks_once_for_a_job_and_not_again_before_an_outcome():
    queue, outcomes = queue_of([0, None, 1, None])  # a fifth ask would raise StopIteration
    assert queue.ready()
    assert queue.ready()
    first = queue.take()
    assert not queue.ready()
    assert not queue.ready()
    assert not queue.done, "a job is in flight"
    queue.finish(first, DIED)
    assert queue.ready()
    queue.finish(queue.take(), DIED)
    assert queue.done
    assert [number for number, _ in outcomes] == [0, 1]


def failed(node: str, kind: str = "machine") -> Try:
    where = Whereabouts(node=f"host-{node}")
    return Try(place(node), Failure(kind, f"on {node}", where))


def place(word: str) -> Place:
    """`a` is a node, `a7` its GPU number 7."""
    return Place(word[:1], word[1:])


def places(words: str) -> list[Place]:
    return [place(word) for word in words.split()]


def taken(queue: JobQueue, here: str = "", others: str = "") -> QueuedJob:
    at = (place(here), places(others)) if here else ()
    assert queue.ready(*at)
    return queue.take(*at)


def test_a_job_that_fails_on_two_workers_is_the_network_s_failure():
    queue, outcomes = queue_of([0, 1])
    assert queue.put_back(taken(queue), failed("a"))
    assert outcomes == []
    again = taken(queue)
    assert again.job.number == 0, "before new ones"
    assert not queue.put_back(again, failed("a"))
    ((number, failure),) = outcomes
    assert (number, failure) == (0, Failure("machine", "on a (attempt 2)"))
    assert failure.where.attempts == (Attempt("host-a", "machine: on a"),)
    assert taken(queue).job.number == 1


def test_where_there_is_another_node_it_must_fail_there_too():
    queue, outcomes = queue_of([0, 1, 2])
    nodes = places("a b")
    assert queue.put_back(taken(queue), failed("a"), nodes)
    assert taken(queue, "a", "b").job.number == 1, "the first one has failed on this node"
    assert queue.failed_nodes == {"a"}
    waiting = taken(queue)
    assert queue.put_back(waiting, failed("a"), nodes), "the same node tells nothing new"
    assert not queue.put_back(taken(queue, "b", "a"), failed("b"), nodes)
    assert [number for number, _ in outcomes] == [0]


def test_a_node_that_goes_away_is_no_failure_of_the_network():
    queue, outcomes = queue_of([0])
    for turn in range(12):
        assert queue.put_back(taken(queue), failed(f"node {turn}", "lost"))
    assert outcomes == []
    queue.finish(taken(queue), Failure("error", "its own"))
    assert len(outcomes[0][1].where.attempts) == 12


def test_a_worker_that_dies_before_its_node_is_known_to_be_gone_blames_no_network():
    queue, outcomes = queue_of([0])
    known = "ab"
    for turn in range(12):  # at each failure its node still counts as one, those before do not
        known = f"{known[-1]}{chr(ord('c') + turn)}"
        assert queue.put_back(taken(queue), failed(known[0], "died"), places(" ".join(known)))
    assert outcomes == []
    assert not queue.put_back(taken(queue), failed(known[1], "died"), places(" ".join(known)))


def test_a_job_that_has_failed_everywhere_is_taken_where_it_is_asked_for():
    queue, _ = queue_of([0, None, None, None], retries=2)
    assert queue.put_back(taken(queue), failed("a"), places("a b"))
    assert not queue.ready(place("a"), places("b")), "it is left to the other one"
    assert queue.put_back(taken(queue, "b", "a"), failed("b"), places("a b"))
    assert queue.ready(place("a"), places("b")), "nobody else is left"
    assert queue.ready(place("b"), places("a"))
    assert not queue.ready(place("b"), places("a c")), "a third one may take it"


def test_a_gpu_may_be_to_blame_and_not_the_others_beside_it():
    queue, outcomes = queue_of([0, 1, None])
    every = places("a6 a7 a")
    assert queue.put_back(taken(queue), failed("a7", "device"), every)
    assert taken(queue, "a7", "a6").job.number == 1
    assert queue.put_back(taken(queue), failed("a7", "device"), every), "the same GPU again"
    again = taken(queue, "a6", "a7")
    assert again.job.number == 0
    assert not queue.put_back(again, failed("a6", "device"), every)
    assert [number for number, _ in outcomes] == [0]


def test_the_only_gpu_of_a_machine_is_tried_twice():
    queue, _ = queue_of([0])
    assert queue.put_back(taken(queue), failed("a7", "device"), places("a"))
    assert not queue.put_back(taken(queue), failed("a7", "device"), places("a"))


def test_more_workers_may_be_asked_for():
    for retries in (0, 1, 3):
        queue, outcomes = queue_of([0], retries)
        for _ in range(retries):
            assert queue.put_back(taken(queue), failed("a"))
        assert not queue.put_back(taken(queue), failed("a"))
        assert len(outcomes) == 1
