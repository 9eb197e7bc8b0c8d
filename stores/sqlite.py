"""A store in one SQLite file: durable, quick, for any number of processes of one machine.

Results are JSON text (`readable`), so that the `sqlite3` command shows them. A save is one transaction in WAL mode: it
is on the disk when `save` returns. Not for a network folder: SQLite's locks do not hold there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .disk import locked
from .document import MONITORING_KEPT, DocumentStore, Place, Saved
from .readable import dumps, from_readable, to_readable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    document TEXT NOT NULL, run TEXT NOT NULL, job TEXT NOT NULL, path TEXT NOT NULL,
    fence TEXT NOT NULL, saved_at TEXT NOT NULL, result TEXT NOT NULL,
    PRIMARY KEY (document, run, job, path));
CREATE TABLE IF NOT EXISTS monitoring (number INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL);
"""
_PUT = """
INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (document, run, job, path) DO UPDATE
SET fence = excluded.fence, saved_at = excluded.saved_at, result = excluded.result WHERE excluded.fence >= fence
"""
_GET = "SELECT fence, result FROM results WHERE document = ? AND run = ? AND job = ? AND path = ?"
_ALL = "SELECT run, job, path, fence, result FROM results WHERE document = ?"
_MONITORING = "SELECT record FROM monitoring ORDER BY number DESC LIMIT ?"
_TRIM = "DELETE FROM monitoring WHERE number <= (SELECT max(number) FROM monitoring) - ?"


class SQLiteStore(DocumentStore):
    """Tables `results` and `monitoring` in the file `path`."""

    faults = (sqlite3.Error, OSError, ValueError)

    def __init__(
        self,
        path: str | os.PathLike[str] = "results.sqlite",
        document: str | None = None,
        monitoring_kept: int = MONITORING_KEPT,
        busy_timeout: float = 10.0,
    ) -> None:
        super().__init__(document, monitoring_kept)
        self.path = Path(path).absolute()
        self.busy_timeout = busy_timeout
        self._lock = threading.RLock()
        self._open: tuple[int, sqlite3.Connection] | None = None

    def close(self) -> None:
        with self._lock:
            if self._open is not None and self._open[0] == os.getpid():
                self._open[1].close()
            self._open = None

    def _put(self, place: Place, fence: str, result: Any) -> str | None:
        now = datetime.now(UTC).isoformat()
        key = _key(place)
        with self._lock, self._connection() as connection:
            if connection.execute(_PUT, (*key, fence, now, dumps(to_readable(result)))).rowcount:
                return None
            newer: str = connection.execute(_GET, key).fetchone()[0]
            return newer

    def _get(self, place: Place) -> Saved | None:
        with self._lock:
            found = self._connection().execute(_GET, _key(place)).fetchone()
        return found and Saved(place.run, place.job, place.path, found[0], from_readable(json.loads(found[1])))

    def _all(self, document: str) -> Iterable[Saved]:
        with self._lock:
            rows = self._connection().execute(_ALL, (document,)).fetchall()
        for run, job, path, fence, result in rows:
            yield Saved(run, job, tuple(map(int, path.split("."))) if path else (), fence, _read(result))

    def _add_monitoring(self, record: dict[str, Any]) -> None:
        with self._lock, self._connection() as connection:
            connection.execute("INSERT INTO monitoring (record) VALUES (?)", (dumps(to_readable(record)),))
            connection.execute(_TRIM, (self.monitoring_kept,))

    def _monitoring(self) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._connection().execute(_MONITORING, (self.monitoring_kept,)).fetchall()
        return [_read(record) for (record,) in reversed(rows)]

    def _connection(self) -> sqlite3.Connection:
        """One per process: a connection that came through a fork must not be used."""
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), self._connect())
        return self._open[1]

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=self.busy_timeout, check_same_thread=False)
        # The change to WAL does not wait for other processes that do the same: they take turns here.
        with locked(self.path.with_name(f"{self.path.name}.lock")):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        return connection


def _key(place: Place) -> tuple[str, str, str, str]:
    return place.document, place.run, place.job, ".".join(map(str, place.path))


def _read(text: str) -> Any:
    return from_readable(json.loads(text))
