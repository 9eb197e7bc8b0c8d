"""Reading: results and data that an attempt needs, from wherever they are.

A value comes with the attempt as bytes, or lies in the values folder under a reference, or has to be asked for. Bytes
are kept for a while, as many as `KEEP`; a value is unpacked anew for every attempt, so that branches never share what
one of them may change. Of a long list that was spread a branch unpacks its own element only.

Results are kept under the round of the reader: within a round an ended instance has one result and no other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any, Protocol

import msgspec

from ..pipeline.errors import JobError, NotFound, StoreError
from ..pipeline.facts import Failure, Path
from ..pipeline.inputs import ELEMENTS
from ..pipeline.names import HOOK_PREFIX
from ..pipeline.task import JOURNAL, Given, Input, Supplied, Want
from .ancestry import Ancestry
from .kept import Elements, Kept, elements_of, unpacked
from .runnable import NOTHING

KEEP = 32 * 1024 * 1024
LISTS = 4
RUNS = 32
AT_ONCE = 64
"""How many values are asked for before the first answer is awaited."""

Fetch = Callable[[Sequence[Want]], list[Given]]
Found = tuple[str, bytes | None, str | None]
"""(kind of end, packed value, reference)."""
ListKey = tuple[str, int, str, Path]
"""(run, round, job, path)."""
MISSING = object()
"""No result, where there was to be one."""


class Values(Protocol):
    """The values folder, as far as a worker process needs it."""

    def read(self, ref: str) -> bytes: ...

    def write(self, run: str, job: str, path: Path, lease: int, data: bytes, source: FilePath | None = None) -> str: ...

    def file(self, ref: str) -> FilePath: ...


class Reader:
    """Everything that one process reads."""

    def __init__(self, fetch: Fetch, values: Values | None = None, keep: int = KEEP) -> None:
        self._fetch = fetch
        self._values = values
        self._kept = Kept(keep)
        self._lists: OrderedDict[ListKey, Elements] = OrderedDict()
        self._runs: OrderedDict[str, Ancestry] = OrderedDict()

    # Values --------------------------------------------------------------------------------------------------------

    def supplied(self, run: str, turn: int, supplied: Supplied) -> Any:
        """The value of an input in round `turn`; `NOTHING` when its job was skipped."""
        wanted = supplied.input
        if wanted.many:
            return self._supplied_many(run, supplied)
        if wanted.kind == "skipped":
            return NOTHING
        at_hand = supplied.value is not None or supplied.ref is not None
        found = (wanted.kind, supplied.value, supplied.ref) if at_hand else None
        value = self._part(run, turn, wanted, found)
        if value is MISSING:
            raise _gone(wanted.job, wanted.path)
        return _judged(value) if wanted.kind == "failed" else value

    def result(self, run: str, turn: int, wanted: Input) -> Any:
        """The result of any ancestor; `NOTHING` when it has none."""
        if wanted.many:
            return self._many(run, wanted.job, wanted.path) or NOTHING
        value = self._part(run, turn, wanted, None)
        return NOTHING if value is MISSING else value

    def results(self, run: str) -> dict[str, Any]:
        """What the jobs of a whole run have returned, by name, for its hooks (which see nothing of each other); below a
        spread the list in index order."""
        ancestry = self.ancestry(run)
        collected: dict[str, Any] = {name: [] for name in ancestry.everything() if ancestry.branches(name)}
        for given in self._pages(Want(run, many=True)):
            for job, entry in zip(given.jobs, given.values, strict=True):
                if entry[1] != "success" or job.startswith(HOOK_PREFIX):
                    continue
                value = self._value(run, job, entry[1:])
                if entry[0]:
                    collected.setdefault(job, []).append(value)
                else:
                    collected[job] = value
        return collected

    def packed(self, run: str, ref: str) -> bytes:
        """The bytes behind a reference."""
        data = self._kept.get(ref)
        if data is None:
            data = self._from_folder(ref)
            if data is None:
                data = self._in_chunks(run, ref)
            self._kept.put(ref, data)
        return data

    def run_data(self, run: str, ref: str) -> bytes:
        """The data that a run was submitted with, when it is too large to come along."""
        if ref != JOURNAL:
            return self.packed(run, ref)
        data = self._kept.get((run, JOURNAL))
        if data is None:
            (given,) = self._fetch([Want(run, "data")])
            found = _first(given)
            if found is None or found[1] is None:
                raise JobError(f"the data of run {run} cannot be read: {given.missing or 'there is none'}")
            data = found[1]
            self._kept.put((run, JOURNAL), data)
        return data

    def keep(self, ref: str, data: bytes) -> None:
        """What was just written here will probably be read here."""
        self._kept.put(ref, data)

    def ancestry(self, run: str, job: str | None = None) -> Ancestry:
        """The graph of a run; read again when it does not know `job`, which may have been grafted."""
        known = self._runs.get(run)
        if known is None or (job is not None and job not in known):
            (given,) = self._fetch([Want(run, "definition")])
            packed = given.values[0][2] if given.values else None
            if packed is None:
                raise JobError(f"the definition of run {run} cannot be read: {given.missing or 'there is none'}")
            known = self._runs[run] = Ancestry(packed)
            if len(self._runs) > RUNS:
                self._runs.popitem(last=False)
        return known

    # How ------------------------------------------------------------------------------------------------------------

    def _value(self, run: str, job: str, found: Found) -> Any:
        kind, data, ref = found
        if kind == "skipped":
            return NOTHING
        if ref is not None and data is None:
            data = self.packed(run, ref)
        if not data:
            return None if kind == "success" else {"_traceback": "", "_error": kind}
        return unpacked(data, f"the result of job {job!r}")

    def _single(self, run: str, turn: int, job: str, path: Path) -> Found | None:
        key = (run, turn, job, path)
        data = self._kept.get(key)
        if data is not None:
            return "success", data, None
        (given,) = self._fetch([Want(run, job=job, path=path)])
        found = _first(given)
        if found and found[0] == "success" and found[1] is not None:
            self._kept.put(key, found[1])
        return found

    def _many(self, run: str, job: str, path: Path) -> list[Any]:
        entries = [entry for given in self._pages(Want(run, job=job, path=path, many=True)) for entry in given.values]
        values = [self._value(run, job, entry[1:]) for entry in entries]
        return [value for value in values if value is not NOTHING]

    def _pages(self, want: Want) -> Iterator[Given]:
        offset: int | None = 0
        while offset is not None:
            (given,) = self._fetch([msgspec.structs.replace(want, offset=offset)])
            yield given
            offset = given.next

    def _supplied_many(self, run: str, supplied: Supplied) -> Any:
        """The results of many instances as a list; those that were spread themselves are laid end to end."""
        values = self._listed(run, supplied)
        if supplied.input.kind == ELEMENTS:
            return [element for value in values for element in value]
        return values

    def _listed(self, run: str, supplied: Supplied) -> Any:
        wanted = supplied.input
        if supplied.value is not None or supplied.ref is not None:
            return self._value(run, wanted.job, ("success", supplied.value, supplied.ref))
        if wanted.keyed is None:
            return self._many(run, wanted.job, wanted.path)
        values: list[Any] = []
        answers = self._ask([Want(run, job=wanted.job, path=path) for path in wanted.keyed])
        for path, given in zip(wanted.keyed, answers, strict=True):
            found = _first(given)
            if found is None:
                raise _gone(wanted.job, path, given.missing)
            values.append(self._value(run, wanted.job, found))
        return [value for value in values if value is not NOTHING]

    def _ask(self, wants: Sequence[Want]) -> Iterator[Given]:
        for start in range(0, len(wants), AT_ONCE):
            yield from self._fetch(wants[start : start + AT_ONCE])

    def _part(self, run: str, turn: int, wanted: Input, found: Found | None) -> Any:
        """The result, or of a list that was spread the element that is wanted; `MISSING` when there is none."""
        where = f"the result of job {wanted.job!r}"
        key = run, turn, wanted.job, wanted.path
        elements = None if wanted.element is None else self._lists.get(key)
        if elements is None:
            found = found or self._single(*key)
            if found is None:
                return MISSING
            if wanted.element is None or found[0] != "success":
                return self._value(run, wanted.job, found)
            elements = self._spread(run, key, found, where)
        assert wanted.element is not None
        return elements.get(wanted.element, where)

    def _spread(self, run: str, key: ListKey, found: Found, where: str) -> Elements:
        """A list whose elements are wanted one by one, by one branch after the other."""
        _, data, ref = found
        elements = self._lists[key] = elements_of(self.packed(run, ref or "") if data is None else data, where)
        if len(self._lists) > LISTS:
            self._lists.popitem(last=False)
        return elements

    def _from_folder(self, ref: str) -> bytes | None:
        if self._values is None:
            return None
        try:
            return self._values.read(ref)
        except NotFound:
            return None
        except OSError as error:
            raise StoreError("the values folder", "read", str(error)) from error

    def _in_chunks(self, run: str, ref: str) -> bytes:
        data = bytearray()
        offset: int | None = 0
        while offset is not None:
            (given,) = self._fetch([Want(run, "value", offset=offset, ref=ref)])
            if not given.values or given.values[0][2] is None:
                raise JobError(f"the value {ref} cannot be read: {given.missing or 'it is not there'}")
            data += given.values[0][2]
            offset = given.next
        return bytes(data)


def _judged(value: Any) -> Any:
    """What a failed job hands over. One whose answer could not be honoured has ended well where it ran, and what is
    kept of it is its result, which counts no more."""
    if isinstance(value, dict) and "_error" in value:
        return value
    return Failure("InvalidAnswer", "it has succeeded, with an answer that could not be honoured").record()


def _first(given: Given) -> Found | None:
    return given.values[0][1:] if given.values else None


def _gone(job: str, path: Path, why: str | None = None) -> JobError:
    where = f"{job!r} {list(path)}" if path else repr(job)
    return JobError(f"the result of job {where} is not there any more" + (f": {why}" if why else ""))
