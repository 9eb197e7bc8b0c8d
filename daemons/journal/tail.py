"""The end of SQLite's write-ahead log, read without SQLite.

After a crash SQLite keeps the log up to the last whole commit and passes over the rest in silence. Here the rest is
counted, so that it can be reported. The layout is SQLite's documented WAL format: a header of 32 bytes, then frames of
24 bytes and a page; frames of the current log repeat the header's salt.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")
_FRAME = 24
_MAGICS = (0x377F0682, 0x377F0683)


def frames_written(log: Path) -> int:
    """How many frames of the current log are in the file, whole or begun, committed or not."""
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return 0
        magic, _, page, _, *salt = _HEADER.unpack(header)[:6]
        if magic not in _MAGICS:
            return 0
        current = struct.pack(">2I", *salt)
        count = 0
        while True:
            file.seek(_HEADER.size + count * (_FRAME + page))
            frame = file.read(_FRAME)
            if not frame or (len(frame) == _FRAME and frame[8:16] != current):
                return count
            count += 1


def torn_text(log: Path, written: int, committed: int, last: int) -> str | None:
    """What to say when the log holds more than its last whole commit."""
    if written <= committed:
        return None
    return (
        f"{log.name} ended in a commit that was never finished: {written - committed} of its {written} pages were cut; "
        f"nothing of it had been acknowledged, and the journal ends with fact {last}"
    )
