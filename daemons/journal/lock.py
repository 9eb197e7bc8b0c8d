"""The lock on a data folder: one Router at a time, for the life of its process.

The kernel holds it, so it goes with the process however that ends; the file stays and says whose it was.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ...pipeline.errors import JournalLocked

NAME = "router.lock"


class FolderLock:
    def __init__(self, folder: Path) -> None:
        """Raises `JournalLocked` naming the pid of the process that has the folder."""
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._file, 20, 0).strip()
            os.close(self._file)
            raise JournalLocked(str(folder), int(owner) if owner.isdigit() else None) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)
