"""What the jobs of a local run have returned: kept in memory, packed, and given to whoever reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .facts import Path
from .payload import pack, unpack
from .task import Given, Input, Outcome, Supplied, Want

Kept = tuple[str, bytes]
"""How the instance ended, and its packed result."""


class LocalResults:
    """Answers for the values of one run (and of its sub-runs, by their own ids)."""

    def __init__(self, definition: bytes, data: bytes | None) -> None:
        self._definition = definition
        self._data = data
        self._jobs: dict[str, dict[Path, Kept]] = {}

    def put(self, job: str, path: Path, outcome: Outcome) -> None:
        skipped = outcome.signs is not None and outcome.signs.skip is not None
        packed = outcome.result
        if not packed and outcome.error is not None:
            packed = pack(outcome.error.record())
        self._jobs.setdefault(job, {})[path] = ("skipped" if skipped else outcome.kind, packed)

    def supplied(self, wanted: Input) -> Supplied:
        """An input with its bytes; a whole range of branches is asked for when it is read."""
        if wanted.many or wanted.kind == "run":
            return Supplied(wanted)
        _, packed = self._jobs.get(wanted.job, {}).get(wanted.path, ("", b""))
        return Supplied(wanted, packed or None, size=len(packed))

    def fetch(self, wants: Sequence[Want]) -> list[Given]:
        return [self._given(want) for want in wants]

    def _given(self, want: Want) -> Given:
        if want.kind == "definition":
            return Given((((), "success", self._definition, None),))
        if want.kind == "data":
            return Given((((), "success", self._data, None),))
        if want.kind == "value":
            return Given(missing="a local run keeps no references")
        if want.many:
            found = [(job, path, kept) for job in self._named(want.job) for path, kept in self._below(job, want.path)]
            values = tuple((path, kind, packed, None) for _, path, (kind, packed) in found)
            return Given(values, jobs=tuple(job for job, _, _ in found))
        kept = self._jobs.get(want.job, {}).get(want.path)
        if kept is None:
            return Given(missing=f"job {want.job!r} has no result")
        return Given(((want.path, *kept, None),))

    def _named(self, job: str) -> Iterable[str]:
        return [job] if job else sorted(self._jobs)

    def _below(self, job: str, path: Path) -> Iterator[tuple[Path, Kept]]:
        kept = self._jobs.get(job, {})
        return ((where, kept[where]) for where in sorted(kept) if where[: len(path)] == path)

    def unpacked(self, jobs: Iterable[tuple[str, bool]]) -> dict[str, Any]:
        """Per job (with branches or not) what it returned; of branches the list in index order."""
        results: dict[str, Any] = {}
        for job, branched in jobs:
            values = [unpack(packed) for _, (kind, packed) in self._below(job, ()) if kind == "success"]
            if branched:
                results[job] = values
            elif values:
                results[job] = values[0]
        return results
