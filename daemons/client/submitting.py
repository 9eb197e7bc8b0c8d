"""Pipelines on their way to the Router: compiled, put into chunks, several chunks under way at once.

A chunk is acknowledged after the Router's commit: what was acknowledged runs, whatever happens to this process. Each
pipeline of a chunk has a receipt of its own, so that one that is refused keeps no other from running.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from ...pipeline.compile import data_of, definition_of, options_of
from ...pipeline.errors import DefinitionError, HeadraceError, ProtocolError
from ...pipeline.pipeline import Pipeline
from ..protocol import MAX_FRAME, Receipt, Submission, Submit, Submitted
from .book import Book
from .conversation import Conversation, Flow
from .requests import Answer

CHUNK = 256
CHUNK_BYTES = 256 * 1024
LARGEST = MAX_FRAME - (1 << 20)
OVERHEAD = 200
"""About what an id and the options of a pipeline take."""


class _Chunk:
    __slots__ = ("pipelines", "size", "submissions")

    def __init__(self) -> None:
        self.pipelines: list[Pipeline] = []
        self.submissions: list[Submission] = []
        self.size = 0

    @property
    def is_full(self) -> bool:
        return len(self.pipelines) >= CHUNK or self.size >= CHUNK_BYTES


class Submitter:
    def __init__(self, book: Book, conversation: Conversation) -> None:
        self._book = book
        self._conversation = conversation

    def submit_one(self, pipeline: Pipeline) -> Flow[None]:
        """One pipeline, by the shortest way."""
        chunk = _Chunk()
        self._add(chunk, pipeline)
        answer: Answer | None = None
        try:
            answer = yield from self._conversation.request(Submit(self._conversation.new_id(), chunk.submissions))
        finally:
            if answer is None:
                self._give_up(chunk)
        errors: list[Exception] = []
        self._settle(chunk, answer, errors)
        if errors:
            raise errors[0]

    def submit(self, pipelines: Iterable[Pipeline]) -> Flow[list[Pipeline]]:
        """All that can be started is, and has its id then; after that the first thing that went wrong is raised."""
        given: list[Pipeline] = []
        errors: list[Exception] = []
        under_way: dict[str, _Chunk] = {}

        def messages() -> Iterator[Submit]:
            for chunk in self._chunks(pipelines, given, errors):
                message = Submit(self._conversation.new_id(), chunk.submissions)
                under_way[message.id] = chunk
                yield message
                if errors:
                    return

        def settle(message: Submit, answer: Answer | HeadraceError) -> None:
            self._settle(under_way.pop(message.id), answer, errors)

        try:
            yield from self._conversation.stream(messages(), settle)
        finally:
            for chunk in under_way.values():
                self._give_up(chunk)
        if errors:
            raise errors[0]
        return given

    def _chunks(
        self, pipelines: Iterable[Pipeline], given: list[Pipeline], errors: list[Exception]
    ) -> Iterator[_Chunk]:
        """What cannot be compiled, or not be sent, ends the row; what stands before it is started."""
        chunk = _Chunk()
        try:
            for pipeline in pipelines:
                self._add(chunk, pipeline)
                given.append(pipeline)
                if chunk.is_full:
                    full, chunk = chunk, _Chunk()
                    yield full
        except (ValueError, TypeError, HeadraceError) as error:
            errors.append(error)
        except BaseException:
            for pipeline in chunk.pipelines:
                self._book.drop(pipeline)
            raise
        if chunk.pipelines:
            yield chunk

    def _add(self, chunk: _Chunk, pipeline: Pipeline) -> None:
        run = self._book.begin(pipeline)
        try:
            submission = Submission(run, definition_of(pipeline), options_of(pipeline), data_of(pipeline))
            size = len(submission.definition) + len(submission.data or b"") + OVERHEAD
            if size > LARGEST:
                raise DefinitionError(
                    f"{pipeline!r:.200} takes {size / 1e6:.0f} MB on its way, and {LARGEST / 1e6:.0f} MB is the most: "
                    "put large data into a store or a file, and only its name into the pipeline"
                )
        except BaseException:
            self._book.drop(pipeline)
            raise
        chunk.pipelines.append(pipeline)
        chunk.submissions.append(submission)
        chunk.size += size

    def _settle(self, chunk: _Chunk, answer: Answer | HeadraceError, errors: list[Exception]) -> None:
        try:
            receipts = receipts_of(answer, len(chunk.pipelines))
        except HeadraceError as error:
            self._give_up(chunk)
            errors.append(error)
            return
        now = time.time()
        for pipeline, receipt in zip(chunk.pipelines, receipts, strict=True):
            if refused := self._book.acknowledge(pipeline, receipt, now):
                errors.append(refused)

    def _give_up(self, chunk: _Chunk) -> None:
        for pipeline, submission in zip(chunk.pipelines, chunk.submissions, strict=True):
            self._book.give_up(pipeline, submission.run)


def receipts_of(answer: Answer | HeadraceError, count: int) -> list[Receipt]:
    """The receipts in an answer to `Submit`; raises what stands there instead."""
    if isinstance(answer, HeadraceError):
        raise answer
    if not isinstance(answer, Submitted) or len(answer.receipts) != count:
        raise ProtocolError(f"the Router answered a submission of {count} pipelines with {answer}")
    return answer.receipts
