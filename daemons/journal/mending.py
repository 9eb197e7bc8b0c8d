"""A damaged journal is repaired in its place: what can be saved replaces what is damaged, which is kept aside.

No Router runs meanwhile: the folder is locked. The order of the steps sees to it that whatever is there when they are
cut short is refused by a Router, and never taken for a new journal or for an old one: the new mark comes first, and it
is ahead of everything but the repaired journal. Then the whole repair can be done again, from what was put aside.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ...pipeline.errors import JournalError
from .checkup import journal_file, verify
from .inspection import NAME, UNREADABLE
from .lock import FolderLock
from .mark import NAME as MARK
from .repair import Repaired, repair

BESIDE = (f"{NAME}-wal", f"{NAME}-shm")


@dataclass(frozen=True)
class Mended:
    """`repaired` None: the journal was whole, and nothing was done."""

    repaired: Repaired | None
    aside: Path | None = None
    """Where the damaged journal is now."""

    def __str__(self) -> str:
        if self.repaired is None:
            return "everything is whole: nothing to repair (a torn tail is cut by the Router when it starts)"
        return f"{self.repaired}\nthe damaged journal is kept in {self.aside}"


def mend(path: str | Path) -> Mended:
    """Repair the journal in a data folder. Raises `JournalLocked` while a Router uses it, and `JournalError` when there
    is nothing to save; then everything is as it was."""
    file = journal_file(path)
    folder = file.parent
    if file.name != NAME:
        raise JournalError(f"{file} is no data folder: give the folder that holds {NAME} and {MARK}")
    if not file.exists():
        raise JournalError(f"there is no journal in {folder}: restore a copy of the folder")
    lock = FolderLock(folder)
    try:
        return Mended(None) if verify(folder).ok else _mend(folder)
    finally:
        lock.release()


def _mend(folder: Path) -> Mended:
    fresh, aside = _unused(folder, "repaired"), _unused(folder, "damaged")
    try:
        repaired = _saved(folder, fresh)
        aside.mkdir(mode=0o700)
        _exchange(folder, fresh, aside)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    repaired.path = str(folder / NAME)
    return Mended(repaired, aside)


def _saved(folder: Path, fresh: Path) -> Repaired:
    try:
        repaired = repair(folder, fresh)
    except UNREADABLE as error:
        raise JournalError(
            f"nothing of {folder / NAME} can be saved ({error}): restore a copy of the folder"
        ) from error
    report = verify(fresh)
    if not report.ok:
        raise JournalError(f"{folder / NAME} cannot be repaired; nothing was changed. What came of it:\n{report}")
    return repaired


def _exchange(folder: Path, fresh: Path, aside: Path) -> None:
    if (folder / MARK).exists():
        shutil.copy2(folder / MARK, aside / MARK)
    os.replace(fresh / MARK, folder / MARK)
    _sync(aside, folder)
    for name in (*BESIDE, NAME):  # a log that is left behind would be taken for the new journal's
        if (folder / name).exists():
            os.replace(folder / name, aside / name)
            _sync(aside, folder)
    os.replace(fresh / NAME, folder / NAME)
    _sync(folder)


def _sync(*folders: Path) -> None:
    for folder in folders:
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _unused(folder: Path, name: str) -> Path:
    number = 1
    while (folder / f"{name}-{number}").exists():
        number += 1
    return folder / f"{name}-{number}"
