"""`headrace doctor --repair`: a damaged journal is replaced by what can be saved of it, and never by less."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headrace.daemons.cli import commands
from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal import mending
from headrace.daemons.journal.journal import Journal
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.errors import JournalDamaged, JournalError, JournalLocked
from headrace.pipeline.facts import Accepted, Fact, Returned, unpack_fact

GOOD, BAD = "0" * 31 + "1", "0" * 31 + "2"


def tell(journal: Journal, *facts: tuple[str, Fact], **beside: Any) -> None:
    for run, fact in facts:
        journal.commit([Record(journal.last + 1, run, fact, **beside)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two open runs with ten outcomes each."""
    journal = Journal.open(tmp_path / "data")
    for run in (GOOD, BAD):
        tell(journal, (run, Accepted(run, 1.0, RunOptions())), definition=b"definition")
        tell(journal, *((run, Returned("A", (index,), 1, "success")) for index in range(10)), result=b"result")
    journal.close()
    return tmp_path / "data"


def damage(folder: Path) -> None:
    """The fourth outcome of a run is not what was written."""
    connection = sqlite3.connect(folder / "journal.db")
    with connection:
        connection.execute(
            "UPDATE facts SET body = x'00' WHERE seq = (SELECT number + 4 FROM runs WHERE id = ?)", (BAD,)
        )
    connection.close()


def outcomes(folder: Path) -> dict[str, int]:
    """How many outcomes each open run has, for a Router that starts."""
    journal = Journal.open(folder)
    facts = {
        run.run: [unpack_fact(body) for _, body in journal.archive.facts(run.run)] for run in journal.archive.runs()
    }
    journal.close()
    return {run: sum(isinstance(fact, Returned) for fact in some) for run, some in facts.items()}


def doctor(*arguments: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    result = CliRunner().invoke(commands, ["doctor", *arguments, "--json"], prog_name="headrace")
    findings: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(result.stdout).get("findings", ()):
        findings.setdefault(one["what"], []).append((one["grade"], one["text"]))
    return result.exit_code, findings


def test_the_doctor_names_the_command_that_repairs_and_it_does(folder: Path) -> None:
    damage(folder)
    with pytest.raises(JournalDamaged, match=r"`headrace doctor --journal .*`.*`--repair`"):
        Journal.open(folder)
    code, findings = doctor("--journal", str(folder))
    assert code == 1
    ((grade, text),) = findings["repair"]
    assert grade == "warning" and f"`headrace doctor --journal {folder} --repair`" in text
    code, findings = doctor("--journal", str(folder), "--repair")
    assert code == 0, findings
    told = "\n".join(text for _, text in findings["repair"])
    assert f"run {BAD} stands earlier than it did" in told and "damaged-1" in told
    assert findings["journal"][0][0] == "ok"
    assert outcomes(folder) == {GOOD: 10, BAD: 3}
    assert (folder / "damaged-1" / "journal.db").exists() and not list(folder.glob("repaired-*"))


def test_a_second_damage_is_kept_beside_the_first(folder: Path) -> None:
    damage(folder)
    mending.mend(folder)
    damage(folder)
    assert mending.mend(folder).aside == folder / "damaged-2"
    assert outcomes(folder)[GOOD] == 10


def test_a_whole_journal_is_left_alone(folder: Path) -> None:
    before = (folder / "journal.db").read_bytes()
    assert mending.mend(folder).repaired is None
    assert (folder / "journal.db").read_bytes() == before
    assert not list(folder.glob("damaged-*"))


def test_a_torn_tail_is_nothing_to_repair(folder: Path, tmp_path: Path) -> None:
    journal = Journal.open(folder)
    marked = (folder / "journal.mark").read_bytes()
    tell(journal, (GOOD, Returned("B", (), 1, "success")), result=b"x" * 20_000)
    torn = tmp_path / "torn"
    shutil.copytree(folder, torn)
    journal.close()
    (torn / "journal.mark").write_bytes(marked)
    (torn / "journal.db-wal").write_bytes((torn / "journal.db-wal").read_bytes()[:-5000])
    assert mending.mend(torn).repaired is None
    journal = Journal.open(torn)
    assert journal.recovered is not None and "never finished" in journal.recovered
    journal.close()
    assert outcomes(torn) == {GOOD: 10, BAD: 10}


def test_no_journal_is_repaired_while_a_router_uses_it(folder: Path) -> None:
    journal = Journal.open(folder)
    with pytest.raises(JournalLocked):
        mending.mend(folder)
    journal.close()


@pytest.mark.parametrize("content", [b"", b"text " * 1000, None])
def test_where_nothing_can_be_saved_everything_stays_as_it_was(folder: Path, content: bytes | None) -> None:
    if content is None:
        (folder / "journal.db").unlink()
    else:
        (folder / "journal.db").write_bytes(content)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "router.lock"}
    with pytest.raises(JournalError, match="restore a copy"):
        mending.mend(folder)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "router.lock"}
    assert after == before


def test_repair_without_a_journal_is_a_mistake_that_says_what_is_missing() -> None:
    result = CliRunner().invoke(commands, ["doctor", "--repair"], prog_name="headrace")
    assert result.exit_code == 2 and "--repair needs --journal PATH" in result.output


def test_a_repair_that_is_cut_short_is_refused_by_a_router_and_can_be_done_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each single step a Router refuses the folder; from the damaged files everything can be done again."""
    damage(folder)
    (folder / "journal.db-wal").write_bytes(b"")
    replace, steps = os.replace, 0

    class Cut(Exception):
        pass

    for last in range(1, 20):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "cut")
        done = 0

        def cut_short(source: Path, target: Path, last: int = last) -> None:
            nonlocal done
            if done == last:
                raise Cut
            done += 1
            replace(source, target)

        monkeypatch.setattr(mending.os, "replace", cut_short)
        try:
            mending.mend(tmp_path / "cut")
        except Cut:
            monkeypatch.setattr(mending.os, "replace", replace)
            with pytest.raises(JournalDamaged):
                Journal.open(tmp_path / "cut")
            for file in (tmp_path / "cut" / "damaged-1").iterdir():
                replace(file, tmp_path / "cut" / file.name)
            mending.mend(tmp_path / "cut")
            steps += 1
        else:
            break
    monkeypatch.setattr(mending.os, "replace", replace)
    assert steps >= 2
    assert outcomes(tmp_path / "cut") == {GOOD: 10, BAD: 3}
