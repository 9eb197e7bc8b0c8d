"""The journal keeps what was committed, finds it again, and tells where everything stands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.dispatch.restored import known_runs
from headrace.daemons.journal.archive import Archive
from headrace.daemons.journal.checkup import verify
from headrace.daemons.journal.journal import Journal
from headrace.daemons.journal.summaries import Tombstone
from headrace.daemons.journal.sweeping import SLICE
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.errors import JournalError, JournalLocked, NotFound
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Ended,
    Ending,
    Fact,
    Failure,
    Finished,
    Paused,
    Pruned,
    Registered,
    Released,
    Reopened,
    Returned,
    RunError,
    Unregistered,
    unpack_fact,
)
from headrace.pipeline.facts import (
    Path as Index,
)

RUN = "0" * 31 + "1"
OTHER = "0" * 31 + "2"


class Story:
    """Tells a journal facts, one commit each unless gathered."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def tell(self, *facts: tuple[str | None, Fact], **beside: bytes | None) -> int:
        first = self.journal.last + 1
        batch = [Record(first + at, run, fact, **beside) for at, (run, fact) in enumerate(facts)]  # type: ignore[arg-type]
        self.journal.commit(batch)
        return self.journal.last

    def accept(self, run: str = RUN, at: float = 10.0, active: bool = True, **options: object) -> int:
        accepted = Accepted(run, at, RunOptions(**options), active)  # type: ignore[arg-type]
        return self.tell((run, accepted), definition=b"definition of " + run.encode(), data=b"data")

    def end(
        self,
        job: str,
        path: Index = (),
        result: bytes = b"r",
        kind: Ended = "success",
        attempt: int = 1,
        round: int = 0,
    ) -> int:
        error = None if kind == "success" else Failure("ValueError", "no")
        fact = Returned(job, path, attempt, kind, 7, round, error=error)
        return self.tell((RUN, fact), result=result)

    def finish(self, run: str = RUN, verdict: str = "success", at: float = 20.0) -> int:
        error = RunError("A", (), "it broke") if verdict == "failed" else None
        return self.tell((run, Finished(at, verdict, error, 5.0)))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    journal = Journal.open(folder)
    yield journal
    journal.close()


@pytest.fixture
def story(journal: Journal) -> Story:
    return Story(journal)


def reopened(journal: Journal) -> Journal:
    journal.close()
    return Journal.open(journal.folder)


# Epochs and the lock


def test_every_opening_begins_a_new_epoch(folder: Path) -> None:
    epochs = []
    for _ in range(3):
        journal = Journal.open(folder)
        epochs.append((journal.epoch, journal.last))
        journal.close()
    assert epochs == [(1, 1), (2, 2), (3, 3)]


def test_the_epoch_before_is_known_with_its_boot_and_the_time_of_the_last_commit(folder: Path) -> None:
    first = Journal.open(folder, clock=lambda: 1000.0)
    assert first.previous is None and first.last_seen is None and not first.rebooted
    first.close()
    second = Journal.open(folder)
    assert second.previous is not None and second.previous.epoch == 1 and second.previous.boot == second.boot
    assert second.last_seen == 1000.0
    assert not second.rebooted
    second.close()


def test_a_second_router_on_the_folder_is_refused_and_told_the_pid_of_the_first(folder: Path) -> None:
    imports = "import sys; from headrace.daemons.journal.journal import Journal"
    holder = f"{imports}; print(Journal.open(sys.argv[1]).epoch); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "1\n"
        with pytest.raises(JournalLocked, match=f"process {process.pid}") as refused:
            Journal.open(folder)
        assert refused.value.pid == process.pid
        process.kill()
        process.wait()
    Journal.open(folder).close()


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="file/data"):
        Journal.open(tmp_path / "file" / "data")


def test_the_folder_is_for_its_owner_only(folder: Path, journal: Journal) -> None:
    assert os.stat(folder).st_mode & 0o077 == 0


# Runs


def test_an_open_run_stands_where_its_facts_left_it(journal: Journal, story: Story) -> None:
    number = story.accept(title="t", key="k", priority=3, active=False)
    story.tell((RUN, Released(11.0)))
    story.tell((RUN, Paused(12.0, 1, True)))
    last = story.end("A")
    again = reopened(journal)
    (standing,) = again.open_runs()
    assert standing.id == RUN and standing.number == number and standing.last == last
    assert standing.options == RunOptions(title="t", key="k", priority=3)
    assert (standing.accepted_at, standing.started_at) == (10.0, 11.0)
    assert standing.active and standing.paused and standing.control == 1 and standing.round == 0
    assert standing.cancelled is None and standing.ending is None
    assert (standing.data, standing.data_size) == (b"data", 4)
    again.close()


def test_a_cancel_and_a_fixed_verdict_survive_a_restart(journal: Journal, story: Story) -> None:
    story.accept()
    story.tell((RUN, Cancelled(11.0, 4, "because")), (RUN, Ending(12.0, "cancelled", RunError(None, (), "because"))))
    again = reopened(journal)
    (standing,) = again.open_runs()
    assert standing.cancelled == "because" and standing.control == 4
    assert standing.ending == ("cancelled", RunError(None, (), "because"))
    assert again.archive.runs("cancelling")[0].run == RUN
    again.close()


def test_large_run_data_is_left_to_be_read_when_asked_for(journal: Journal, story: Story) -> None:
    large = b"x" * 100_000
    story.tell((RUN, Accepted(RUN, 1.0, RunOptions())), definition=b"d", data=large)
    again = reopened(journal)
    (standing,) = again.open_runs()
    assert (standing.data, standing.data_size) == (None, 100_000)
    assert again.archive.data(RUN) == large
    again.close()


def test_a_finished_run_is_not_open_and_can_be_read(journal: Journal, story: Story) -> None:
    story.accept(title="first")
    story.finish(verdict="failed")
    assert list(journal.open_runs()) == []
    run = journal.archive.run(RUN)
    assert run is not None
    assert (run.state, run.verdict, run.title, run.accepted, run.ended, run.duration) == (
        "failed", "failed", "first", 10.0, 20.0, 5.0,
    )  # fmt: skip
    assert run.error == RunError("A", (), "it broke")
    again = reopened(journal)
    assert list(again.open_runs()) == []
    again.close()


def test_a_run_that_is_taken_up_again_is_open_again(journal: Journal, story: Story) -> None:
    story.accept()
    story.end("A", kind="failed", result=b"")
    story.tell((RUN, Cancelled(11.0, 1, "stop")))
    story.finish(verdict="cancelled")
    last = story.tell((RUN, Reopened(30.0, 2, 1)))
    run = journal.archive.run(RUN)
    assert run is not None and run.state == "running" and run.verdict is None and run.error is None
    again = reopened(journal)
    (standing,) = again.open_runs()
    assert (standing.round, standing.control, standing.cancelled, standing.last) == (1, 2, None, last)
    again.close()


def test_what_happens_to_a_run_within_one_batch_counts_in_its_order(journal: Journal, story: Story) -> None:
    story.tell(
        (RUN, Accepted(RUN, 1.0, RunOptions(), active=False)),
        (RUN, Released(2.0)),
        (RUN, Ending(3.0, "failed")),
        (RUN, Finished(4.0, "failed")),
        (RUN, Reopened(5.0, 1, 1)),
        (RUN, Paused(6.0, 2, True)),
        (RUN, Paused(7.0, 3, False)),
        (RUN, Cancelled(8.0, 4, "enough")),
        definition=b"d",
    )
    run = journal.archive.run(RUN)
    assert run is not None
    assert (run.state, run.round, run.control, run.paused, run.ending) == ("cancelling", 1, 4, False, None)
    again = reopened(journal)
    (standing,) = again.open_runs()
    assert (standing.cancelled, standing.paused, standing.round, standing.active) == ("enough", False, 1, True)
    again.close()


def test_open_runs_come_in_the_order_of_their_acceptance(journal: Journal, story: Story) -> None:
    names = [f"{n:032x}" for n in (5, 3, 9, 1)]
    for name in names:
        story.accept(name, active=name != names[1])
    story.tell((names[2], Cancelled(1.0, 1, "x")))
    assert [standing.id for standing in journal.open_runs()] == names
    again = reopened(journal)
    assert [standing.id for standing in again.open_runs()] == names
    again.close()


def test_brokers_are_registered_until_they_leave(journal: Journal, story: Story) -> None:
    story.tell((None, Registered("b1", "host/1", 1.0)), (None, Registered("b2", "host/2", 1.0)))
    story.tell((None, Registered("b1", "host/3", 2.0)), (None, Unregistered("b2", 3.0, "gone")))
    assert journal.registered() == [("b1", "host/3")]
    again = reopened(journal)
    assert again.registered() == [("b1", "host/3")]
    again.close()


def test_brokers_drain_until_they_are_let_again_or_leave(journal: Journal, story: Story) -> None:
    for name in ("b1", "b2", "b3"):
        story.tell((None, Registered(name, "host/1", 1.0)), (None, Registered(name, "host/1", 2.0, draining=True)))
    story.tell((None, Registered("b2", "host/1", 3.0)), (None, Unregistered("b3", 3.0)))
    assert journal.draining() == {"b1"}
    again = reopened(journal)
    assert again.draining() == {"b1"} and [name for name, _ in again.registered()] == ["b1", "b2"]
    again.close()
    assert verify(again.folder).ok


def test_runs_are_listed_newest_first_by_state_and_in_pages(journal: Journal, story: Story) -> None:
    names = [f"{n:032x}" for n in range(6)]
    for name in names:
        story.accept(name)
    for name in names[:3]:
        story.finish(name)
    archive = journal.archive
    assert [run.run for run in archive.runs()] == names[::-1]
    assert [run.run for run in archive.runs("success")] == names[2::-1]
    first = archive.runs(limit=4)
    assert [run.run for run in archive.runs(limit=4, before=first[-1].number)] == names[1::-1]
    assert archive.totals() == {"success": 3, "running": 3}
    assert archive.runs("waiting") == []


def test_a_key_belongs_to_the_newest_run_that_has_it(journal: Journal, story: Story) -> None:
    story.accept(RUN, key="k")
    story.accept(OTHER, key="k")
    assert journal.archive.by_key("k") == OTHER
    assert journal.archive.holders(["k", "nobody's"]) == {"k": OTHER}


# Commits


def test_a_batch_that_does_not_go_on_where_the_last_one_ended_is_refused(journal: Journal) -> None:
    for sequence in (journal.last, journal.last + 2):
        with pytest.raises(JournalError, match=f"fact {sequence} "):
            journal.commit([Record(sequence, None, Unregistered("b", 1.0))])
    assert journal.last == 1


def test_a_batch_counts_as_a_whole_or_not_at_all(journal: Journal, story: Story) -> None:
    last = story.accept()
    batch = [
        Record(last + 1, RUN, Returned("A", (), 1, "success"), b"r"),
        Record(last + 2, OTHER, Returned("A", (), 1, "success"), b"r"),
    ]
    with pytest.raises(JournalError, match=OTHER):
        journal.commit(batch)
    assert journal.last == last and journal.archive.facts(RUN, last) == []
    assert story.end("A") == last + 1


def test_an_attempt_ends_once(journal: Journal, story: Story) -> None:
    story.accept()
    last = story.end("A", (1,))
    with pytest.raises(Exception, match="UNIQUE"):
        story.end("A", (1,), kind="lost")
    assert journal.last == last
    assert story.end("A", (1,), round=1) == story.journal.last


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 1000])
def test_batches_of_any_size_are_kept_whole(journal: Journal, story: Story, count: int) -> None:
    first = story.accept()
    story.tell(*[(RUN, Returned("A", (n,), 1, "success")) for n in range(count)], result=b"r")
    facts = journal.archive.facts(RUN, first)
    assert [sequence for sequence, _ in facts] == list(range(first + 1, first + 1 + count))
    assert [getattr(unpack_fact(body), "path", None) for _, body in facts] == [(n,) for n in range(count)]
    assert len(journal.archive.results(RUN, "A").entries) == count


def test_an_unsynced_journal_keeps_everything_over_the_end_of_its_process(folder: Path) -> None:
    journal = Journal.open(folder, durability="process")
    Story(journal).accept()
    journal.close()
    again = Journal.open(folder)
    assert [standing.id for standing in again.open_runs()] == [RUN]
    again.close()


def test_answers_to_requests_are_remembered_with_the_change(journal: Journal, story: Story) -> None:
    story.accept()
    paused = Record(journal.last + 1, RUN, Paused(1.0, 1, True), answer=("req", b"digest", b"done"))
    journal.commit([paused])
    assert journal.archive.answer("req") == (b"digest", b"done")
    assert journal.archive.answer("other") is None


def test_answers_are_forgotten_after_a_day(folder: Path) -> None:
    now = [1000.0]
    journal = Journal.open(folder, clock=lambda: now[0])
    story = Story(journal)
    story.accept()
    journal.commit([Record(journal.last + 1, RUN, Paused(1.0, 1, True), answer=("req", b"digest", b"done"))])
    assert not journal.sweep()
    now[0] += 24 * 3600 + 1
    assert journal.sweep() and not journal.sweep()
    assert journal.archive.answer("req") is None
    journal.close()


# Reading


def test_questions_about_any_number_of_runs_are_few_statements(journal: Journal, story: Story) -> None:
    story.accept()
    texts: set[int] = set()
    journal.archive.connection.set_trace_callback(lambda text: texts.add(text.count(",")))
    for count in range(1, 300):
        names = [RUN, *(f"{number:032}" for number in range(100, 99 + count))]
        assert [summary.run for summary in journal.archive.known(names)] == [RUN]
    assert len(texts) <= 9


def test_facts_of_a_run_are_read_in_order_from_any_point(journal: Journal, story: Story) -> None:
    first = story.accept()
    story.accept(OTHER)
    ends = [story.end("A", (n,)) for n in (3, 1, 2)]
    facts = journal.archive.facts(RUN)
    assert [sequence for sequence, _ in facts] == [first, *ends]
    assert unpack_fact(facts[0][1]) == Accepted(RUN, 10.0, RunOptions())
    assert [sequence for sequence, _ in journal.archive.facts(RUN, after=ends[0])] == ends[1:]
    assert [sequence for sequence, _ in journal.archive.facts(RUN, after=first, limit=2)] == ends[:2]


def test_all_facts_are_read_with_a_cursor(journal: Journal, story: Story) -> None:
    story.accept()
    story.tell((None, Registered("b", "p", 1.0)))
    facts = journal.archive.all_facts(limit=2)
    facts += journal.archive.all_facts(after=facts[-1][0])
    assert [(sequence, run) for sequence, run, _ in facts] == [(1, None), (2, RUN), (3, None)]


def test_definition_and_data_are_kept_beside_a_run(journal: Journal, story: Story) -> None:
    story.accept()
    assert journal.archive.definition(RUN) == b"definition of " + RUN.encode()
    assert journal.archive.data(RUN) == b"data"
    assert journal.archive.accepted(RUN) == Accepted(RUN, 10.0, RunOptions())
    for read in (journal.archive.definition, journal.archive.data, journal.archive.accepted):
        with pytest.raises(NotFound, match=OTHER):
            read(OTHER)


def test_a_result_is_the_success_or_the_last_attempt(journal: Journal, story: Story) -> None:
    story.accept()
    assert journal.archive.result(RUN, "A") is None
    story.end("A", kind="lost", result=b"")
    story.end("A", kind="failed", result=b"", attempt=2)
    failed = journal.archive.result(RUN, "A")
    assert failed is not None and (failed.kind, failed.value) == ("failed", None)
    assert failed.error == Failure("ValueError", "no")
    story.end("A", result=b"good", attempt=3)
    story.end("A", kind="lost", result=b"", attempt=4)
    good = journal.archive.result(RUN, "A")
    assert good is not None and (good.kind, good.value, good.ref, good.size) == ("success", b"good", None, 4)


def test_a_new_round_has_the_say_over_the_results_of_an_older_one(journal: Journal, story: Story) -> None:
    story.accept()
    story.end("A", result=b"old")
    story.end("A", kind="failed", result=b"", round=1)
    kept = journal.archive.result(RUN, "A")
    assert kept is not None and kept.kind == "failed"


def test_a_large_result_is_a_reference(journal: Journal, story: Story) -> None:
    story.accept()
    story.tell((RUN, Returned("A", (), 1, "success", size=10**6, ref="run/A/7")))
    kept = journal.archive.result(RUN, "A")
    assert kept is not None and (kept.kind, kept.value, kept.ref, kept.size) == ("success", None, "run/A/7", 10**6)


def test_results_come_in_index_order_whatever_the_order_of_their_ends(journal: Journal, story: Story) -> None:
    story.accept()
    paths: list[Index] = [(300,), (2, 1), (2,), (10, 0), (2, 300), (2, 2), (70000,), (0,), (255, 7)]
    for path in paths:
        story.end("A", path, repr(path).encode())
    story.end("B", (2, 9), b"not A's")
    entries = journal.archive.results(RUN, "A").entries
    assert [entry.path for entry in entries] == sorted(paths)
    assert [entry.value for entry in entries] == [repr(path).encode() for path in sorted(paths)]
    below = journal.archive.results(RUN, "A", below=(2,)).entries
    assert [entry.path for entry in below] == [(2,), (2, 1), (2, 2), (2, 300)]
    every = journal.archive.results(RUN, below=(2,)).entries
    assert [(entry.job, entry.path) for entry in every][-1] == ("B", (2, 9)) and len(every) == 5


@pytest.mark.parametrize("limit", [1, 350, 1000, 10**6])
def test_results_are_read_in_pages_that_miss_and_repeat_nothing(journal: Journal, story: Story, limit: int) -> None:
    story.accept()
    for n in range(12):
        story.end("A", (n,), kind="lost", result=b"")
        story.end("A", (n,), b"%d" % n * 50, attempt=2)
    values, after = [], 0
    while True:
        page = journal.archive.results(RUN, "A", after=after, limit_bytes=limit)
        assert page.entries
        values += [entry.value for entry in page.entries]
        if page.next is None:
            break
        after = page.next
    assert values == [b"%d" % n * 50 for n in range(12)]
    assert journal.archive.results(RUN, "A", after=12).entries == []


def test_ended_tells_which_attempts_nobody_waits_for(journal: Journal, story: Story) -> None:
    story.accept()
    story.end("A", (1,), kind="lost", result=b"")
    story.end("B", kind="failed", result=b"", attempt=2)
    story.end("C", attempt=3)
    story.end("D", round=1)
    asked = {
        ("A", (1,), 0, 1): True,
        ("A", (1,), 0, 2): False,
        ("A", (2,), 0, 1): False,
        ("B", (), 0, 1): True,
        ("B", (), 1, 1): False,
        ("C", (), 0, 9): True,
        ("D", (), 0, 5): True,
        ("E", (), 0, 1): False,
    }
    ended = journal.archive.ended(RUN, asked)
    assert ended == {place for place, expected in asked.items() if expected}
    assert journal.archive.ended(OTHER, asked) == set()


def test_the_archive_sees_what_was_committed_and_nothing_else(journal: Journal, story: Story) -> None:
    story.accept()
    connection = journal._connection
    connection.execute("BEGIN")
    connection.execute("UPDATE runs SET title = 'half done'")
    run = journal.archive.run(RUN)
    connection.execute("ROLLBACK")
    assert run is not None and run.title is None


def test_the_time_of_a_fact_is_that_of_its_commit(folder: Path) -> None:
    now = [100.0]
    journal = Journal.open(folder, clock=lambda: now[0])
    now[0] = 200.0
    sequence = Story(journal).accept()
    assert journal.archive.written_at(1) == 100.0 and journal.archive.written_at(sequence) == 200.0
    assert journal.archive.written_at(99) is None
    journal.close()


# Pruning


def test_a_pruned_run_leaves_a_tombstone_and_nothing_else(journal: Journal, story: Story) -> None:
    story.accept(key="k")
    story.end("A")
    story.finish()
    story.accept(OTHER)
    story.tell((None, Pruned(RUN, 50.0)))
    archive = journal.archive
    assert archive.run(RUN) is None and archive.by_key("k") is None
    assert archive.result(RUN, "A") is None and archive.facts(RUN) == []
    assert [run for _, run, _ in archive.all_facts()] == [None, OTHER, None]
    (tombstone,) = archive.tombstones([RUN, OTHER])
    assert tombstone == (RUN, "k", "success", 10.0, 20.0, 50.0)
    again = reopened(journal)
    assert again.sweep() and not again.sweep()
    assert again.archive.tombstones([RUN]) == [tombstone]
    last = reopened(again)
    assert [standing.id for standing in last.open_runs()] == [OTHER]
    last.close()


def test_a_run_that_is_pruned_meanwhile_is_there_or_among_the_pruned_ones(journal: Journal, story: Story) -> None:
    class Slow(Archive):
        """Between two of its answers something happens."""

        def tombstones(self, runs: Iterable[str]) -> list[Tombstone]:
            found = super().tombstones(runs)
            journal.prune([RUN])
            return found

    story.accept()
    story.finish()
    slow = Slow(journal.path)
    known = known_runs(slow, [RUN])
    assert known[RUN].verdict == "success"
    assert slow.run(RUN) is None, "the snapshot is over"
    slow.close()


def test_small_pruned_runs_are_swept_together(journal: Journal, story: Story) -> None:
    runs = [f"run{number}" for number in range(50)]
    for run in runs:
        story.accept(run)
        journal.commit([Record(journal.last + 1, run, Finished(9.0, "success"))])
    journal.prune(runs)
    assert journal.sweep() and not journal.sweep()
    (left,) = journal._connection.execute("SELECT count(*) FROM facts WHERE run > 0").fetchone()
    assert left == 0
    reopened(journal).close()


def test_a_large_pruned_run_is_swept_in_slices_and_a_restart_goes_on(journal: Journal, story: Story) -> None:
    story.accept()
    count = SLICE * 2
    story.tell(*[(RUN, Returned("A", (n,), 1, "success")) for n in range(count)])
    story.finish()
    journal.prune([RUN])
    assert journal.sweep()
    again = reopened(journal)
    slices = 0
    while again.sweep():
        slices += 1
    assert slices == 2
    (left,) = again._connection.execute("SELECT count(*) FROM facts WHERE run > 0").fetchone()
    assert left == 0
    reopened(again).close()


def test_an_open_run_is_not_pruned(journal: Journal, story: Story) -> None:
    last = story.accept()
    with pytest.raises(JournalError, match="is open"):
        journal.prune([RUN])
    assert journal.last == last and journal.archive.run(RUN) is not None


def test_old_runs_are_found_oldest_first(journal: Journal, story: Story) -> None:
    for n, at in enumerate((30.0, 10.0, 20.0, 40.0)):
        story.accept(f"{n:032x}")
        story.finish(f"{n:032x}", at=at)
    story.accept(f"{9:032x}")
    assert journal.archive.ended_before(35.0) == [f"{n:032x}" for n in (1, 2, 0)]
    assert journal.archive.ended_before(35.0, limit=1) == [f"{1:032x}"]
