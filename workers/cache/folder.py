"""The folder of the content cache: one file per entry, written once, read by any number of processes.

    entries/<2>/<key>            an entry, and the result when it is small
    entries/<2>/<key>~<sum>      a large result, where possible a hard link to its file in the values folder
    near/<2>/<place>             a symbolic link whose text is the key that was written last at this place
    damaged                      a line for every entry that could not be read and was removed
    swept                        touched by every sweep

Whoever writes an entry writes it under another name, synced, and links it to its own: the first one stays, nobody waits
for anybody, and a process that is killed leaves a file with a dot that a sweep removes. A power cut may take a name
that was just given, which costs a repeat, but no name has half a content. The time of change of an entry is that of its
last use.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from ...stores.disk import write_synced
from .entry import Damaged, Entry, pack_entry, unpack_entry

INLINE = 64 * 1024
"""A result above this has a file of its own."""
USED_EVERY = 3600.0
"""Seconds within which the use of an entry is noted once."""


@dataclass(frozen=True)
class Found:
    """An entry with its result, and the file that holds it when it is large."""

    entry: Entry
    packed: bytes
    file: Path | None = None


class CacheFolder:
    """The entries below one folder, which is made when something is written."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()

    # Reading ----------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Found | None:
        """The entry of that key. Raises `Damaged`, after it was removed."""
        try:
            entry = self._read(key, use=True)
        except ValueError as error:
            raise self._removed_damaged(key, str(error)) from error
        if entry is None or not entry.sum:
            return None if entry is None else Found(entry, entry.packed)
        file = self.large(key, entry.sum)
        try:
            packed = file.read_bytes()
        except FileNotFoundError:
            if not self.file(key).exists():
                return None  # a sweep was faster
            raise self._removed_damaged(key, "its result is gone") from None
        if sha256(packed).hexdigest() != entry.sum:
            raise self._removed_damaged(key, "its result is not what was written")
        return Found(entry, packed, file)

    def peek(self, key: str) -> Entry | None:
        """An entry to compare with; None when it is not there, or cannot be read."""
        try:
            return self._read(key)
        except (ValueError, OSError):
            return None

    def last_at(self, place: str) -> str | None:
        """The key that was written last at this place."""
        try:
            return os.readlink(self._near(place))
        except OSError:
            return None

    def damaged(self) -> list[str]:
        """A line for every entry that was removed because it could not be read."""
        try:
            return (self.path / "damaged").read_text("utf-8", "replace").splitlines()
        except OSError:
            return []

    def _read(self, key: str, use: bool = False) -> Entry | None:
        try:
            with open(self.file(key), "rb") as file:
                content = file.read()
                if use and time.time() - os.fstat(file.fileno()).st_mtime > USED_EVERY:
                    _note_use(file.fileno())
        except FileNotFoundError:
            return None
        return unpack_entry(content, key)

    def _removed_damaged(self, key: str, why: str) -> Damaged:
        try:
            self.remove(key)
            line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {key} {why}\n".encode("utf-8", "replace")
            with open(self.path / "damaged", "ab", buffering=0) as file:
                file.write(line)
        except OSError:  # a folder that takes no changes: the attempt's outcome tells it all the same
            pass
        return Damaged(why)

    # Writing ----------------------------------------------------------------------------------------------------------

    def put(self, entry: Entry, packed: bytes, places: tuple[str, ...], source: Path | None = None) -> int:
        """Keep a result, unless there is one already; how many bytes were written.

        `source`: a file with the same content, which nobody ever changes.
        """
        written = 0 if self.file(entry.key).exists() else self._write(entry, packed, source)
        for place in places:
            self._point(self._near(place), entry.key)
        return written

    def remove(self, key: str) -> None:
        """The entry first: a result without one is found by nobody."""
        self.file(key).unlink(missing_ok=True)
        for file in self.file(key).parent.glob(f"{key}~*"):
            file.unlink(missing_ok=True)

    def _write(self, entry: Entry, packed: bytes, source: Path | None) -> int:
        file = self.file(entry.key)
        file.parent.mkdir(parents=True, exist_ok=True)
        if len(packed) > INLINE:
            entry = msgspec.structs.replace(entry, sum=sha256(packed).hexdigest())
            large = self.large(entry.key, entry.sum)
            if source is None or not _linked(source, large):
                _write_once(large, packed)
        else:
            entry = msgspec.structs.replace(entry, packed=packed)
        content = pack_entry(entry)
        _write_once(file, content)
        return len(packed) + len(content)

    def _point(self, link: Path, key: str) -> None:
        """Not synced: losing it costs a sentence."""
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = _hidden(link)
        os.symlink(key, temporary)
        os.replace(temporary, link)

    # Where ------------------------------------------------------------------------------------------------------------

    def file(self, key: str) -> Path:
        return self.path / "entries" / key[:2] / key

    def large(self, key: str, sum: str) -> Path:
        return self.path / "entries" / key[:2] / f"{key}~{sum[:16]}"

    def _near(self, place: str) -> Path:
        name = sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:40]
        return self.path / "near" / name[:2] / name


def _hidden(file: Path) -> Path:
    """A name that nobody else writes to, in no process of no machine."""
    return file.with_name(f".{file.name}.{os.urandom(6).hex()}")


def _write_once(file: Path, content: bytes) -> None:
    """Whoever else has written the same meanwhile was first, and that is fine."""
    temporary = _hidden(file)
    try:
        write_synced(temporary, content)
        if not _linked(temporary, file):
            os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _linked(source: Path, file: Path) -> bool:
    """Give a file a second name. False: that cannot be done here."""
    try:
        os.link(source, file)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def _note_use(descriptor: int) -> None:
    try:
        os.utime(descriptor)
    except OSError:  # it is another user's: it may go sooner
        pass
