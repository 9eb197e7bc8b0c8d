"""What stands between bytes and everything else, attacked without a daemon around it: the decoders of the wire, of the
journal's facts, of definitions and of user data; and journals whose files were damaged."""

from __future__ import annotations

import random
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from garbage import Garbage

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal.archive import Archive
from headrace.daemons.journal.checkup import verify
from headrace.daemons.journal.journal import Journal
from headrace.daemons.protocol import Outbound, decode_inbound, decode_outbound
from headrace.pipeline.definition import RunOptions, unpack_definition
from headrace.pipeline.errors import HeadraceError, JournalError
from headrace.pipeline.facts import Accepted, Finished, Returned, pack_fact, unpack_fact
from headrace.pipeline.payload import pack, unpack

REFUSALS = (msgspec.MsgspecError, ValueError, RecursionError, HeadraceError)
"""What a decoder may say; everything else is a defect."""
RUNS = 8


class Decoders:
    """Garbage of a seed, for every decoder in turn."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._inbound, self._outbound = Garbage(seed), Garbage(seed, Outbound)
        self._good = [pack_fact(Returned("job", (1, 2), 1, "success")), pack_fact(Accepted("r", 1.0, RunOptions()))]
        self._values = [pack({"a": [1, 2.5, "x", (1, 2)], "b": {b"x": {1, 2}}}), pack([None] * 20)]

    def next(self) -> tuple[Callable[[bytes], object], bytes]:
        pick = self._random
        match pick.randrange(6):
            case 0 | 1:
                return decode_inbound, self._inbound.next()[0]
            case 2:
                return decode_outbound, self._outbound.next()[0]
            case 3:
                return unpack_fact, self._bent(pick.choice(self._good))
            case 4:
                return unpack_definition, self._bent(pick.choice(self._values))
            case _:
                return unpack, self._bent(pick.choice(self._values))

    def _bent(self, good: bytes) -> bytes:
        data = bytearray(good)
        for _ in range(self._random.choice((1, 1, 2, 5))):
            at = self._random.randrange(len(data) + 1)
            match self._random.randrange(4):
                case 0 if at < len(data):
                    data[at] = self._random.randrange(256)
                case 1:
                    del data[at : at + self._random.choice((1, 4, 100))]
                case 2:
                    data[at:at] = self._random.randbytes(self._random.choice((1, 4, 30)))
                case _:
                    head = self._random.choice((b"\xdd", b"\xdf", b"\xc6", b"\xc9", b"\xdb"))
                    data[at:at] = head + struct.pack(">I", self._random.choice((5, 1 << 16, (1 << 32) - 1)))
            if not data:
                return b""
        return bytes(data)


def check_decoder(given: tuple[Callable[[bytes], object], bytes]) -> str:
    decode, data = given
    try:
        decode(data)
    except REFUSALS:
        return f"{decode.__name__} refused"
    return f"{decode.__name__} read"


class Journals:
    """A small journal, and copies of it that something happens to."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._original = folder / f"journal-{seed}"
        _write(self._original)

    def next(self) -> Path:
        copy = Path(shutil.copytree(self._original, tempfile.mkdtemp(dir=self._folder), dirs_exist_ok=True))
        for _ in range(self._random.choice((1, 1, 3))):
            self._harm(copy / self._random.choice(("journal.db", "journal.db", "journal.db-wal", "journal.mark")))
        return copy

    def _harm(self, file: Path) -> None:
        pick = self._random
        data = bytearray(file.read_bytes()) if file.exists() else bytearray()
        at = pick.randrange(len(data) + 1)
        match pick.randrange(6):
            case 0:
                data = bytearray(pick.randbytes(pick.choice((0, 1, 100, 5000))))
            case 1:
                del data[at:]
            case 2:
                data += pick.randbytes(pick.choice((1, 100, 5000)))
            case 3:
                data[at : at + 4096] = pick.randbytes(len(data[at : at + 4096]))
            case _:
                for _ in range(pick.choice((1, 10, 200))):
                    if data:
                        data[pick.randrange(len(data))] = pick.randrange(256)
        file.write_bytes(data)


def _write(folder: Path) -> None:
    """A journal as a kill leaves it: the log is not empty."""
    journal = Journal.open(folder)
    for number in range(RUNS):
        run = f"{number:032x}"
        first = journal.last + 1
        facts = [
            Record(first, run, Accepted(run, 1.0, RunOptions(title="t")), definition=b"definition", data=b"data"),
            Record(first + 1, run, Returned("A", (), 1, "success", size=9), result=b"r" * 9),
        ]
        if number % 2:
            facts.append(Record(first + 2, run, Finished(2.0, "success")))
        journal.commit(facts)
    copy = folder.with_name(f"{folder.name}-left")
    shutil.copytree(folder, copy)
    journal.close()
    shutil.rmtree(folder)
    copy.rename(folder)


def check_journal(folder: Path) -> str:
    """It is refused or opens; the doctor has words for it either way; and every run can be read or is refused."""
    try:
        verify(folder)
        try:
            Journal.open(folder).close()
        except JournalError:
            return "refused"
        _read_all(folder)
        return "opened"
    finally:
        shutil.rmtree(folder)


def _read_all(folder: Path) -> None:
    archive = Archive(folder / "journal.db")
    try:
        for one in archive.runs():
            for read in (archive.facts, archive.definition, archive.data, archive.results):
                try:
                    read(one.run)
                except HeadraceError:
                    continue
    finally:
        archive.close()
