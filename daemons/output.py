"""Output that somebody wants to read: of an attempt that runs now, or of one that has ended.

A worker process writes to one file, attempt after attempt, and says only at the end of an attempt which part was its.
So the output of the attempt that runs is what the newest file of its slot holds behind the last part that was told.
Only files of the folder for output are read, whatever is asked.
"""

from __future__ import annotations

from pathlib import Path

from ..workers.shortening import shorten
from .protocol import Output, ReadOutput


class OutputReader:
    """`folder`: where all Brokers of this data folder keep their output; `own`: where this one does."""

    def __init__(self, folder: Path, own: Path) -> None:
        self._folder = folder
        self.own = own
        self._begins: dict[int, tuple[Path, int]] = {}
        """By slot: the file, and where in it the output of the attempt begins that runs or comes next."""
        self._cut: dict[int, tuple[int, int]] = {}
        """By slot: what has gone out of the middle of that: (where, how many bytes)."""

    def up(self, slot: int) -> None:
        """A new process: what its predecessor and its own start have written is no attempt's."""
        newest = self._newest(slot)
        self._begins[slot] = newest, _size(newest)
        self._cut.pop(slot, None)

    def ended(self, slot: int, log: tuple[str, int, int] | None) -> None:
        self._cut.pop(slot, None)
        if log is not None:
            file, offset, length = log
            self._begins[slot] = Path(file), offset + length

    def of_running(self, wanted: ReadOutput, slot: int | None) -> Output:
        """`slot`: where the attempt runs, None while it waits for its turn."""
        if slot is None:
            return Output(wanted.id, runs=True)
        file, begin = self._of_slot(slot)
        offset = wanted.offset
        at, gone = self._cut.get(slot, (0, 0))
        if offset > at:
            offset = max(at, offset - gone)
        data, missing = _read(file, begin + offset, wanted.size)
        return Output(wanted.id, data, missing, runs=True)

    def trim(self, slot: int, limit: int) -> None:
        """What the attempt that runs has written so far loses its middle, when it is far too long."""
        file, begin = self._of_slot(slot)
        if _size(file) - begin > 2 * limit and (gone := shorten(str(file), begin, limit, wait=False)):
            self._cut[slot] = limit // 2, self._cut.get(slot, (0, 0))[1] + gone

    def _of_slot(self, slot: int) -> tuple[Path, int]:
        newest = self._newest(slot)
        file, begin = self._begins.get(slot, (newest, 0))
        return (file, begin) if file == newest else (newest, 0)  # the one before was full

    def of_ended(self, wanted: ReadOutput) -> Output:
        return read_file(self._folder, wanted)

    def _newest(self, slot: int) -> Path:
        first = self.own / f"worker-{slot}.log"
        numbers = [path.suffixes[0][1:] for path in self.own.glob(f"worker-{slot}.*.log")]
        number = max((int(one) for one in numbers if one.isdigit()), default=0)
        return self.own / f"worker-{slot}.{number}.log" if number else first


def read_file(folder: Path, wanted: ReadOutput) -> Output:
    """Of an attempt that has ended, if its file is one of this folder."""
    file = Path(wanted.file)
    try:
        inside = file.resolve().is_relative_to(folder.resolve()) and file.suffix == ".log"
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        return Output(wanted.id, missing=f"{wanted.file!r:.200} is no output of a worker process")
    return Output(wanted.id, *_read(file, wanted.offset, wanted.size))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _read(file: Path, offset: int, size: int) -> tuple[bytes, str]:
    """(data, why there is none)."""
    try:
        with file.open("rb") as opened:
            opened.seek(offset)
            return opened.read(size), ""
    except (OSError, OverflowError) as error:
        return b"", f"{file} cannot be read: {getattr(error, 'strerror', None) or error}"
