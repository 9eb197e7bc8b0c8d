"""The client's side of the api, without I/O: requests until they are answered, runs until they have ended.

It knows the requests under way (`pending`), the runs that its user wants to see the end of (`following`), and the
numbers of envelopes both ways. It knows nothing of pipelines, sockets or threads: a shell gives it frames and the time,
takes frames from it, and is told whose waiting may be over.

A request is repeated under the same id until it is answered, so that neither a lost envelope nor a restart of the
Router matters; `busy` postpones the repeat. After its deadline the request is answered here, with `Unreachable` or
`Busy`. While runs are followed a `Beat` goes out every two seconds. Whenever something may have been missed (another
epoch, a gap in the numbers, `Again`) there is one remedy: `Follow` for every run that has not ended.

A client is not a member: it says no `Hello`, and a Router that has forgotten it simply hears of its runs again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import msgspec

from ...pipeline.errors import HeadraceError, NotFound, Refused
from ..protocol import (
    PROTOCOL,
    Again,
    Beat,
    Done,
    Endings,
    Failed,
    Fetched,
    FetchValue,
    Follow,
    FromRouter,
    Inbound,
    Outbound,
    Output,
    Pulse,
    Refuse,
    RunEnd,
    Submit,
    Submitted,
    Told,
    decode_outbound,
    encode,
)
from .following import Following
from .pending import Pending, Request, UnderWay, too_late

logger = logging.getLogger(__name__)

Answer = Submitted | Endings | Done | Told | Fetched | Output

NEWS = ""
"""The key of whoever waits for the end of any run."""
FOLLOW_CHUNK = 10_000
FRAME_WEIGHT = 1 << 20
"""An envelope is closed when its messages weigh more bytes than this."""


class Requests:
    """`ended` is told of each end of a followed run, once; a run that the Router does not know ends with `UNKNOWN`."""

    def __init__(
        self,
        identity: str,
        session: str,
        address: str,
        *,
        new_id: Callable[[], str],
        ended: Callable[[RunEnd], None],
        timeout: float = 10.0,
    ) -> None:
        self.identity = identity
        self.session = session
        self.address = address
        self.timeout = timeout
        self.epoch: int | None = None
        self.received = 0
        self.malformed = 0
        self.following = Following(address, timeout, ended)
        self._new_id = new_id
        self._under_way = UnderWay()
        self._answers: dict[str, Answer | HeadraceError] = {}
        self._outbox: deque[Request | Beat] = deque()
        self._sent = 0
        self._heard = float("-inf")

    # What the user wants ---------------------------------------------------------------------------------------------

    def ask(self, message: Request, now: float, timeout: float | None = None) -> None:
        """Carry this request through. Its answer, or the error that stands for it, is there for `take` in the end."""
        if isinstance(message, Submit):
            self.following.submitted(message)
        self._begin(message, now + (self.timeout if timeout is None else timeout), wanted=True)

    def take(self, request: str) -> Answer | HeadraceError | None:
        """The answer, handed out once; None while there is none."""
        return self._answers.pop(request, None)

    def forget(self, request: str) -> None:
        """Nobody waits for it any more. What it asked for may happen all the same."""
        self._answers.pop(request, None)
        pending = self._under_way.remove(request)
        if pending and isinstance(pending.message, Submit) and (wanted := self.following.given_up(pending.message)):
            self.follow(wanted)

    def follow(self, runs: list[str]) -> None:
        """Tell of the ends of these runs, at once of those that have ended."""
        self.following.add(runs)
        for start in range(0, len(runs), FOLLOW_CHUNK):
            message = Follow(self._new_id(), runs[start : start + FOLLOW_CHUNK])
            self._begin(message, float("inf"), wanted=False)

    def unfollow(self, run: str) -> None:
        self.following.runs.pop(run, None)

    # What the shell does ---------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next."""
        first = self._under_way.next()
        if not self.following.runs:
            return first
        return self.following.next_beat if first is None else min(first, self.following.next_beat)

    def tick(self, now: float) -> list[str]:
        """Let time pass; the keys of those whose waiting may be over."""
        touched: list[str] = []
        for pending in self._under_way.due(now, self._heard):
            if now >= pending.deadline:
                self._finish(pending, too_late(pending, self.address, self.timeout), touched)
            else:
                self._queue(pending)
        if self.following.is_due(now):
            self._beat(now, touched)
        return touched

    def frame(self, now: float) -> bytes | None:
        """The next envelope to send. Asked for only when it can be sent: from then on its repeats are counted."""
        messages: list[Request | Beat] = []
        weight = 0
        while self._outbox and weight < FRAME_WEIGHT:
            message = self._outbox.popleft()
            size = _weight(message)
            if messages and weight + size > FRAME_WEIGHT:
                self._outbox.appendleft(message)
                break
            if isinstance(message, Beat) or self._under_way.leaves(message, now):
                messages.append(message)
                weight += size
        if not messages:
            return None
        self._sent += 1
        return encode(Inbound(PROTOCOL, self.identity, self.session, self._sent, [*messages]))

    @property
    def has_frame(self) -> bool:
        return bool(self._outbox)

    def feed(self, frame: bytes, now: float) -> list[str]:
        """A frame from the Router; the keys of those whose waiting may be over."""
        try:
            envelope = decode_outbound(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self.malformed += 1
            logger.warning("dropped a malformed envelope from %s: %s", self.address, error)
            return []
        if envelope.session not in {"", self.session}:
            return []
        self._compare(envelope, now)
        touched: list[str] = []
        for message in envelope.messages:
            self._handle(message, now, touched)
        return touched

    def validate(self) -> None:
        """A request is on its way or waits for its repeat, and has one timer; what is answered is not under way."""
        self._under_way.validate()
        queued = {message.id for message in self._outbox if not isinstance(message, Beat)}
        for pending in self._under_way:
            assert not pending.queued or pending.message.id in queued, "a queued request is in the outbox"
            assert pending.message.id not in self._answers, "what is answered is not under way"

    # Requests --------------------------------------------------------------------------------------------------------

    def _begin(self, message: Request, deadline: float, *, wanted: bool) -> None:
        self._under_way.add(message, deadline, wanted=wanted)
        self._outbox.append(message)

    def _queue(self, pending: Pending) -> None:
        if self._under_way.queue(pending):
            self._outbox.append(pending.message)

    def _finish(self, pending: Pending, answer: Answer | HeadraceError, touched: list[str]) -> None:
        request = pending.message.id
        if isinstance(answer, HeadraceError):
            self.forget(request)
        else:
            self._under_way.remove(request)
        if pending.wanted:
            self._answers[request] = answer
            touched.append(request)

    def _failed(self, pending: Pending, message: Failed, now: float, touched: list[str]) -> None:
        if message.code == "busy":
            self._under_way.postpone(pending, message, now)
        else:
            self._finish(pending, _error(pending.message, message), touched)

    # What comes ------------------------------------------------------------------------------------------------------

    def _compare(self, envelope: Outbound, now: float) -> None:
        """Whatever was missed is asked for again; of the requests only another Router needs to hear."""
        restarted = self.epoch is not None and envelope.epoch != self.epoch
        missing = self.epoch is not None and envelope.number != self.received + 1
        self.epoch = envelope.epoch
        self.received = envelope.number
        self._heard = now
        self.following.heard()
        if restarted:
            logger.info("the Router at %s has restarted: asking again", self.address)
            for pending in self._under_way:
                self._queue(pending)
        if restarted or missing:
            self._follow_again()

    def _handle(self, message: FromRouter, now: float, touched: list[str]) -> None:
        match message:
            case Submitted() | Done() | Told() | Fetched() | Output():
                if pending := self._under_way.get(message.id):
                    if isinstance(message, Submitted) and isinstance(pending.message, Submit):
                        self.follow(self.following.acknowledged(pending.message, message))
                    self._finish(pending, message, touched)
            case Endings():
                self._endings(message, touched)
            case Failed():
                if pending := self._under_way.get(message.id):
                    self._failed(pending, message, now, touched)
            case Again():
                self._follow_again()
            case Refuse():
                for pending in self._under_way:
                    self._finish(pending, Refused("refused", message.reason), touched)
            case Pulse():
                pass  # that it came is all there is to it
            case _:
                logger.debug("< %s is not for clients", message)

    # Runs ------------------------------------------------------------------------------------------------------------

    def _endings(self, message: Endings, touched: list[str]) -> None:
        if pending := self._under_way.get(message.id):
            self._finish(pending, message, touched)
        for end in message.ends:
            if self.following.end(end):
                touched += (end.run, NEWS)
        for run in message.unknown:
            if self.following.unknown(run):
                touched += (run, NEWS)

    def _follow_again(self) -> None:
        for pending in self._under_way:
            if isinstance(pending.message, Follow):
                self.forget(pending.message.id)
        self.follow(self.following.to_ask_after())

    def _beat(self, now: float, touched: list[str]) -> None:
        if self.following.beat(now):
            touched += (NEWS, *self.following.runs)
        if not any(isinstance(message, Beat) for message in self._outbox):
            self._outbox.append(Beat(now, self.received))


def _weight(message: Request | Beat) -> int:
    if not isinstance(message, Submit):
        return 100
    return sum(len(one.definition) + len(one.data or b"") + 200 for one in message.submissions)


def _error(request: Request, failed: Failed) -> HeadraceError:
    if failed.code == "not-found":
        if failed.missing is not None:
            return NotFound(*failed.missing)
        name = request.want.run if isinstance(request, FetchValue) else getattr(request, "run", "")
        return NotFound("run", name, failed.reason)
    return Refused(failed.code, failed.reason)
