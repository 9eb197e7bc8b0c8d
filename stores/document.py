"""Stores that keep results in documents: what memory, file, sqlite and mongo have in common.

A document holds the results of one run; its name is the run's id. With `document="id"` the pipeline's data names it
instead (`data={"id": "page-7"}`), so that several runs write to the same one and a later run finds what an earlier one
has left. In a document, every instance of a job has one place, (run, job, path), and the newest fence wins it.

A worker's input follows the rule in `required`, like the default store's: the saved results of the jobs upstream,
nearest first, then the data; in a shared document then whatever else was saved there, newest first. A result below a
spread is seen by its own branch and by those inside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ..pipeline.errors import MissingInput, StoreError, Superseded
from .base import Info, Store
from .required import required_input

MONITORING_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Where one result stands."""

    document: str
    run: str
    job: str
    path: tuple[int, ...] = ()

    def outward(self) -> Iterator[tuple[int, ...]]:
        """This path and those around it, nearest first."""
        return (self.path[:length] for length in range(len(self.path), -1, -1))


@dataclass(frozen=True, slots=True)
class Saved:
    """One result, as it was saved."""

    run: str
    job: str
    path: tuple[int, ...]
    fence: str
    result: Any


class DocumentStore(Store, ABC):
    """Base of our stores that keep things. A store is four methods below the line, and the exceptions it can die of."""

    faults: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, document: str | None = None, monitoring_kept: int = MONITORING_KEPT) -> None:
        super().__init__(document=document)
        self.document = document
        self.monitoring_kept = monitoring_kept

    def retrieve(self, info: Info) -> Any:
        place = self._place(info)
        elsewhere = (lambda: self._elsewhere(place)) if self.document else None
        try:
            upstream = info.get("upstream")
            results = self._of_run(place) if upstream is None else _Upstream(self, place, upstream)
            return required_input(info, results, elsewhere)
        except self.faults as error:
            self._failed("retrieve", error)

    def save(self, info: Info) -> None:
        place, fence = self._place(info), info.get("fence", "")
        try:
            newer = self._put(place, fence, info.get("worker_result"))
        except self.faults as error:
            self._failed("save", error)
        if newer is not None:
            raise Superseded(type(self).__name__, fence, newer)

    def save_monitoring(self, data: dict[str, Any]) -> None:
        try:
            self._add_monitoring(data)
        except self.faults as error:
            self._failed("save monitoring", error)

    def results(self, document: str) -> list[Saved]:
        """Everything that is saved in a document, newest first."""
        try:
            return sorted(self._all(document), key=lambda saved: saved.fence, reverse=True)
        except self.faults as error:
            self._failed("read", error)

    def monitoring(self) -> list[dict[str, Any]]:
        """The monitoring records that are kept, oldest first."""
        try:
            return self._monitoring()
        except self.faults as error:
            self._failed("read monitoring", error)

    # What each store does in its own way ----------------------------------------------------------------------------

    @abstractmethod
    def _put(self, place: Place, fence: str, result: Any) -> str | None:
        """Keep the result unless the place has a newer fence; then the answer is that fence. One step for everybody."""

    @abstractmethod
    def _get(self, place: Place) -> Saved | None:
        """What is saved at exactly this place."""

    @abstractmethod
    def _all(self, document: str) -> Iterable[Saved]:
        """Everything in the document, in any order."""

    @abstractmethod
    def _add_monitoring(self, record: dict[str, Any]) -> None:
        """Keep the record, and no more than about `monitoring_kept` of them."""

    @abstractmethod
    def _monitoring(self) -> list[dict[str, Any]]:
        """The newest records, oldest first."""

    # ----------------------------------------------------------------------------------------------------------------

    def _place(self, info: Info) -> Place:
        run = info.get("pipeline") or ""
        return Place(self._document(info, run), run, info.get("job") or info.get("worker", ""), info.get("path") or ())

    def _document(self, info: Info, run: str) -> str:
        if self.document is None:
            return run
        data = info.get("data")
        name = data.get(self.document) if isinstance(data, dict) else None
        if name is None:
            raise MissingInput(
                self.document, info.get("worker", "?"), f"the data; {type(self).__name__} names its document by it"
            )
        return str(name)

    def _of_run(self, place: Place) -> dict[str, Any]:
        """Called without `upstream`, by hand or in a test: everything saved in this run counts, newest first."""
        paths = set(place.outward())
        found: dict[str, Any] = {}
        for saved in self.results(place.document):
            if saved.run == place.run and saved.path in paths:
                found.setdefault(saved.job, saved.result)
        return found

    def _elsewhere(self, place: Place) -> Iterator[Any]:
        """Other results in a shared document; of this run's own branches only those around this one."""
        paths = set(place.outward())
        for saved in self.results(place.document):
            if saved.run != place.run or saved.path in paths:
                yield saved.result

    def _failed(self, operation: str, error: Exception) -> NoReturn:
        raise StoreError(type(self).__name__, operation, f"{type(error).__name__}: {error}") from error


class _Upstream(Mapping[str, Any]):
    """Results of the jobs upstream: what is saved here, else what came along (one from the cache was not saved)."""

    def __init__(self, store: DocumentStore, place: Place, given: Mapping[str, Any]) -> None:
        self._store = store
        self._place = place
        self._given = given

    @property
    def direct(self) -> tuple[str, ...]:
        return tuple(getattr(self._given, "direct", self._given))

    def __getitem__(self, job: str) -> Any:
        here = self._place
        for path in here.outward():
            saved = self._store._get(Place(here.document, here.run, job, path))
            if saved is not None:
                return saved.result
        return self._given[job]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)
