"""What a client says to the Router, written once for both shells.

A *flow* is a generator that works with the pure core and yields a `Wait` whenever it can go no further: until a key is
touched (a request is answered, a run has ended) or until a moment, whichever comes first. The blocking shell polls its
socket in the meantime, the asyncio shell lets others run; neither knows what it is that they wait for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from ...pipeline.errors import HeadraceError, ProtocolError, Unreachable
from ...pipeline.payload import unpack
from ...pipeline.task import Given, Want
from ..protocol import Ask, Control, Done, Fetched, FetchValue, Told
from .pending import Request
from .requests import NEWS, Answer, Requests

T = TypeVar("T")
R = TypeVar("R", bound=Request)
Verb = Literal["cancel", "pause", "resume", "retry", "prune", "drain"]
Question = Literal["config", "status", "runs", "run", "facts", "events", "definition", "explain"]
Settle: TypeAlias = Callable[[R, Answer | HeadraceError], None]

WINDOW = 16
"""Requests of one flow that are under way at the same time."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on when `key` is touched, or at `until`; too early is harmless."""

    key: str
    until: float | None = None


Flow: TypeAlias = Generator[Wait, None, T]


class Conversation:
    def __init__(self, requests: Requests, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self.requests = requests
        self.clock = clock
        self.new_id = new_id

    def request(self, message: Request) -> Flow[Answer]:
        """Ask, wait, and return the answer or raise what stands for it."""
        self.requests.ask(message, self.clock())
        try:
            answer = yield from self._answer(message.id)
        finally:
            self.requests.forget(message.id)
        if isinstance(answer, HeadraceError):
            raise answer
        return answer

    def stream(self, messages: Iterable[R], settle: Settle[R], window: int = WINDOW) -> Flow[None]:
        """Ask all of these, up to `window` at once; `settle` gets every answer, or error, in the order of asking."""
        waiting: deque[R] = deque()
        try:
            for message in messages:
                self.requests.ask(message, self.clock())
                waiting.append(message)
                yield Wait(message.id, self.clock())
                if len(waiting) >= window:
                    settle(waiting[0], (yield from self._answer(waiting[0].id)))
                    waiting.popleft()
            while waiting:
                settle(waiting[0], (yield from self._answer(waiting[0].id)))
                waiting.popleft()
        finally:
            for message in waiting:
                self.requests.forget(message.id)

    def _answer(self, request: str) -> Flow[Answer | HeadraceError]:
        while (answer := self.requests.take(request)) is None:
            yield Wait(request)
        return answer

    def ask(self, what: Question, run: str = "", **argument: str | float | bool | None) -> Flow[dict[str, Any]]:
        bodies = yield from self.ask_all([Ask(self.new_id(), what, run, argument)])
        return bodies[0]

    def ask_all(self, questions: list[Ask]) -> Flow[list[dict[str, Any]]]:
        """Ask all of these in one breath: they are answered in this order, with nothing in between."""
        bodies: list[dict[str, Any]] = []
        for question in questions:
            self.requests.ask(question, self.clock())
        try:
            for question in questions:
                answer = yield from self._answer(question.id)
                if isinstance(answer, HeadraceError):
                    raise answer
                bodies.append(_body(question, answer))
        finally:
            for question in questions:
                self.requests.forget(question.id)
        return bodies

    def control(self, verb: Verb, run: str = "", reason: str | None = None, argument: str | None = None) -> Flow[str]:
        done = yield from self.request(Control(self.new_id(), verb, run, reason, argument))
        if not isinstance(done, Done):
            raise ProtocolError(f"the Router answered {verb!r} with {type(done).__name__}")
        return done.text

    def fetch(self, wants: Iterable[Want], settle: Callable[[Want, Given], None], window: int = 256) -> Flow[None]:
        """Read these values; `settle` gets the first page of each."""

        def settled(message: FetchValue, answer: Answer | HeadraceError) -> None:
            if isinstance(answer, HeadraceError):
                raise answer
            if not isinstance(answer, Fetched):
                raise ProtocolError(f"the Router answered a read with {type(answer).__name__}")
            settle(message.want, answer.given)

        yield from self.stream((FetchValue(self.new_id(), want) for want in wants), settled, window)

    def fetch_one(self, want: Want) -> Flow[Given]:
        pages: list[Given] = []
        yield from self.fetch([want], lambda _, given: pages.append(given))
        return pages[0]

    def listen(self, key: str, is_over: Callable[[], bool], until: float | None) -> Flow[bool]:
        """Wait until `is_over`, or until that moment; raises `Unreachable` when the Router falls silent meanwhile."""
        silences = self.requests.following.silences
        while not is_over():
            if self.requests.following.silences != silences:
                raise Unreachable(self.requests.address, self.requests.timeout)
            if until is not None and self.clock() >= until:
                return False
            yield Wait(key, until)
        return True


def _body(question: Ask, told: Answer) -> dict[str, Any]:
    if not isinstance(told, Told):
        raise ProtocolError(f"the Router answered {question.what!r} with {type(told).__name__}")
    body = unpack(told.body)
    if not isinstance(body, dict):
        raise ProtocolError(f"the Router answered {question.what!r} with a {type(body).__name__}, not a map")
    return body


__all__ = ["NEWS", "Conversation", "Flow", "Wait"]
