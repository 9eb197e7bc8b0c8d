"""What came of a run's looks into the cache, collected from its facts, and told in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .facts import CacheNote, Path, Returned

SHOWN = 100
"""Instances that are told one by one; of more there are only counts."""
_SAID = {
    "hit": "from the cache",
    "miss": "not in the cache",
    "refused": "cannot be kept",
    "damaged": "not in the cache",
}
_NONE = "nothing here has looked into the cache: no job with cache='content' has run"


class CacheReport(str):
    """As text, and in `entries` as maps with job, path, attempt, kind, key and reason."""

    entries: list[dict[str, Any]]

    @classmethod
    def of(cls, entries: list[dict[str, Any]], job: str | None = None) -> CacheReport:
        report = cls("\n".join(_lines(entries)) if entries else _none_of(job))
        report.entries = entries
        return report


class CacheNotes:
    """The last note of every instance."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, Path], tuple[int, CacheNote]] = {}

    @classmethod
    def of(cls, facts: Iterable[object]) -> CacheNotes:
        notes = cls()
        for fact in facts:
            if isinstance(fact, Returned):
                notes.add(fact)
        return notes

    def add(self, fact: Returned) -> None:
        if fact.cache is not None:
            self._notes[fact.job, tuple(fact.path)] = fact.attempt, fact.cache

    def include(self, below: CacheNotes, job: str) -> None:
        """Those of a sub-run, under the job that it is."""
        self._notes.update({(f"{job}/{name}", path): note for (name, path), note in below._notes.items()})

    def report(self, job: str | None = None) -> CacheReport:
        entries = [
            {"job": name, "path": list(path), "attempt": attempt, **_fields(note)}
            for (name, path), (attempt, note) in sorted(self._notes.items(), key=lambda one: one[0])
            if job in (None, name)
        ]
        return CacheReport.of(entries, job)


def _fields(note: CacheNote) -> dict[str, str]:
    return {"kind": note.kind, "key": note.key, "reason": note.reason}


def _lines(entries: list[dict[str, Any]]) -> list[str]:
    lines = []
    for entry in entries[:SHOWN]:
        where = f"{entry['job']} {entry['path']}" if entry["path"] else entry["job"]
        lines.append(f"{where}: {_SAID[entry['kind']]}: {entry['reason']}")
    if len(entries) > SHOWN:
        counted = Counter(_SAID[entry["kind"]] for entry in entries[SHOWN:])
        lines.append("and " + ", ".join(f"{number} more {said}" for said, number in counted.items()))
    return lines


def _none_of(job: str | None) -> str:
    if job is None:
        return _NONE
    return f"job {job!r} has not looked into the cache: it has no cache='content', or has not run"
