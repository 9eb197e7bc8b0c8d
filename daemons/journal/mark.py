"""The mark: how far the journal is known to be on disk, kept outside the journal.

SQLite drops what it finds torn at the end of its log and does not say whether that had ever been synced. The mark does:
it is written after a commit was synced, never before. A journal that ends below its mark has lost acknowledged facts
(damage); what is lost above it was never acknowledged (a torn tail). A mark that is late loses nothing but precision,
so it is not synced itself.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

NAME = "journal.mark"
_LAYOUT = struct.Struct("<4sHH16sQd")
_CRC = struct.Struct("<I")
_MAGIC = b"HRMK"
_VERSION = 1


@dataclass(frozen=True)
class Marked:
    """What a mark says: of which journal, the last synced sequence, and the wall time of that commit."""

    journal: bytes
    sequence: int
    at: float

    def pack(self) -> bytes:
        record = _LAYOUT.pack(_MAGIC, _VERSION, 0, self.journal, self.sequence, self.at)
        return record + _CRC.pack(crc32(record))


def read_mark(folder: Path) -> Marked | None:
    """None when there is no mark. Raises ValueError with what is wrong with it."""
    try:
        record = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    if not record:
        return None
    if len(record) != _LAYOUT.size + _CRC.size or _CRC.unpack(record[_LAYOUT.size :])[0] != crc32(record[:-4]):
        raise ValueError(f"{NAME} is not what was written (its checksum is wrong)")
    magic, version, _, journal, sequence, at = _LAYOUT.unpack(record[: _LAYOUT.size])
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(f"{NAME} is of another kind or version ({magic!r}, {version})")
    return Marked(journal, sequence, at)


class Mark:
    """The open file of a mark: one small record, written over in place."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)

    def write(self, marked: Marked) -> None:
        os.pwrite(self._file, marked.pack(), 0)

    def sync(self) -> None:
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)
