"""A store that people can open in an editor: one JSON file per document.

Every save reads the file, changes it and replaces it, under a lock that holds between processes and is free when its
holder dies. That is plain and safe, and costs more the larger the document is: for runs of many thousand jobs take the
SQLiteStore.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from .disk import filename, locked, replace
from .document import MONITORING_KEPT, DocumentStore, Place, Saved
from .readable import dumps, from_readable, to_readable

MONITORING = "monitoring.jsonl"
_LOCKS = 64


class FileStore(DocumentStore):
    """Files `<folder>/<document>.json`; monitoring records are lines of `<folder>/monitoring.jsonl`."""

    faults = (OSError, ValueError)

    def __init__(
        self,
        folder: str | os.PathLike[str] = "results",
        document: str | None = None,
        monitoring_kept: int = MONITORING_KEPT,
    ) -> None:
        super().__init__(document, monitoring_kept)
        self.folder = Path(folder).absolute()
        self._locks = self.folder / ".locks"
        self._locks.mkdir(parents=True, exist_ok=True)

    def file(self, document: str) -> Path:
        """Where a document is."""
        return self.folder / f"{filename(document)}.json"

    def _put(self, place: Place, fence: str, result: Any) -> str | None:
        entry = {"fence": fence, "saved_at": datetime.now(UTC).isoformat(), "result": to_readable(result)}
        file = self.file(place.document)
        with locked(self._lock_of(file)):
            content = self._read(place.document)
            paths = content.setdefault("runs", {}).setdefault(place.run, {}).setdefault(place.job, {})
            known = paths.get(_path_text(place.path))
            if known is not None and known["fence"] > fence:
                return str(known["fence"])
            paths[_path_text(place.path)] = entry
            replace(file, dumps(content, indent=1).encode(), self.folder / f".{file.name}.new")
        return None

    def _get(self, place: Place) -> Saved | None:
        runs = self._read(place.document).get("runs", {})
        entry = runs.get(place.run, {}).get(place.job, {}).get(_path_text(place.path))
        return entry and Saved(place.run, place.job, place.path, entry["fence"], from_readable(entry["result"]))

    def _all(self, document: str) -> Iterable[Saved]:
        for run, jobs in self._read(document).get("runs", {}).items():
            for job, paths in jobs.items():
                for path, entry in paths.items():
                    yield Saved(run, job, _path(path), entry["fence"], from_readable(entry["result"]))

    def _read(self, document: str) -> dict[str, Any]:
        file = self.file(document)
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {"document": document}
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{file} is not JSON any more ({error}); mend it or move it away") from error
        if not isinstance(content, dict):
            raise ValueError(f"{file} is not a file of this store; move it away")
        return content

    def _lock_of(self, file: Path) -> Path:
        """A few lock files for all documents: nobody has to clean them up."""
        return self._locks / f"{crc32(file.name.encode()) % _LOCKS:02d}"

    # Monitoring -----------------------------------------------------------------------------------------------------

    def _add_monitoring(self, record: dict[str, Any]) -> None:
        file = self.folder / MONITORING
        line = f"{dumps(to_readable(record))}\n".encode()
        with locked(self._locks / "monitoring"):
            lines, torn = self._lines()
            if torn or len(lines) >= self.monitoring_kept + self.monitoring_kept // 10:
                kept = lines[len(lines) - self.monitoring_kept + 1 :] if len(lines) >= self.monitoring_kept else lines
                replace(file, b"".join([*kept, line]), self.folder / f".{MONITORING}.new")
            else:
                with open(file, "ab") as end:
                    end.write(line)

    def _monitoring(self) -> list[dict[str, Any]]:
        lines, _ = self._lines()
        return [from_readable(json.loads(line)) for line in lines[-self.monitoring_kept :]]

    def _lines(self) -> tuple[list[bytes], bool]:
        """The whole lines, and whether a crash has cut a last one short."""
        try:
            content = (self.folder / MONITORING).read_bytes()
        except FileNotFoundError:
            return [], False
        lines = content.splitlines(keepends=True)
        torn = bool(lines) and not lines[-1].endswith(b"\n")
        return (lines[:-1] if torn else lines), torn


def _path_text(path: tuple[int, ...]) -> str:
    return ".".join(map(str, path))


def _path(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("."))) if text else ()
