"""A journal that was damaged: bytes flipped, pages zeroed, files cut, a tail that is torn, an older copy of one file.

What a Router would do is tried on copies of a journal that a kill has left behind. There are two good answers: it is
refused, or it opens and everything that had been acknowledged is there, byte for byte. A result that is not what was
written may also be found out when it is read. What must never be is a journal that tells something else, in silence.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from campaign import Report
from load import Load
from plant import Plant, until

from headrace.daemons.journal.archive import Archive
from headrace.daemons.journal.journal import Journal
from headrace.daemons.journal.mark import read_mark
from headrace.pipeline.errors import JournalError

DATABASE, LOG, MARK = "journal.db", "journal.db-wal", "journal.mark"
ORDERS = 150
Told = dict[str, list[tuple[int, bytes]]]
Results = dict[str, list[Any]]


def damaged(folder: Path, first: int = 1, count: int = 200) -> Report:
    """Harm of the seeds from `first` on, each to a copy of its own."""
    original, older = folder / "data", folder / "older"
    _make(folder, original, older, first)
    marked = read_mark(original)
    assert marked is not None
    with tempfile.TemporaryDirectory(dir=folder) as whole:
        copy = Path(shutil.copytree(original, Path(whole) / "copy"))
        Journal.open(copy).close()
        facts, results = _content(copy, marked.sequence)
    problems: list[str] = []
    ends = dict.fromkeys(("refused", "found when read", "whole"), 0)
    for number in range(first, first + count):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            copy = Path(shutil.copytree(original, Path(place) / "copy"))
            told = _harm(copy, older, random.Random(f"damage {number}"))
            end = _try(copy, marked.sequence, facts, results)
        if end in ends:
            ends[end] += 1
        else:
            problems.append(f"blow {number} ({told}): {end}")
    checked = "refused, found when read, or everything acknowledged is there byte for byte"
    survived = count - len(problems)
    return Report("journal damaged", first, count, survived, tuple(problems), (), checked, ends)


def _make(folder: Path, original: Path, older: Path, seed: int) -> None:
    """A journal with some hundreds of runs, as a kill leaves it; and how it was a while before."""
    with Plant(folder, original) as plant:
        plant.staff(brokers=1)
        plant.joined(1)
        with Load(plant, seed) as load:
            until(lambda: load.check() or load.ended >= ORDERS // 2, "half of the journal is written")
            plant.kill("router")
            _copy_journal(original, older)
            plant.start("router")
            until(lambda: load.check() or load.ended >= ORDERS, "the journal is written")
            plant.kill("router")
            load.stop_filling()
            _copy_journal(original, folder / "kept")
            plant.start("router")
            until(lambda: load.check() or not load.open, "everything has ended")
    shutil.rmtree(original)
    (folder / "kept").rename(original)


def _copy_journal(source: Path, target: Path) -> None:
    """Of a Router that is dead: nobody writes there. The Brokers live, and their files come and go meanwhile."""
    target.mkdir()
    for file in source.glob("journal*"):
        shutil.copy2(file, target)


def _content(folder: Path, last: int) -> tuple[Told, Results]:
    """What a Router would tell of every run, up to a fact."""
    archive = Archive(folder / DATABASE)
    try:
        runs = sorted(one.run for one in archive.runs(limit=1 << 30) if one.number <= last)
        facts: Told = {run: [fact for fact in archive.facts(run) if fact[0] <= last] for run in runs}
        results = {run: [archive.definition(run), archive.data(run), *_results(archive, run)] for run in runs}
        return facts, results
    finally:
        archive.close()


def _results(archive: Archive, run: str) -> list[Any]:
    return [
        (one.job, one.path, one.kind, one.value, one.ref) for one in archive.results(run, limit_bytes=1 << 40).entries
    ]


def _try(folder: Path, last: int, facts: Told, results: Results) -> str:
    """How opening ends, in a word; or what is wrong with it, in more than one."""
    before = {name: (folder / name).read_bytes() for name in (DATABASE, LOG, MARK) if (folder / name).exists()}
    try:
        Journal.open(folder).close()
    except JournalError:
        touched = [name for name, content in before.items() if (folder / name).read_bytes() != content]
        return f"it was refused, and {touched} changed all the same" if touched else "refused"
    try:
        found, told = _content(folder, last)
    except JournalError:
        return "found when read"
    if changed := [run for run, kept in facts.items() if found.get(run) != kept]:
        return f"facts of {changed[:3]} changed in silence"
    # Facts above the mark may be gone, and with them results that an instance had in the end.
    changed = [run for run, kept in results.items() if told[run][:2] != kept[:2] or not _prefix(told[run], kept)]
    return f"results or definitions of {changed[:3]} changed in silence" if changed else "whole"


def _prefix(told: list[Any], kept: list[Any]) -> bool:
    return all(one in kept for one in told)


def _harm(folder: Path, older: Path, random: random.Random) -> str:
    """Something happens to the files; what, in words."""
    name = random.choice((DATABASE, DATABASE, LOG, LOG, LOG, MARK))
    file = folder / name
    content = bytearray(file.read_bytes())
    match random.choice(("flip", "flip", "zero", "cut", "grow", "older", "gone", "bits")):
        case "flip":
            at = random.randrange(len(content))
            content[at] ^= 1 << random.randrange(8)
            what = f"a bit of {name} at {at} flipped"
        case "bits":
            for _ in range(20):
                content[random.randrange(len(content))] ^= 1 << random.randrange(8)
            what = f"20 bits of {name} flipped"
        case "zero":
            at = random.randrange(len(content)) // 4096 * 4096
            content[at : at + 4096] = bytes(len(content[at : at + 4096]))
            what = f"a page of {name} at {at} zeroed"
        case "cut":
            at = random.randrange(len(content))
            del content[at:]
            what = f"{name} cut at {at}"
        case "grow":
            content += random.randbytes(random.randint(1, 9000))
            what = f"rubbish behind {name}"
        case "older":
            content = bytearray((older / name).read_bytes() if (older / name).exists() else b"")
            what = f"an older {name}"
        case _:
            file.unlink()
            return f"{name} gone"
    file.write_bytes(content)
    return what
