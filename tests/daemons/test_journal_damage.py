"""What a crash leaves is taken up again; what no crash can leave is refused, named, and can be repaired."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal.checkup import verify
from headrace.daemons.journal.inspection import is_whole
from headrace.daemons.journal.journal import Journal
from headrace.daemons.journal.mark import Mark, Marked, read_mark
from headrace.daemons.journal.repair import repair
from headrace.daemons.journal.tables import fact_crc
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.errors import JournalDamaged, JournalError, NotFound
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Fact,
    Finished,
    Paused,
    Pruned,
    Registered,
    Returned,
    unpack_fact,
)

OPEN, DONE = "0" * 31 + "1", "0" * 31 + "2"


def tell(journal: Journal, *facts: tuple[str | None, Fact], **beside: bytes | None) -> None:
    first = journal.last + 1
    journal.commit([Record(first + at, run, fact, **beside) for at, (run, fact) in enumerate(facts)])  # type: ignore[arg-type]


def accept(journal: Journal, run: str) -> None:
    tell(journal, (run, Accepted(run, 1.0, RunOptions(title="t"))), definition=b"definition", data=b"data")


def end(journal: Journal, run: str, *indexes: int, size: int = 10) -> None:
    tell(journal, *[(run, Returned("A", (index,), 1, "success")) for index in indexes], result=b"r" * size)


def fill(journal: Journal) -> None:
    """One run open and one done, their facts mixed."""
    accept(journal, OPEN)
    accept(journal, DONE)
    for index in range(20):
        end(journal, OPEN, index)
        end(journal, DONE, index)
    tell(journal, (OPEN, Paused(2.0, 1, True)), (DONE, Finished(3.0, "success")), (None, Registered("b", "p", 1.0)))


def crashed(journal: Journal, to: Path) -> Path:
    """The folder as it would be found if the process ended now."""
    to.mkdir()
    for name in ("journal.mark", "journal.db", "journal.db-wal"):
        if (journal.folder / name).exists():
            shutil.copy(journal.folder / name, to / name)
    return to


def content(folder: Path) -> Any:
    """Everything that a Router or a client would rest on, the epoch's own facts aside."""
    connection = sqlite3.connect(f"file:{folder / 'journal.db'}?mode=ro", uri=True)
    try:
        return [
            connection.execute(
                "SELECT seq, run, body, result FROM facts WHERE kind != 'epoch' ORDER BY seq"
            ).fetchall(),
            connection.execute("SELECT * FROM runs ORDER BY number").fetchall(),
            connection.execute("SELECT * FROM inputs ORDER BY number").fetchall(),
        ]
    finally:
        connection.close()


def opened_content(folder: Path) -> Any:
    Journal.open(folder).close()
    return content(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    journal = Journal.open(tmp_path / "data")
    fill(journal)
    journal.close()
    return tmp_path / "data"


def change(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "journal.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


# Crashes


def test_a_crash_at_any_commit_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "data")
    copies = []
    accept(journal, OPEN)
    for index in range(12):
        end(journal, OPEN, index, size=5000)
        copies.append((crashed(journal, tmp_path / f"copy{index}"), journal.last))
    for copy, last in copies:
        again = Journal.open(copy)
        assert again.last == last + 1 and again.epoch == 2 and again.recovered is None
        (standing,) = again.open_runs()
        assert standing.last == last
        again.close()
        assert verify(copy).ok
    journal.close()


def test_a_log_cut_short_anywhere_keeps_every_commit_before_and_tells_what_was_torn(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "data")
    log = journal.folder / "journal.db-wal"
    accept(journal, OPEN)
    synced, marked = log.stat().st_size, (journal.folder / "journal.mark").read_bytes()
    at_mark = journal.last
    ends = {synced: journal.last}
    for index in range(6):
        end(journal, OPEN, index, size=3000)
        ends[log.stat().st_size] = journal.last
    whole = log.read_bytes()
    frame = 4096 + 24
    places = {size + beyond for size in ends for beyond in (-1, 0, 1, 10, 24, 30, frame - 1, frame, frame + 12)}
    copy = crashed(journal, tmp_path / "copy")
    (copy / "journal.mark").write_bytes(marked)
    for place in sorted(place for place in places if place <= len(whole)):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(copy, tmp_path / "cut")
        (tmp_path / "cut" / "journal.db-wal").write_bytes(whole[:place])
        if place < synced:
            with pytest.raises(JournalDamaged, match=f"fact {at_mark} was written"):
                Journal.open(tmp_path / "cut")
            assert (tmp_path / "cut" / "journal.db-wal").read_bytes() == whole[:place]
            continue
        again = Journal.open(tmp_path / "cut")
        expected = max(last for size, last in ends.items() if size <= place)
        assert again.last - 1 == expected, place
        assert (again.recovered is None) == (place in ends), (place, again.recovered)
        again.close()
        assert verify(tmp_path / "cut").ok
    journal.close()


def test_what_was_cut_is_told_once(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "data")
    accept(journal, OPEN)
    copy = crashed(journal, tmp_path / "copy")
    end(journal, OPEN, 1, size=50_000)
    log = (journal.folder / "journal.db-wal").read_bytes()
    (copy / "journal.db-wal").write_bytes(log[:-5000])
    again = Journal.open(copy)
    assert again.recovered is not None and "pages were cut" in again.recovered
    end(again, OPEN, 1)
    second = crashed(again, tmp_path / "second")
    last = again.last
    again.close()
    third = Journal.open(second)
    assert third.recovered is None and third.last == last + 1
    third.close()
    journal.close()


@pytest.mark.parametrize("garbage", [bytes(9000), b"\xff" * 9000, os.urandom(4120 * 3)])
def test_garbage_behind_the_last_commit_does_not_count(tmp_path: Path, garbage: bytes) -> None:
    journal = Journal.open(tmp_path / "data")
    fill(journal)
    copy = crashed(journal, tmp_path / "copy")
    with (copy / "journal.db-wal").open("ab") as log:
        log.write(garbage)
    again = Journal.open(copy)
    assert again.last == journal.last + 1
    again.close()
    journal.close()


WRITER = """
import sys
from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal.journal import Journal
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import *
journal = Journal.open(sys.argv[1])
number = 0
while True:
    run, at = f"{journal.epoch:016x}{number:016x}", journal.last
    batch = [Record(at + 1, run, Accepted(run, 1.0, RunOptions()), b"", b"definition", b"data")]
    batch += [Record(at + 2 + n, run, Returned("A", (n,), 1, "success"), b"r" * 200) for n in range(number % 50)]
    if number % 3:
        batch.append(Record(at + len(batch) + 1, run, Finished(2.0, "success")))
    journal.commit(batch)
    number += 1
    print(journal.last, flush=True)
"""


def test_a_process_killed_at_any_instant_leaves_a_journal_that_opens(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    chance = random.Random(7)
    last = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 60)):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
        marked = read_mark(folder)
        assert marked is not None and marked.sequence <= verify(folder).last
        assert verify(folder).ok, str(verify(folder))
        assert verify(folder).last >= last
    journal = Journal.open(folder)
    assert journal.epoch == 7
    journal.close()


def test_a_stopped_process_is_copied_whole_at_any_instant(tmp_path: Path) -> None:
    """The journal grows over many checkpoints meanwhile."""
    folder = tmp_path / "data"
    writer = """
import sys
from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal.journal import Journal
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import *
journal = Journal.open(sys.argv[1])
run = "1" * 32
journal.commit([Record(journal.last + 1, run, Accepted(run, 1.0, RunOptions()), b"", b"definition")])
print("ready", flush=True)
while True:
    at = journal.last
    journal.commit([Record(at + 1 + n, run, Returned("A", (at + n,), 1, "success"), b"r" * 900) for n in range(300)])
"""
    with subprocess.Popen([sys.executable, "-c", writer, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        seen = 0
        for number in range(8):
            while (marked := read_mark(folder)) is None or marked.sequence <= seen + 1000 + number * 77:
                pass
            seen = marked.sequence
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            copy = tmp_path / f"copy{number}"
            copy.mkdir()
            for name in ("journal.mark", "journal.db", "journal.db-wal"):
                shutil.copy(folder / name, copy / name)
            process.send_signal(signal.SIGCONT)
            journal = Journal.open(copy)
            assert journal.last > seen
            (standing,) = journal.open_runs()
            assert len(journal.archive.facts("1" * 32)) == standing.last - 1
            journal.close()
        process.kill()


ONLY_WHAT_IS_SYNCED = """
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
static int keep(int fd, const char *name) {
    char to[4200], temporary[4300], block[65536];
    ssize_t size;
    off_t at = 0;
    snprintf(to, sizeof to, "%s/%s", getenv("DISK"), name);
    snprintf(temporary, sizeof temporary, "%s.copy", to);
    int copy = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (; (size = pread(fd, block, sizeof block, at)) > 0; at += size)
        if (write(copy, block, size) != size) return -1;
    close(copy);
    return rename(temporary, to);
}
static void keep_names(const char *folder) {
    char path[4200];
    struct dirent *entry;
    DIR *here = opendir(folder);
    while ((entry = readdir(here))) {
        snprintf(path, sizeof path, "%s/%s", getenv("DISK"), entry->d_name);
        if (entry->d_type != DT_REG || access(path, F_OK) == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int fd = open(path, O_RDONLY);
        keep(fd, entry->d_name);
        close(fd);
    }
    closedir(here);
    here = opendir(getenv("DISK"));
    while ((entry = readdir(here))) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_type != DT_REG || access(path, F_OK) == 0) continue;
        snprintf(path, sizeof path, "%s/%s", getenv("DISK"), entry->d_name);
        unlink(path);
    }
    closedir(here);
}
int fsync(int fd) {
    char link[64], name[4096];
    struct stat found;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, name, sizeof name - 1);
    if (size < 0 || fstat(fd, &found)) return -1;
    name[size] = 0;
    if (S_ISREG(found.st_mode)) return keep(fd, basename(name));
    keep_names(name);
    return 0;
}
int fdatasync(int fd) { return fsync(fd); }
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="compiles an fsync for Linux")
def test_a_power_cut_keeps_every_fact_that_was_acknowledged(tmp_path: Path) -> None:
    """The worst of power cuts: whatever was not synced is gone."""
    (tmp_path / "disk.c").write_text(ONLY_WHAT_IS_SYNCED)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "disk.so", tmp_path / "disk.c"], check=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "disk.so"), "DISK": str(disk)}
    chance = random.Random(3)
    epoch = 0
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "data")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(chance.randrange(50, 200))]
            process.kill()
            acknowledged += [int(line) for line in process.stdout if line.endswith("\n")]
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(disk, tmp_path / "data")
        report = verify(tmp_path / "data")
        assert report.ok, str(report)
        assert report.last >= acknowledged[-1] and report.epoch == epoch + 1
        epoch = report.epoch


def test_a_making_that_was_cut_short_begins_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    mark = Mark(folder)
    mark.write(Marked(b"0" * 16, 0, 0.0))
    mark.close()
    (folder / "journal.new").write_bytes(b"half of it")
    (folder / "journal.new-wal").write_bytes(b"and more")
    for epoch in (1, 2):
        journal = Journal.open(folder)
        assert (journal.epoch, journal.last) == (epoch, epoch)
        journal.close()
    assert not list(folder.glob("journal.new*"))


# Damage


def set_mark(folder: Path, sequence: int) -> None:
    marked = read_mark(folder)
    assert marked is not None
    mark = Mark(folder)
    mark.write(Marked(marked.journal, sequence, 1.0))
    mark.close()


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 0x55]))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "the end is below the mark": (lambda folder: set_mark(folder, 1000), "fact 1000 was written"),
    "the mark is gone": (lambda folder: (folder / "journal.mark").unlink(), "journal.mark is missing"),
    "the mark is changed": (lambda folder: flip(folder / "journal.mark", 30), "its checksum is wrong"),
    "the mark is another journal's": (
        lambda folder: (folder / "journal.mark").write_bytes(Marked(b"x" * 16, 1, 1.0).pack()),
        "another journal",
    ),
    "the journal is gone": (lambda folder: (folder / "journal.db").unlink(), "journal.db is gone"),
    "the journal is emptied": (lambda folder: (folder / "journal.db").write_bytes(b""), "no journal of a Router"),
    "the journal is another database": (
        lambda folder: change(folder, "PRAGMA application_id = 5"),
        "no journal of a Router",
    ),
    "the journal is no database": (
        lambda folder: (folder / "journal.db").write_bytes(b"text " * 1000),
        "not a database",
    ),
    "a fact of an open run is missing": (lambda folder: change(folder, "DELETE FROM facts WHERE seq = 10"), "missing"),
    "a fact of a finished run is missing": (
        lambda folder: change(folder, "DELETE FROM facts WHERE seq = 11"),
        "missing",
    ),
    "the last fact is missing": (lambda folder: change(folder, "DELETE FROM facts WHERE seq = 46"), "fact 46 was"),
    "a fact is replaced by another one": (
        lambda folder: change(folder, "UPDATE facts SET body = (SELECT body FROM facts WHERE seq = 8) WHERE seq = 10"),
        "fact 10 ",
    ),
    "a fact is another job's": (lambda folder: change(folder, "UPDATE facts SET job = 'B' WHERE seq = 10"), "fact 10 "),
    "a fact is another run's": (lambda folder: change(folder, "UPDATE facts SET run = 77 WHERE seq = 10"), "between"),
    "a fact is of another kind": (
        lambda folder: change(folder, "UPDATE facts SET kind = 'failed' WHERE seq = 10"),
        "fact 10 ",
    ),
    "a fact is no fact": (lambda folder: change(folder, "UPDATE facts SET path = 1.5 WHERE seq = 10"), "fact 10 "),
    "a definition is changed": (
        lambda folder: change(folder, "UPDATE inputs SET definition = x'00' WHERE number = 2"),
        "definition",
    ),
    "a definition is missing": (lambda folder: change(folder, "DELETE FROM inputs WHERE number = 2"), "definition"),
    "data are changed": (lambda folder: change(folder, "UPDATE inputs SET data = 'date' WHERE number = 2"), "data"),
    "a run has another name": (
        lambda folder: change(folder, "UPDATE runs SET id = 'x' WHERE number = 2"),
        "not about the run",
    ),
    "the epoch is changed": (lambda folder: change(folder, "UPDATE meta SET value = 5 WHERE name = 'epoch'"), "epoch"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_and_nothing_is_changed(folder: Path, damage: str) -> None:
    spoil, message = DAMAGES[damage]
    spoil(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "router.lock"}
    with pytest.raises(JournalDamaged, match=message) as refused:
        Journal.open(folder)
    assert "headrace doctor --journal" in str(refused.value)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in files}
    assert after == files
    report = verify(folder)
    assert not report.ok and not str(report).endswith("everything is whole")


SILENT = {
    "the result of a job": "UPDATE facts SET result = x'00' WHERE seq = 10",
    "a fact of a finished run": "UPDATE facts SET body = x'00' WHERE seq = 11",
    "the title of a run": "UPDATE runs SET title = 'other' WHERE number = 2",
    "the state of a run": "UPDATE runs SET verdict = 'success' WHERE number = 2",
    "a Broker": "DELETE FROM brokers",
    "the definition of a finished run": "UPDATE inputs SET definition = x'00' WHERE number = 3",
    "the run of a finished run's facts": "DELETE FROM runs WHERE number = 3",
}


@pytest.mark.parametrize("what", SILENT)
def test_the_doctor_finds_what_no_router_rests_on_too(folder: Path, what: str) -> None:
    assert verify(folder).ok
    change(folder, SILENT[what])
    assert not verify(folder).ok


def test_a_changed_result_is_not_handed_out(folder: Path) -> None:
    change(folder, "UPDATE facts SET result = x'00' WHERE seq = 10")
    journal = Journal.open(folder)
    fact = next(unpack_fact(body) for seq, body in journal.archive.facts(OPEN) if seq == 10)
    assert isinstance(fact, Returned)
    with pytest.raises(JournalDamaged, match="fact 10 "):
        journal.archive.result(OPEN, "A", fact.path)
    with pytest.raises(JournalDamaged, match="fact 10 "):
        journal.archive.results(OPEN, "A")
    journal.close()


def test_a_changed_definition_is_not_handed_out(folder: Path) -> None:
    change(folder, "UPDATE inputs SET definition = x'00' WHERE number = 3")
    journal = Journal.open(folder)
    with pytest.raises(JournalDamaged, match=DONE):
        journal.archive.definition(DONE)
    journal.close()


@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_byte_is_taken_for_the_truth(folder: Path, tmp_path: Path, seed: int) -> None:
    """Refused, or it changed nothing that an open run rests on; and the doctor finds it if it changed anything."""
    truth = content(folder)
    chance = random.Random(seed)
    size = (folder / "journal.db").stat().st_size
    for _ in range(40):
        copy = tmp_path / "flipped"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        place = chance.randrange(size)
        flip(copy / "journal.db", place)
        whole = verify(copy).ok
        try:
            journal = Journal.open(copy)
        except JournalError:
            assert not whole, place
            continue
        (standing,) = journal.open_runs() if whole else [None]
        journal.close()
        if whole:
            assert standing is not None and standing.paused and content(copy) == truth, place


@pytest.mark.parametrize("seed", range(3))
def test_no_flipped_byte_in_the_log_is_taken_for_the_truth(tmp_path: Path, seed: int) -> None:
    journal = Journal.open(tmp_path / "data")
    fill(journal)
    copy = crashed(journal, tmp_path / "copy")
    last = journal.last
    journal.close()
    truth = content(journal.folder)
    chance = random.Random(seed)
    size = (copy / "journal.db-wal").stat().st_size
    refused = 0
    for _ in range(25):
        flipped = tmp_path / "flipped"
        shutil.rmtree(flipped, ignore_errors=True)
        shutil.copytree(copy, flipped)
        flip(flipped / "journal.db-wal", chance.randrange(size))
        try:
            assert opened_content(flipped) == truth
        except JournalDamaged as damaged:
            refused += 1
            assert "damaged" in str(damaged) and last > 0
    assert refused > 15


def test_a_page_that_cannot_be_read_is_an_error_about_the_journal(folder: Path, tmp_path: Path) -> None:
    """What belongs to finished runs is not looked at when the journal is opened."""
    journal = Journal.open(folder)
    end(journal, OPEN, *range(50, 60), size=9000)
    tell(journal, (OPEN, Finished(4.0, "success")))
    journal.close()
    size = (folder / "journal.db").stat().st_size
    failed = 0
    for page in range(1, size // 4096):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        with (copy / "journal.db").open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        try:
            journal = Journal.open(copy)
        except JournalError:
            continue
        archive = journal.archive
        questions: list[Callable[[], object]] = [
            lambda archive=archive: archive.results(OPEN),  # type: ignore[misc]
            lambda archive=archive: archive.facts(OPEN),  # type: ignore[misc]
            lambda archive=archive: archive.runs(),  # type: ignore[misc]
            lambda archive=archive: archive.definition(DONE),  # type: ignore[misc]
            lambda archive=archive: archive.known([OPEN, DONE]),  # type: ignore[misc]
        ]
        for question in questions:
            try:
                question()
            except (JournalError, NotFound):
                failed += 1
        journal.close()
    assert failed > 10


def test_a_newer_schema_is_refused_with_its_number(folder: Path) -> None:
    change(folder, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match=r"newer Headrace \(schema 99") as refused:
        Journal.open(folder)
    assert not isinstance(refused.value, JournalDamaged)


# The doctor and repair


def test_the_doctor_looks_at_a_journal_in_use_and_changes_nothing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "data")
    fill(journal)
    report = verify(journal.folder)
    assert report.ok, str(report)
    assert (report.runs, report.open_runs, report.last, report.epoch) == (2, 1, journal.last, 1)
    assert verify(journal.path).ok
    end(journal, OPEN, 99)
    assert verify(journal.folder).last == journal.last
    journal.close()


def test_the_doctor_agrees_with_a_journal_that_was_pruned_and_half_swept(folder: Path) -> None:
    journal = Journal.open(folder)
    end(journal, OPEN, *range(100, 1500))
    tell(journal, (OPEN, Finished(9.0, "success")))
    journal.prune([OPEN])
    assert verify(folder).ok, str(verify(folder))
    journal.sweep()
    assert verify(folder).ok, str(verify(folder))
    while journal.sweep():
        pass
    assert verify(folder).ok, str(verify(folder))
    journal.close()


def test_the_doctor_of_nothing_says_so(tmp_path: Path) -> None:
    assert "no such journal" in str(verify(tmp_path))


@pytest.mark.parametrize("damage", [name for name in DAMAGES if "the journal is" not in name])
def test_a_damaged_journal_is_repaired_into_a_new_folder(folder: Path, tmp_path: Path, damage: str) -> None:
    DAMAGES[damage][0](folder)
    before = (folder / "journal.db").read_bytes()
    repaired = repair(folder, tmp_path / "new")
    assert (folder / "journal.db").read_bytes() == before
    report = verify(tmp_path / "new")
    assert report.ok, str(report)
    journal = Journal.open(tmp_path / "new")
    assert journal.epoch > 1000
    runs = {run.run: run for run in journal.archive.runs()}
    assert set(runs) <= {OPEN, DONE}
    if "definition" not in damage and "data" not in damage:
        assert set(runs) == {OPEN, DONE}
    for run in runs:
        facts = [unpack_fact(body) for _, body in journal.archive.facts(run)]
        assert [fact.path for fact in facts if isinstance(fact, Returned)] == [
            (index,) for index in range(len([fact for fact in facts if isinstance(fact, Returned)]))
        ]
    assert (repaired.lost > 0) == bool(repaired.cut or repaired.gone) or "missing" in damage
    assert all(run in str(repaired) for run in [*repaired.cut, *repaired.gone])
    journal.close()


def test_a_whole_journal_is_repaired_to_itself(folder: Path, tmp_path: Path) -> None:
    truth = content(folder)
    repaired = repair(folder, tmp_path / "new")
    assert repaired.lost == 0 and repaired.cut == []
    assert content(tmp_path / "new") == truth


@pytest.mark.parametrize("seed", range(3))
def test_what_can_be_read_of_a_journal_with_lost_pages_is_saved(folder: Path, tmp_path: Path, seed: int) -> None:
    size = (folder / "journal.db").stat().st_size
    (page,) = struct.unpack(">H", (folder / "journal.db").read_bytes()[16:18])
    chance = random.Random(seed)
    saved = 0
    for _ in range(8):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        shutil.copytree(folder, copy)
        with (copy / "journal.db").open("r+b") as file:
            file.seek(chance.randrange(1, size // page) * page)
            file.write(chance.randbytes(page))
        try:
            repair(copy, tmp_path / "new")
        except JournalError:
            continue
        saved += 1
        report = verify(tmp_path / "new")
        assert report.ok, str(report)
        Journal.open(tmp_path / "new").close()
    assert saved


def test_a_pruned_run_does_not_come_to_life_again_by_a_repair(folder: Path, tmp_path: Path) -> None:
    journal = Journal.open(folder)
    journal.prune([DONE])
    journal.close()
    change(folder, "UPDATE facts SET body = x'00' WHERE kind = 'finished'")
    repair(folder, tmp_path / "new")
    report = verify(tmp_path / "new")
    assert report.ok, str(report)
    again = Journal.open(tmp_path / "new")
    assert [standing.id for standing in again.open_runs()] == [OPEN]
    assert [tombstone.run for tombstone in again.archive.tombstones([DONE])] == [DONE]
    again.close()


def test_a_repair_writes_into_an_empty_folder_only(folder: Path) -> None:
    with pytest.raises(JournalError, match="not empty"):
        repair(folder, folder)


def test_facts_after_a_cancel_keep_their_place_in_a_repaired_run(folder: Path, tmp_path: Path) -> None:
    journal = Journal.open(folder)
    tell(journal, (OPEN, Cancelled(5.0, 2, "enough")), (None, Pruned("nobody", 1.0)))
    journal.close()
    repair(folder, tmp_path / "new")
    again = Journal.open(tmp_path / "new")
    (standing,) = again.open_runs()
    assert standing.cancelled == "enough"
    again.close()


THIRD_OF_DONE = (
    f"SELECT seq FROM facts WHERE run = (SELECT number FROM runs WHERE id = '{DONE}') ORDER BY seq LIMIT 1 OFFSET 2"
)


def test_a_fact_of_an_ended_run_that_was_changed_is_told_when_it_is_read(folder: Path) -> None:
    """Opening looks at open runs only: they may be many enough."""
    change(folder, f"UPDATE facts SET body = zeroblob(length(body)) WHERE seq = ({THIRD_OF_DONE})")
    journal = Journal.open(folder)
    for read in (lambda: journal.archive.facts(DONE), journal.archive.all_facts):
        with pytest.raises(JournalDamaged, match="not what was written"):
            read()
    assert journal.archive.facts(OPEN)
    journal.close()


def test_a_fact_of_an_ended_run_that_is_missing_is_told_when_its_neighbour_is_read(folder: Path) -> None:
    """As after damage to a page that an index does not know of: the count of facts is right all the same."""
    change(
        folder,
        f"DELETE FROM facts WHERE seq = ({THIRD_OF_DONE})",
        "UPDATE meta SET value = value + 1 WHERE name = 'pruned'",
    )
    journal = Journal.open(folder)
    with pytest.raises(JournalDamaged, match="lost facts before"):
        journal.archive.facts(DONE)
    journal.close()


@pytest.mark.parametrize("column", range(10))
def test_a_row_with_a_column_of_another_type_is_not_whole(column: int) -> None:
    row: list[object] = [1, 2, 1, "returned", "A", b"", 0, 1, b"body", 0]
    row[9] = fact_crc(2, 1, 1, "returned", "A", b"", 0, 1, b"body")
    assert is_whole(tuple(row))
    for other in (b"bytes", "text", 1.5):
        if not isinstance(row[column], type(other)):
            assert not is_whole((*row[:column], other, *row[column + 1 :]))
