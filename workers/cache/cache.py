"""The cache as attempts see it: look before the worker is called, keep what it has returned.

Neither ever fails a job. What cannot be found, compared, read or written is a reason in the attempt's note; the worker
is called as if there were no cache.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec.structs import replace

from ...pipeline.answers import Choose, Skip
from ...pipeline.canonical import digest
from ...pipeline.errors import JobError, ValueNotSupported
from ...pipeline.facts import CacheNote, Signs
from ...pipeline.payload import unpack
from ...pipeline.recipe import Recipe, details_of, difference
from ...pipeline.task import Assignment, Task
from ..runnable import Runnable
from .code import code_of
from .entry import Damaged, Entry
from .folder import CacheFolder, Found
from .sweeping import Bounds, sweep_when_due

Kind = Literal["hit", "miss", "refused", "damaged"]
LONGEST_REASON = 500
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
NEVER = "it never ran before, or never successfully"
GONE = "it ran before, and what was kept of that is gone: it was cleared, was not used for too long, or was damaged"
GRAFTS = "its answer grafts jobs into the run, and such an answer is not kept"

log = logging.getLogger(__name__)


class Asking(Protocol):
    """What the cache has to know of an attempt."""

    @property
    def assignment(self) -> Assignment: ...

    @property
    def task(self) -> Task: ...

    @property
    def runnable(self) -> Runnable: ...

    @property
    def data(self) -> Any: ...


class Look:
    """What came of one look."""

    __slots__ = ("answer", "found", "note", "recipe")

    def __init__(self, note: CacheNote, recipe: Recipe | None = None) -> None:
        self.note = note
        self.recipe = recipe
        """What the result will be made from; None: it cannot be kept."""
        self.found: Found | None = None
        self.answer: Any = None
        """The worker's answer as it was then, when that was asked for."""


class Cache:
    """The cache of one process. Nothing is read, and no folder made, before an attempt looks."""

    def __init__(self, path: str | os.PathLike[str], bounds: Bounds | None = None) -> None:
        self._folder = CacheFolder(path)
        self._bounds = bounds or Bounds()
        self._codes: dict[Runnable, dict[str, str]] = {}
        self._written = 0
        self._warned = False

    def look(self, attempt: Asking, value: Any, *, answer: bool) -> Look:
        """`value` is the input that `bind` made; with `answer` the earlier answer is made again."""
        try:
            return self._looked(attempt, value, answer)
        except (ValueNotSupported, JobError) as error:
            return Look(_note("refused", "", str(error)))
        except Exception as error:
            log.warning("%s: the cache could not be asked", attempt.assignment.attempt_key, exc_info=True)
            return Look(_note("refused", "", f"the cache could not be asked: {type(error).__name__}: {error}"))

    def keep(
        self, look: Look, attempt: Asking, packed: bytes, signs: Signs | None, took: float, source: Path | None
    ) -> None:
        """Keep the result of an attempt that has looked in vain. `source`: a file that holds the packed result."""
        recipe, note = look.recipe, look.note
        if recipe is None:
            return
        if signs is not None and signs.graft is not None:
            look.note = _note("refused", note.key, GRAFTS)
            return
        assignment = attempt.assignment
        entry = Entry(
            key=note.key,
            recipe=recipe,
            run=assignment.run,
            job=assignment.job,
            path=assignment.path,
            at=time.time(),
            duration=took,
            size=len(packed),
            signs=None if signs is None else Signs(spread=signs.spread, chosen=signs.chosen, skip=signs.skip),
        )
        try:
            self._written += self._folder.put(entry, packed, _places(attempt), source)
        except OSError as error:
            look.note = _note(note.kind, note.key, f"{note.reason}; its result could not be kept: {error}")
            self._complain("a result could not be kept", error)
        else:
            self._sweep()

    def _sweep(self) -> None:
        try:
            if sweep_when_due(self._folder, self._bounds, self._written):
                self._written = 0
        except OSError as error:
            self._complain("it could not be swept", error)

    def _complain(self, what: str, error: OSError) -> None:
        """Once per process: the rest stands in the notes of the attempts."""
        log.log(logging.DEBUG if self._warned else logging.WARNING, "cache %s: %s: %s", self._folder.path, what, error)
        self._warned = True

    # Looking ----------------------------------------------------------------------------------------------------------

    def _looked(self, attempt: Asking, value: Any, answer: bool) -> Look:
        task = attempt.task
        inputs = attempt.runnable.inputs(task.bind, value, attempt)
        recipe = Recipe(
            worker=task.worker,
            version=attempt.runnable.version,
            python=PYTHON,
            call=f"{task.bind}, spread" if task.spread else task.bind,
            code=self._code(attempt.runnable),
            inputs={name: digest(part, name) for name, part in inputs.items()},
        )
        key = recipe.key
        try:
            look = self._found(key, answer)
            if look is not None:
                return look
            damage = ""
        except Damaged as damaged:
            damage = f"what was kept of it was damaged, and is removed: {damaged}"
        recipe = replace(recipe, details=details_of(inputs))
        if damage:
            return Look(_note("damaged", key, damage), recipe)
        return Look(_note("miss", key, self._why_not(key, recipe, attempt)), recipe)

    def _found(self, key: str, answer: bool) -> Look | None:
        found = self._folder.get(key)
        if found is None:
            return None
        look = Look(_note("hit", key, f"the result of {found.entry.origin}"))
        look.found = found
        if answer:
            look.answer = _answer(found)
        return look

    def _code(self, runnable: Runnable) -> dict[str, str]:
        """Once per process: what it runs is what it has loaded."""
        known = self._codes.get(runnable)
        if known is None:
            known = self._codes[runnable] = {} if runnable.kind == "command" else code_of(runnable.target)
        return known

    def _why_not(self, key: str, recipe: Recipe, attempt: Asking) -> str:
        """What differs from the nearest earlier result: of this job and branch, else of this worker."""
        why = NEVER
        for place in _places(attempt):
            last = self._folder.last_at(place)
            entry = None if last is None else self._folder.peek(last)
            if entry is not None and last != key:
                return f"{difference(recipe, entry.recipe)} (compared with {entry.origin})"
            if last is not None:
                why = GONE
        return why


def _note(kind: Kind, key: str, reason: str) -> CacheNote:
    """It goes into the journal, so it is short."""
    return CacheNote(kind, key, reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…")


def _places(attempt: Asking) -> tuple[str, ...]:
    """Where the last result is remembered, the nearest place first."""
    assignment, worker = attempt.assignment, attempt.task.worker
    return "\0".join((worker, assignment.job, *map(str, assignment.path))), worker


def _answer(found: Found) -> Any:
    """What the worker has returned."""
    value, signs = unpack(found.packed), found.entry.signs
    if signs is not None and signs.skip is not None:
        return Skip(signs.skip)
    return value if signs is None or signs.chosen is None else Choose(signs.chosen, value)
