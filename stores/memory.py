"""A store in this process's memory: for local runs, notebooks, and the tests of your own workers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from ..pipeline.payload import pack, unpack
from .document import MONITORING_KEPT, DocumentStore, Place, Saved


class MemoryStore(DocumentStore):
    """Nothing is shared with other processes: on a cluster every worker process would have one of its own.

    Results are kept packed, so that nobody can change what another has saved, and what cannot travel is refused.
    """

    def __init__(self, document: str | None = None, monitoring_kept: int = MONITORING_KEPT) -> None:
        super().__init__(document, monitoring_kept)
        self._lock = threading.Lock()
        self._documents: dict[str, dict[Place, tuple[str, bytes]]] = {}
        self._records: deque[bytes] = deque(maxlen=monitoring_kept)

    def _put(self, place: Place, fence: str, result: Any) -> str | None:
        packed = pack(result, "the result")
        with self._lock:
            places = self._documents.setdefault(place.document, {})
            if place in places and places[place][0] > fence:
                return places[place][0]
            places[place] = (fence, packed)
            return None

    def _get(self, place: Place) -> Saved | None:
        with self._lock:
            found = self._documents.get(place.document, {}).get(place)
        return found and _saved(place, *found)

    def _all(self, document: str) -> Iterable[Saved]:
        with self._lock:
            places = list(self._documents.get(document, {}).items())
        return (_saved(place, *found) for place, found in places)

    def _add_monitoring(self, record: dict[str, Any]) -> None:
        self._records.append(pack(record, "the monitoring record"))

    def _monitoring(self) -> list[dict[str, Any]]:
        return [unpack(record) for record in self._records]


def _saved(place: Place, fence: str, packed: bytes) -> Saved:
    return Saved(place.run, place.job, place.path, fence, unpack(packed))
