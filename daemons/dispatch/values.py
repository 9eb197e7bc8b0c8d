"""Large values, for those who cannot see the values folder: in chunks, undecoded."""

from __future__ import annotations

from pathlib import Path

from ...pipeline.errors import NotFound
from ...pipeline.task import Given
from ...stores.values import ValuesFolder

CHUNK = 4 * 1024 * 1024


class ValueReader:
    def __init__(self, folder: Path) -> None:
        self.folder = ValuesFolder(folder)

    def chunk(self, ref: str, offset: int) -> Given:
        """A part of a value; `next` is where the following part begins."""
        try:
            data = self.folder.read(ref, offset, CHUNK)
            size = self.folder.size(ref)
        except (OSError, ValueError) as error:
            raise NotFound("value", ref) from error
        end = offset + len(data)
        return Given((((), "success", data, None),), end if data and end < size else None)
