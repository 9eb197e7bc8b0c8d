"""What the journal keeps of sub-runs, of pauses and of parked runs; and a journal of the schema before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.dispatch.restored import found_below, restored
from headrace.daemons.journal.checkup import verify
from headrace.daemons.journal.inspection import NAME
from headrace.daemons.journal.journal import Journal
from headrace.daemons.journal.repair import repair
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.errors import JournalError
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Ending,
    Fact,
    Finished,
    Parent,
    Parked,
    Pruned,
    Reopened,
    Switched,
)

PLACE = Parent("top", "P", (2,), 0, 1)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "data")
    yield journal
    journal.close()


def tell(journal: Journal, *facts: tuple[str | None, Fact]) -> None:
    first = journal.last + 1
    journal.commit([Record(first + at, run, fact, definition=b"d") for at, (run, fact) in enumerate(facts)])


def accept(journal: Journal, run: str, parent: Parent | None = None, **fields: bytes) -> None:
    tell(journal, (run, Accepted(run, 1.0, RunOptions(), parent=parent, **fields)))  # type: ignore[arg-type]


def again(journal: Journal) -> Journal:
    journal.close()
    assert verify(journal.folder).ok, str(verify(journal.folder))
    return Journal.open(journal.folder)


def test_a_sub_run_is_listed_when_asked_for_and_found_by_the_run_above(journal: Journal) -> None:
    accept(journal, "top")
    accept(journal, "inner", PLACE)
    accept(journal, "innermost", Parent("inner", "C"))
    archive = journal.archive
    assert [one.run for one in archive.runs()] == ["top"]
    assert [one.run for one in archive.runs(below=True)] == ["innermost", "inner", "top"]
    assert [one.run for one in archive.runs("running")] == ["top"]
    ((one, accepted),) = archive.children("top")
    assert (one.run, one.parent, accepted.parent) == ("inner", "top", PLACE)
    assert archive.with_children(["top", "top"]) == ["innermost", "inner", "top"]


def test_old_runs_are_found_without_what_belongs_to_others(journal: Journal) -> None:
    accept(journal, "top")
    accept(journal, "inner", PLACE)
    tell(journal, ("inner", Finished(5.0, "success")), ("top", Finished(6.0, "success")))
    assert journal.archive.ended_before(10.0) == ["top"]
    tell(journal, (None, Pruned("inner", 7.0)), (None, Pruned("top", 7.0)))
    assert not journal.archive.with_children(["top"])[:-1] and not journal.archive.runs(below=True)


def test_an_open_sub_run_is_the_attempt_that_its_last_round_was_opened_as(journal: Journal) -> None:
    accept(journal, "top")
    accept(journal, "inner", PLACE, data_ref="top/P/2/1")  # type: ignore[arg-type]
    second = Parent("top", "P", (2,), 0, 2)
    tell(journal, ("inner", Finished(5.0, "failed")), ("inner", Reopened(6.0, 1, 1, second)))
    journal = again(journal)
    runs = {run.id: run for run in restored(journal.open_runs(), 0.0, 10.0)}
    assert runs["inner"].parent == second and runs["inner"].data_ref == "top/P/2/1" and runs["inner"].has_data
    assert runs["top"].parent is None
    journal.close()


def test_what_is_found_of_a_child_is_nothing_its_end_or_how_it_would_go_on(journal: Journal) -> None:
    accept(journal, "top")
    assert found_below(journal.archive, ["inner"], 0.0, 10.0) == {"inner": (None, None)}
    accept(journal, "inner", PLACE, digest=b"16 bytes of it..")
    tell(journal, ("inner", Finished(5.0, "failed")))
    run, known = found_below(journal.archive, ["inner", "top"], 0.0, 10.0)["inner"]
    assert run is not None and known is not None
    assert (run.parent, known.verdict, known.digest) == (PLACE, "failed", b"16 bytes of it..")
    tell(journal, (None, Pruned("inner", 7.0)))
    run, known = found_below(journal.archive, ["inner", "top"], 0.0, 10.0)["inner"]
    assert run is None and known is not None


def test_what_is_paused_is_known_after_a_restart(journal: Journal) -> None:
    on = [(None, Switched(role, True, 1.0)) for role in ("encode", None, "shell", "")]
    tell(journal, *on, (None, Switched("encode", False, 2.0)))
    journal = again(journal)
    assert journal.paused() == {None, "shell", ""}
    tell(journal, (None, Switched(None, False, 3.0)))
    assert journal.paused() == {"shell", ""}
    journal.close()


def test_a_pause_that_is_not_what_the_facts_say_is_found(journal: Journal) -> None:
    tell(journal, (None, Switched("shell", True, 1.0)))
    journal.close()
    with sqlite3.connect(journal.path) as connection:
        connection.execute("DELETE FROM meta WHERE name LIKE 'paused%'")
    connection.close()
    assert "what is paused is not what the facts say" in str(verify(journal.folder))


def test_a_parked_run_stays_parked(journal: Journal) -> None:
    accept(journal, "top")
    tell(journal, ("top", Parked(2.0, "three died")))
    journal = again(journal)
    assert [one.parked for one in restored(journal.open_runs(), 0.0, 1.0)] == ["three died"]
    tell(journal, ("top", Parked(3.0, "")))
    journal = again(journal)
    assert [one.parked for one in journal.open_runs()] == [""]
    journal.close()


def test_a_cancel_after_the_verdict_is_none_of_the_run(journal: Journal) -> None:
    accept(journal, "top")
    tell(journal, ("top", Ending(2.0, "success")), ("top", Cancelled(3.0, 1, "enough")))
    journal = again(journal)
    (standing,) = journal.open_runs()
    assert (standing.cancelled, standing.shortened, standing.control) == (None, True, 1)
    assert [one.state for one in journal.archive.runs()] == ["running"]
    journal.close()


def test_sub_runs_and_pauses_are_saved_with_the_rest_of_a_damaged_journal(journal: Journal, tmp_path: Path) -> None:
    accept(journal, "top")
    accept(journal, "inner", PLACE)
    tell(journal, (None, Switched("shell", True, 1.0)))
    journal.close()
    repair(journal.folder, tmp_path / "new")
    saved = Journal.open(tmp_path / "new")
    assert saved.paused() == {"shell"} and [one.run for one, _ in saved.archive.children("top")] == ["inner"]
    saved.close()
    assert verify(tmp_path / "new").ok


def to_schema_1(path: Path) -> None:
    """As the release before has written it."""
    with sqlite3.connect(path) as connection:
        for statement in (
            "DROP INDEX runs_by_parent",
            "DROP INDEX runs_on_top",
            "ALTER TABLE runs DROP COLUMN parent",
            "PRAGMA user_version = 1",
        ):
            connection.execute(statement)
    connection.close()


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="this SQLite drops no columns")
def test_a_journal_of_the_schema_before_is_read_and_brought_up_to_date(journal: Journal) -> None:
    accept(journal, "top")
    journal.close()
    to_schema_1(journal.path)
    assert verify(journal.folder).ok, str(verify(journal.folder))
    for _ in range(2):
        journal = Journal.open(journal.folder)
        assert [one.run for one in journal.archive.runs()] == ["top"]
        journal.close()
    journal = Journal.open(journal.folder)
    accept(journal, "inner", PLACE)
    assert [one.run for one, _ in journal.archive.children("top")] == ["inner"]
    journal.close()
    assert verify(journal.folder).ok


def test_a_journal_of_a_later_schema_is_refused(journal: Journal) -> None:
    journal.close()
    with sqlite3.connect(journal.folder / NAME) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(JournalError, match="newer Headrace"):
        Journal.open(journal.folder)
