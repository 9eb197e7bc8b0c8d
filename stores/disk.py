"""What stores need of a disk: names that any file system takes, locks between processes, writes that survive a cut."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

_LONGEST = 150


def filename(text: str) -> str:
    """Any text as one file name: readable where it can be, never hidden, never too long, never another text's."""
    quoted = quote(text, safe=" +,=@()[]{}", errors="surrogatepass")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) > _LONGEST:
        return f"{quoted[: _LONGEST - 33]}~{sha256(text.encode(errors='surrogatepass')).hexdigest()[:32]}"
    return quoted or "%"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else, in no process and no thread, holds the same lock file. A dead holder holds nothing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Down to the medium: macOS needs more than fsync for that."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, full)


def sync_folder(folder: Path | str) -> None:
    """New and changed names in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path | str, data: bytes) -> None:
    """The whole content of a file, on the medium."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        sync(file.fileno())


def replace(path: Path, data: bytes, temporary: Path) -> None:
    """Other processes, and this machine after a power cut, see either the old content or the new, never a mixture."""
    write_synced(temporary, data)
    os.replace(temporary, path)
    sync_folder(path.parent)
