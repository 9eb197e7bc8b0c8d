"""What is read from the journal, in forms that say what is what."""

from __future__ import annotations

from typing import NamedTuple

from ...pipeline.facts import Failure, Path, RunError

Place = tuple[str, Path, int, int]
"""(job, path, round, attempt)."""


class Summary(NamedTuple):
    """One line about a run, ended or not."""

    number: int
    run: str
    title: str | None
    key: str | None
    state: str
    accepted: float
    active: bool
    control: int
    paused: bool
    cancelled: str | None
    ending: str | None
    round: int
    verdict: str | None
    ended: float | None
    duration: float | None
    error: RunError | None
    parent: str | None = None
    """The run that it belongs to."""


class Tombstone(NamedTuple):
    """What is left of a pruned run."""

    run: str
    key: str | None
    verdict: str
    accepted: float
    ended: float
    pruned: float


class Kept(NamedTuple):
    """How an instance ended, and what of it is kept: `value` packed, or `ref`, or (not a success) the failure; nothing
    of one that is `skipped`."""

    kind: str
    value: bytes | None
    ref: str | None
    size: int = 0
    error: Failure | None = None
    job: str = ""
    path: Path = ()


class Page(NamedTuple):
    """Results in index order; `next` is where to go on, None at the end."""

    entries: list[Kept]
    next: int | None
