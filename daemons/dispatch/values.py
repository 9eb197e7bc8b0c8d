"""Large values, for those who cannot see the values folder: in chunks, undecoded."""

from __future__ import annotations

from pathlib import Path

from ...pipeline.errors import NotFound
from ...pipeline.task import Given
from ...stores.disk import filename
from ...stores.values import ValuesFolder

CHUNK = 4 * 1024 * 1024


class ValueReader:
    def __init__(self, folder: Path) -> None:
        self.folder = ValuesFolder(folder)

    def runs(self) -> list[str]:
        """The runs that have values."""
        return self.folder.runs()

    def last_written(self, run: str) -> float:
        """When the last value of a run was written, by the wall; never: it has none any more."""
        top = self.folder.path / filename(run)
        try:
            return max(path.stat().st_mtime for path in (top, *top.rglob("*")))
        except OSError:
            return float("inf")  # it is being written or removed just now

    def chunk(self, ref: str, offset: int) -> Given:
        """A part of a value; `next` is where the following part begins."""
        try:
            data = self.folder.read(ref, offset, CHUNK)
            size = self.folder.size(ref)
        except (OSError, ValueError) as error:
            raise NotFound("value", ref) from error
        end = offset + len(data)
        return Given((((), "success", data, None),), end if data and end < size else None)
