"""The output of a run's attempts, read piece by piece while they run and after they have ended.

What an attempt has written so far is asked of the Broker that runs it; once it has ended, its fact tells where its
output lies and how long it is, and what was not read before is read from there.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...pipeline.errors import HeadraceError, NotFound, ProtocolError
from ...pipeline.facts import Fact, Path, Returned
from ..protocol import OUTPUT_PART, Output, ReadOutput
from .conversation import Conversation, Flow
from .reading import ENDED, read_facts
from .requests import Answer

MOST = 200
"""Attempts that are followed at the same time, of those that run."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text that an attempt has written. The last one of an attempt says in `end` how that was.

    `missing`: why its output cannot be read; the last lines of a failed one are in `text` all the same.
    """

    job: str
    path: Path
    attempt: int
    place: str
    text: str
    end: str = ""
    missing: str = ""


class _Attempt:
    """How far the output of one attempt is read, and where the rest of it is."""

    def __init__(self, job: str, path: Path, attempt: int, place: str) -> None:
        self._names = job, path, attempt, place
        self._read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._end = self._file = self._tail = ""
        self._offset = 0
        self.left: int | None = None
        """Bytes that are still there, known when it has ended."""

    def close(self, fact: Returned) -> None:
        """It has ended."""
        self._file, self._offset, length = fact.log or ("", 0, 0)
        self._end = fact.kind
        self._tail = fact.error.log_tail if fact.error is not None else ""
        self.left = max(0, length - self._read)

    def wanted(self, request: str, run: str) -> ReadOutput:
        job, path, attempt, place = self._names
        at = self._offset + self._read
        size = OUTPUT_PART if self.left is None else min(self.left, OUTPUT_PART)  # what follows is another attempt's
        return ReadOutput(request, run, job, path, attempt, at, size, place=place, file=self._file)

    def take(self, answer: Output) -> tuple[Piece | None, bool]:
        """(what is new, whether there is more of it)."""
        missing = answer.missing
        self._read += len(answer.data)
        if self.left is None:
            full = len(answer.data) >= OUTPUT_PART
            return (self._piece(answer.data) if answer.data else None), full
        if not answer.data:
            missing = missing or "the file has become shorter"
            self.left = 0
        self.left = max(0, self.left - len(answer.data))
        return self._piece(answer.data, missing), self.left > 0

    def nothing_left(self) -> Piece:
        return self._piece(b"")

    def _piece(self, data: bytes, missing: str = "") -> Piece:
        last = self.left == 0
        text = self._decoder.decode(data, last)
        if last and not self._read:
            text = self._tail
        return Piece(*self._names, text, self._end if last else "", missing)


class OutputReader:
    """`job` None: of all jobs. Every `read` gives what is new since the last."""

    def __init__(self, conversation: Conversation, run: str, job: str | None = None) -> None:
        self._conversation = conversation
        self._run = run
        self._job = job
        self._last = 0
        self._open: dict[tuple[str, Path, int], _Attempt] = {}
        self._found = False
        self.ended = False
        """The run has ended, and all of its output was read."""

    def read(self, *, live: bool = True) -> Flow[list[Piece]]:
        """What has ended comes first, in the order of the facts; `live`: then what runs."""
        told = yield from self._conversation.ask("run", self._run)
        facts = yield from read_facts(self._conversation, self._run, self._last)
        if facts:
            self._last = facts[-1][0]
        attempts = self._ended(fact for _, fact in facts)
        if live:
            attempts += self._running(told.get("running", ()))
        pieces: list[Piece] = []
        while attempts:
            attempts = yield from self._parts(attempts, pieces)
        self.ended = told["state"] in ENDED
        if self._job is not None and not self._found and (self.ended or not live):
            raise NotFound("attempt of job", self._job, f"`headrace show {self._run}` lists the jobs")
        return pieces

    def _ended(self, facts: Iterable[Fact]) -> list[_Attempt]:
        found: list[_Attempt] = []
        for fact in facts:
            if isinstance(fact, Returned) and self._job in (None, fact.job):
                key = fact.job, fact.path, fact.attempt
                attempt = self._open.pop(key, None) or _Attempt(*key, fact.place)
                attempt.close(fact)
                found.append(attempt)
        self._found = self._found or bool(found)
        return found

    def _running(self, told: Iterable[list[Any]]) -> list[_Attempt]:
        found: list[_Attempt] = []
        for job, path, number, place, *_ in told:
            if self._job in (None, job) and len(found) < MOST:
                key = job, tuple(path), number
                found.append(self._open.setdefault(key, _Attempt(*key, place)))
        self._found = self._found or bool(found)
        return found

    def _parts(self, attempts: list[_Attempt], pieces: list[Piece]) -> Flow[list[_Attempt]]:
        """One part of each; those that have more."""
        more: list[_Attempt] = []
        asked: dict[str, _Attempt] = {}
        for attempt in attempts:
            if attempt.left == 0:
                pieces.append(attempt.nothing_left())
            else:
                asked[self._conversation.new_id()] = attempt

        def settle(wanted: ReadOutput, answer: Answer | HeadraceError) -> None:
            if isinstance(answer, HeadraceError):
                raise answer
            if not isinstance(answer, Output):
                raise ProtocolError(f"the Router answered a read with {type(answer).__name__}")
            attempt = asked[wanted.id]
            piece, again = attempt.take(answer)
            if piece is not None:
                pieces.append(piece)
            if again:
                more.append(attempt)

        wanted = [attempt.wanted(request, self._run) for request, attempt in asked.items()]
        yield from self._conversation.stream(wanted, settle)
        return more
