"""The runs in a Pipeliner's charge, driven by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from headrace import Job, Pipeline
from headrace.daemons.charges import BURDEN, PORTION, Charges
from headrace.daemons.pipeliner import portions
from headrace.daemons.protocol import Conclude, Drop, Enqueue, Halt, News, Take, Welcome
from headrace.pipeline.compile import definition_of
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Failure,
    Finished,
    Paused,
    Reopened,
    Returned,
    Signs,
    pack_fact,
)
from headrace.pipeline.progress import Progress
from headrace.pipeline.task import Ready


def definition(*names: str, **options: Any) -> bytes:
    """A chain."""
    jobs = [Job(name) for name in names]
    edges: Any = dict(pairwise(jobs)) or {jobs[0]: None}
    return definition_of(Pipeline(edges, **options))


def facts(first: int, *some: Any) -> list[tuple[int, msgspec.Raw]]:
    return [(first + offset, msgspec.Raw(pack_fact(fact))) for offset, fact in enumerate(some)]


ACCEPTED = Accepted("r", 0.0, RunOptions())


def take(number: int = 1, packed: bytes | None = None, *some: Any, window: int = 2000) -> Take:
    return Take(
        "r", number, 0, definition("A", "B") if packed is None else packed, facts(1, ACCEPTED, *some), 1, window=window
    )


def returned(job: str, kind: Any = "success", **fields: Any) -> Returned:
    return Returned(job, (), 1, kind, **fields)


def test_a_run_goes_from_its_take_to_its_verdict() -> None:
    charges = Charges()
    charges.handle(take())
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue)
    assert [one.job for one in enqueue.ready] == ["A"] and (enqueue.take, enqueue.seen) == (1, 1)
    charges.handle(News("r", 1, 0, facts(2, returned("A"))))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and [one.job for one in enqueue.ready] == ["B"] and enqueue.seen == 2
    charges.handle(News("r", 1, 0, facts(3, returned("B"))))
    assert charges.flush() == [Conclude("r", 1, 3, "success", None, True)]
    charges.repeat()
    assert charges.flush() == [Conclude("r", 1, 3, "success", None, True)]
    charges.handle(Drop("r", 1))
    charges.validate()
    assert not len(charges)


def test_a_new_take_hands_out_again_what_has_not_ended() -> None:
    charges = Charges()
    charges.handle(take())
    charges.flush()
    charges.handle(Take("r", 2, 0, None, facts(2, returned("A")), 1))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and (enqueue.take, [one.job for one in enqueue.ready]) == (2, ["B"])
    charges.handle(Take("r", 3, 0, None, [], 1))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and [one.job for one in enqueue.ready] == ["B"]
    charges.validate()


def test_what_comes_under_an_older_take_is_not_heard() -> None:
    charges = Charges()
    charges.handle(take(5))
    charges.flush()
    charges.handle(News("r", 4, 0, facts(2, returned("A"))))
    charges.handle(take(4))
    charges.handle(Drop("r", 4))
    assert charges.flush() == [] and charges.holding() == (("r", 5, 1),)


def test_no_more_than_the_window_is_handed_out() -> None:
    charges = Charges()
    jobs = [Job("W", name=f"n{index}") for index in range(10)]
    charges.handle(take(1, definition_of(Pipeline(dict.fromkeys(jobs))), window=4))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and len(enqueue.ready) == 4
    charges.handle(News("r", 1, 0, facts(2, returned("n0"), returned("n1"))))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and len(enqueue.ready) == 2
    charges.validate()


def test_nothing_is_decided_before_the_last_page_of_a_take() -> None:
    charges = Charges()
    charges.handle(Take("r", 1, 0, definition("A", "B"), facts(1, ACCEPTED), 1, more=True))
    assert charges.flush() == []
    charges.handle(News("r", 1, 0, facts(2, returned("A"))))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and [one.job for one in enqueue.ready] == ["B"]


def test_a_cancel_halts_what_was_handed_out_and_ends_cancelled() -> None:
    charges = Charges()
    charges.handle(take())
    charges.flush()
    charges.handle(News("r", 1, 1, facts(2, Cancelled(0.0, 1, "enough"))))
    halt, *_ = charges.flush()
    assert halt == Halt("r", 1, 2, [("A", ())])
    charges.handle(News("r", 1, 1, facts(3, returned("A", "cancelled"))))
    (conclude,) = charges.flush()
    assert isinstance(conclude, Conclude) and conclude.verdict == "cancelled"
    assert conclude.error is not None and conclude.error.reason == "enough"


def test_a_failure_ends_the_run_with_job_and_reason() -> None:
    charges = Charges()
    charges.handle(take())
    charges.flush()
    charges.handle(News("r", 1, 0, facts(2, returned("A", "failed", error=Failure("ValueError", "boom", "Traceback")))))
    (conclude,) = charges.flush()
    assert isinstance(conclude, Conclude) and conclude.error is not None
    assert (conclude.verdict, conclude.error.job, conclude.error.traceback) == ("failed", "A", "Traceback")
    assert "boom" in conclude.error.reason


def test_a_run_that_cannot_be_read_fails_alone() -> None:
    charges = Charges()
    charges.handle(Take("bad", 1, 0, b"\xc1 rubbish", [], 1))
    charges.handle(take(2))
    said = {message.run: message for message in charges.flush() if isinstance(message, Enqueue | Conclude)}
    assert isinstance(said["r"], Enqueue)
    bad = said["bad"]
    assert isinstance(bad, Conclude) and bad.verdict == "failed"
    assert bad.error is not None and "cannot be tracked" in bad.error.reason
    charges.validate()


def test_a_run_that_comes_without_its_definition_fails() -> None:
    charges = Charges()
    charges.handle(Take("r", 1, 0, None, facts(1, ACCEPTED), 1))
    (conclude,) = charges.flush()
    assert isinstance(conclude, Conclude) and (conclude.verdict, conclude.seen) == ("failed", 1)
    assert conclude.error is not None and "without its definition" in conclude.error.reason


def test_a_judgement_that_fails_is_the_end_of_that_run_only(monkeypatch: pytest.MonkeyPatch) -> None:
    charges = Charges()
    charges.handle(take())

    def fail(progress: Progress) -> None:
        raise LookupError("no such branch")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "halts", fail)
        assert charges.flush() == []
    charges.repeat()
    (conclude,) = charges.flush()
    assert isinstance(conclude, Conclude) and conclude.error is not None
    assert conclude.error.reason == "the pipeline cannot be tracked: LookupError: no such branch"
    assert charges.holding() == (("r", 1, 0),)
    charges.validate()


def test_facts_of_a_broken_run_are_counted_so_that_its_verdict_is_taken() -> None:
    charges = Charges()
    charges.handle(Take("r", 1, 0, b"\xc1 rubbish", facts(1, ACCEPTED), 1))
    charges.handle(News("r", 1, 0, facts(2, returned("A"))))
    (conclude,) = charges.flush()
    assert isinstance(conclude, Conclude) and conclude.seen == 2


def test_the_end_of_a_round_is_seen_and_judged_by_nobody() -> None:
    charges = Charges()
    charges.handle(take(1, None, returned("A", "failed"), Finished(0.0, "failed"), Reopened(0.0, 1, 1)))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and enqueue.seen == 4
    assert [(one.job, one.round) for one in enqueue.ready] == [("A", 1)]


def test_a_run_whose_window_is_full_waits_for_room() -> None:
    charges = Charges()
    jobs = [Job("W", name=f"n{index}") for index in range(4)]
    charges.handle(take(1, definition_of(Pipeline(dict.fromkeys(jobs))), window=2))
    charges.flush()
    charges.handle(News("r", 1, 0, facts(2, Paused(0.0, 0, True))))
    assert charges.touched == 1 and charges.flush() == [] and charges.touched == 0


def test_work_under_way_is_not_handed_out_again_with_every_heartbeat() -> None:
    charges = Charges()
    charges.handle(take())
    charges.flush()
    charges.repeat()
    assert charges.flush() == []


def test_a_run_under_no_take_hears_only_of_its_next_one() -> None:
    charges = Charges()
    charges.handle(take())
    charges.flush()
    charges.await_takes()
    charges.handle(News("r", 1, 0, facts(2, returned("A"))))
    assert charges.flush() == [] and charges.holding() == (("r", 0, 1),)
    charges.handle(Take("r", 7, 0, None, facts(2, returned("A")), 1))
    (enqueue,) = charges.flush()
    assert isinstance(enqueue, Enqueue) and [one.job for one in enqueue.ready] == ["B"]


def test_messages_that_are_about_no_run_of_ours_change_nothing() -> None:
    charges = Charges()
    for message in (Welcome(), Drop("gone", 0), News("gone", 1, 0, [])):
        charges.handle(message)
    assert charges.flush() == [] and not len(charges)


def test_what_was_dropped_before_it_was_judged_is_not_judged() -> None:
    charges = Charges()
    charges.handle(take())
    charges.handle(Drop("r", 0))
    assert charges.flush() == [] and not len(charges)


def test_a_fact_that_cannot_be_is_the_end_of_that_run_only() -> None:
    charges = Charges()
    charges.handle(take())
    charges.flush()
    charges.handle(News("r", 1, 0, facts(2, returned("NoSuchJob"))))
    (conclude,) = charges.flush()
    assert isinstance(conclude, Conclude) and conclude.verdict == "failed" and conclude.seen == 2


def test_heavy_attempts_go_out_in_portions_and_not_all_at_once() -> None:
    """Below a spread the data of one job goes out with every branch."""
    heavy = Job("heavy", {"text": "x" * 200_000}, bind="item")
    packed = definition_of(Pipeline({Job("A", spread=True): heavy}))
    charges = Charges()
    charges.handle(take(1, packed))
    charges.flush()
    charges.handle(News("r", 1, 0, facts(2, returned("A", signs=Signs(spread=2000)))))
    waiting = {one.path for one in enqueued(charges)}
    assert 0 < len(waiting) * 200_000 < 2 * BURDEN
    assert not enqueued(charges), "nothing has ended"
    ended, sequence = 0, 3
    while waiting:
        news = [Returned("heavy", path, 1, "success") for path in sorted(waiting)]
        charges.handle(News("r", 1, 0, facts(sequence, *news)))
        ended, sequence = ended + len(news), sequence + len(news)
        waiting = {one.path for one in enqueued(charges)}
        charges.validate()
    assert ended == 2000


def enqueued(charges: Charges) -> list[Ready]:
    ready: list[Ready] = []
    for message in charges.flush():
        if isinstance(message, Enqueue):
            assert sum(len(one.task) for one in message.ready) < PORTION + 300_000
            ready += message.ready
    return ready


def test_one_attempt_that_is_heavier_than_a_portion_goes_out_by_itself() -> None:
    jobs = [Job(f"heavy{number}", {"text": "x" * (5 << 20)}) for number in range(3)]
    charges = Charges()
    charges.handle(take(1, definition_of(Pipeline(dict.fromkeys(jobs)))))
    said = charges.flush()
    assert [len(message.ready) for message in said if isinstance(message, Enqueue)] == [1, 1, 1]
    assert [len(some) for some in portions(said)] == [1, 1, 1]


def test_light_messages_share_an_envelope() -> None:
    said: list[Any] = [Conclude("r", 1, 1, "success")] * 1000
    assert list(portions(said)) == [said]
    assert list(portions([])) == []
