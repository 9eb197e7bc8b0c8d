"""Values that belong to no run of the journal go, when nobody has touched them for a day."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.dispatch.pruning import DAY, SETTLED, SUSPECTS_PER_TURN, Pruning
from headrace.daemons.dispatch.values import ValueReader
from headrace.daemons.journal.journal import Journal
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import Accepted, Pruned

WALL = time.time()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "data")
    yield journal
    journal.close()


@pytest.fixture
def values(journal: Journal, tmp_path: Path) -> ValueReader:
    """An open run, and one that nobody knows, both with a value that is two days old."""
    journal.commit([Record(journal.last + 1, "known", Accepted("known", 10.0, RunOptions()), definition=b"d")])
    values = ValueReader(tmp_path / "values")
    for run in ("known", "un/known"):
        written(values, run, days=2)
    return values


def written(values: ValueReader, run: str, days: float) -> None:
    values.folder.write(run, "A", (), 1, b"value")
    then = WALL - days * DAY
    for path in sorted(values.folder.path.rglob("*")):
        if path.name != "values.id":
            os.utime(path, (then, then))


def test_values_without_a_run_go_and_those_of_runs_stay(journal: Journal, values: ValueReader) -> None:
    pruning = Pruning(journal.archive, values, None, 0.0)
    pruning.due(SETTLED - 1.0, WALL)
    pruning.sweep()
    assert values.runs() == ["known", "un/known"], "a Router that begins has other things to do"
    pruning.due(SETTLED, WALL)
    pruning.sweep()
    assert values.runs() == ["known"]


def test_values_that_were_written_lately_may_be_of_a_run_that_comes(journal: Journal, values: ValueReader) -> None:
    values.folder.write("un/known", "B", (1,), 2, b"value")
    pruning = Pruning(journal.archive, values, None, 0.0)
    pruning.due(SETTLED, WALL)
    pruning.sweep()
    assert values.runs() == ["known", "un/known"]
    pruning.due(SETTLED + DAY - 1.0, WALL + 2 * DAY)
    pruning.sweep()
    assert values.runs() == ["known", "un/known"], "the folder is looked at once a day"
    pruning.due(SETTLED + DAY, WALL + 2 * DAY)
    pruning.sweep()
    assert values.runs() == ["known"]


def test_a_large_folder_is_looked_at_in_parts(journal: Journal, values: ValueReader) -> None:
    for number in range(SUSPECTS_PER_TURN):
        (values.folder.path / f"run{number}").mkdir()
        os.utime(values.folder.path / f"run{number}", (0, 0))
    pruning = Pruning(journal.archive, values, None, 0.0)
    turns = 0
    while values.runs() != ["known"]:
        pruning.due(SETTLED + turns, WALL)
        pruning.sweep()
        turns += 1
        assert turns < 100
    assert turns > 5


def test_what_is_pruned_goes_at_once(journal: Journal, values: ValueReader) -> None:
    pruning = Pruning(journal.archive, values, None, 0.0)
    pruning.committed([Record(99, "known", Pruned("known", 1.0))])
    pruning.sweep()
    assert values.runs() == ["un/known"]
