"""A pipeline as users build it, and its life as any cluster could lead it: whatever is done, and in whatever order.

First jobs are added and tied to each other; then the run begins, and attempts are handed out and return in any order,
well or badly or not at all; the run is cancelled, handed over, taken up again. After every step the
machine is asked whether it is in order, and whether a replay of its facts says the same as it does.
"""

from __future__ import annotations

from driving import Drive, bad, ok
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace import Job, Pipeline, Retry
from headrace.pipeline.definition import unpack_definition
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.facts import Accepted, Finished, Returned
from headrace.pipeline.task import Ready

WHEN = st.sampled_from(["success"] * 4 + ["failure", "always"])
ON_ERROR = st.sampled_from([None, None, "fail", "block", "continue"])
ENDS = st.sampled_from(["success"] * 5 + ["failed", "failed", "died", "lost", "timeout"])
MOST = 7
"""Jobs of a pipeline: orders are many even so."""


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []
        self.edges: list[tuple[int, int]] = []
        self.drive: Drive | None = None
        self.over = False
        self.successes: dict[tuple[str, int], int] = {}
        """(job, round): how often it was committed."""

    # Building -------------------------------------------------------------------------------------------------------

    def made(self, edges: list[tuple[int, int]] | None = None) -> Pipeline:
        tied = [(self.jobs[one], self.jobs[other]) for one, other in (self.edges if edges is None else edges)]
        alone = [(job, None) for job in self.jobs]
        return Pipeline([*tied, *alone])

    def building(self) -> bool:
        return self.drive is None

    @precondition(lambda self: self.building() and len(self.jobs) < MOST)
    @rule(when=WHEN, on_error=ON_ERROR, tries=st.integers(1, 3))
    def add(self, when: str, on_error: str | None, tries: int) -> None:
        retry = Retry(tries) if tries > 1 else None
        self.jobs.append(Job("work", name=f"job{len(self.jobs)}", when=when, on_error=on_error, retry=retry))

    @precondition(lambda self: self.building() and len(self.jobs) > 1)
    @rule(data=st.data())
    def tie(self, data: st.DataObject) -> None:
        later = data.draw(st.integers(1, len(self.jobs) - 1))
        earlier = data.draw(st.integers(0, later - 1))
        self.edges.append((earlier, later))

    @precondition(lambda self: self.building() and self.edges)
    @rule(data=st.data())
    def a_circle_is_refused(self, data: st.DataObject) -> None:
        earlier, later = data.draw(st.sampled_from(self.edges))
        try:
            self.made([*self.edges, (later, earlier)])
        except DefinitionError as error:
            assert "job" in str(error)
        else:
            raise AssertionError("a circle was taken")

    @precondition(lambda self: self.building() and self.jobs)
    @rule()
    def it_travels_whole(self) -> None:
        pipeline = self.made()
        assert Pipeline.from_dict(pipeline.to_dict()) == pipeline

    @precondition(lambda self: self.building() and self.jobs)
    @rule()
    def start(self) -> None:
        self.drive = Drive(unpack_definition(self.made().definition()))

    # Living ---------------------------------------------------------------------------------------------------------

    def living(self) -> bool:
        return self.drive is not None and not self.over

    @precondition(living)
    @rule(limit=st.sampled_from([None, 1, 2]))
    def hand_out(self, limit: int | None) -> None:
        assert self.drive is not None
        for ready in self.drive.pull(limit):
            self.check_parents(ready)

    @precondition(lambda self: self.living() and self.drive.live)
    @rule(data=st.data(), end=ENDS)
    def one_returns(self, data: st.DataObject, end: str) -> None:
        assert self.drive is not None
        place = data.draw(st.sampled_from(sorted(self.drive.live)))
        ready = self.drive.live.pop(place)
        if end == "success":
            count = self.successes[ready.job, ready.round] = self.successes.get((ready.job, ready.round), 0) + 1
            assert count == 1, f"{ready.job} has succeeded {count} times in round {ready.round}"
        self.drive.record(ok(ready) if end == "success" else bad(ready, end))
        self.drive.halt()

    @precondition(living)
    @rule()
    def conclude(self) -> None:
        assert self.drive is not None
        self.over = self.drive.conclude()

    @precondition(lambda self: self.living() and self.drive.progress.state not in ("cancelling", "cancelled"))
    @rule()
    def cancel(self) -> None:
        assert self.drive is not None
        self.drive.cancel()
        self.drive.halt()

    @precondition(living)
    @rule()
    def a_pipeliner_takes_over(self) -> None:
        """What was handed out is live still; it hands out what is left."""
        assert self.drive is not None
        self.drive.progress.rewind()

    @precondition(lambda self: self.drive is not None)
    @rule(data=st.data())
    def a_fact_comes_twice(self, data: st.DataObject) -> None:
        assert self.drive is not None
        self.drive.progress.apply(*data.draw(st.sampled_from(self.drive.facts)))

    @precondition(lambda self: self.over and self.drive.verdict != "success" and self.drive.progress.round < 2)
    @rule()
    def reopen(self) -> None:
        assert self.drive is not None
        self.drive.reopen()
        self.over = False

    # What holds -----------------------------------------------------------------------------------------------------

    def check_parents(self, ready: Ready) -> None:
        """All that it waits for have come to an end, and a job for successes saw no failure."""
        assert self.drive is not None
        states = self.drive.states
        at = int(ready.job.removeprefix("job"))
        for earlier, later in self.edges:
            if later == at:
                state = states[f"job{earlier}"]
                assert state not in ("waiting", "queued", "running"), (
                    f"{ready.job} starts before job{earlier} has ended"
                )
                assert self.jobs[at].when != "success" or state in ("success", "failed"), (ready.job, earlier, state)

    @invariant()
    def in_order(self) -> None:
        if self.drive is not None:
            self.drive.progress.validate()

    @invariant()
    def a_replay_says_the_same(self) -> None:
        if self.drive is None:
            return
        one, other = self.drive.replay(), self.drive.progress
        assert (one.states(), one.counts(), one.job_details()) == (other.states(), other.counts(), other.job_details())
        assert (one.state, one.error, one.round, one.last) == (other.state, other.error, other.round, other.last)

    @invariant()
    def the_end_is_told_once(self) -> None:
        if self.drive is None:
            return
        ends = [fact for _, fact in self.drive.facts if isinstance(fact, Finished)]
        assert len(ends) <= 1 + self.drive.progress.round
        assert isinstance(self.drive.facts[0][1], Accepted)

    def teardown(self) -> None:
        """Whatever was done, it comes to an end when attempts return."""
        if self.drive is not None and not self.over:
            self.drive.to_end(2000)
            verdict = self.drive.verdict
            assert verdict in ("success", "failed", "cancelled")
            returned = [fact for _, fact in self.drive.facts if isinstance(fact, Returned)]
            assert len({(fact.job, fact.path, fact.round, fact.attempt) for fact in returned}) == len(returned)


Life.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase
