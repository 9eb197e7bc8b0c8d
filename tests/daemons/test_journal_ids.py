"""Which run ids a journal may hold: never is one denied that it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal import ids
from headrace.daemons.journal.ids import Ids
from headrace.daemons.journal.journal import Journal
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import Accepted, Finished

FIRST, SECOND, THIRD = (str(number) * 32 for number in (1, 2, 3))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "data")
    yield journal
    journal.close()


def accept(journal: Journal, run: str, finish: bool = False) -> None:
    journal.commit([Record(journal.last + 1, run, Accepted(run, 1.0, RunOptions()), definition=b"d")])
    if finish:
        journal.commit([Record(journal.last + 1, run, Finished(2.0, "success"))])


def test_every_name_that_was_added_is_held_and_hardly_any_other() -> None:
    held, others = ([uuid4().hex for _ in range(20_000)] for _ in range(2))
    filter = Ids()
    filter.add([*held, "", "ä" * 200, "\udcff"])
    assert all(name in filter for name in [*held, "", "ä" * 200, "\udcff"])
    assert sum(name in filter for name in others) < 20


def test_a_journal_holds_what_it_has_accepted(journal: Journal) -> None:
    assert FIRST not in journal.ids
    accept(journal, FIRST)
    accept(journal, SECOND, finish=True)
    assert FIRST in journal.ids and SECOND in journal.ids and THIRD not in journal.ids


def test_a_journal_that_is_opened_again_holds_open_ended_and_pruned_runs(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "data")
    accept(journal, FIRST)
    for run in (SECOND, THIRD):
        accept(journal, run, finish=True)
    journal.prune([THIRD])
    journal.close()
    again = Journal.open(tmp_path / "data")
    assert all(run in again.ids for run in (FIRST, SECOND, THIRD)) and "4" * 32 not in again.ids
    again.close()


def test_of_a_journal_with_very_many_runs_everything_is_asked(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(journal, FIRST, finish=True)
    accept(journal, SECOND, finish=True)
    journal.prune([SECOND])
    monkeypatch.setattr(ids, "MOST", 2)
    assert THIRD not in Ids.of(journal._connection)
    monkeypatch.setattr(ids, "MOST", 1)
    filter = Ids.of(journal._connection)
    assert filter.holds_everything and THIRD in filter and FIRST in filter
