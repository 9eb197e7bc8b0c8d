"""The client's side of the api, without I/O: requests until they are answered, runs until they have ended.

It knows the requests under way (each with an id, a deadline and the moment of its next repeat), the runs that its user
wants to see the end of, and the numbers of envelopes both ways. It knows nothing of pipelines, sockets or threads: a
shell gives it frames and the time, takes frames from it, and is told whose waiting may be over.

A request is repeated under the same id until it is answered, so that neither a lost envelope nor a restart of the
Router matters; `busy` postpones the repeat. After its deadline the request is answered here, with `Unreachable` or
`Busy`. While runs are followed a `Beat` goes out every two seconds. Whenever something may have been missed (another
epoch, a gap in the numbers, `Again`) there is one remedy: `Follow` for every run that has not ended.

A client is not a member: it says no `Hello`, and a Router that has forgotten it simply hears of its runs again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

import msgspec

from ..pipeline.errors import Busy, HeadraceError, NotFound, Refused, Unreachable
from ..pipeline.facts import RunError
from .protocol import (
    PROTOCOL,
    Again,
    Ask,
    Beat,
    Control,
    Done,
    Endings,
    Failed,
    Fetched,
    FetchValue,
    Follow,
    FromRouter,
    Inbound,
    Outbound,
    Pulse,
    Refuse,
    RunEnd,
    Submit,
    Submitted,
    Told,
    ToRouter,
    decode_outbound,
    encode,
)

logger = logging.getLogger(__name__)

Request = Submit | Follow | Control | Ask | FetchValue
Answer = Submitted | Endings | Done | Told | Fetched

NEWS = ""
"""The key of whoever waits for the end of any run."""
UNKNOWN = "unknown"
"""The kind of error of a run that the Router does not know."""
HEARTBEAT = 2.0
REPEAT = 1.0
PATIENT_REPEAT = 3.0
"""The repeat of a request that a Router which is alive has not answered: it is at work on it."""
LONGEST_BUSY = 2.0
FOLLOW_CHUNK = 10_000
FRAME_WEIGHT = 1 << 20
"""An envelope is closed when its messages weigh more bytes than this."""


class _Pending:
    """A request under way. `timer` is its one live entry among the timers."""

    __slots__ = ("busy", "deadline", "message", "queued", "refusals", "sent", "timer", "wanted")

    def __init__(self, message: Request, deadline: float, wanted: bool) -> None:
        self.message = message
        self.deadline = deadline
        self.wanted = wanted
        self.queued = True
        self.busy: Failed | None = None
        self.refusals = 0
        self.sent = float("-inf")
        self.timer = deadline


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
        self.silences = 0
        """How often the Router has left every beat of `timeout` seconds unanswered while runs were followed."""
        self.followed: dict[str, bool] = {}
        """Runs that have not ended; False while their submission is not acknowledged."""
        self._new_id = new_id
        self._ended = ended
        self._pending: dict[str, _Pending] = {}
        self._answers: dict[str, Answer | HeadraceError] = {}
        self._timers: list[tuple[float, str]] = []
        self._outbox: deque[ToRouter] = deque()
        self._sent = 0
        self._heard = float("-inf")
        self._next_beat = float("-inf")
        self._beats_unanswered = 0

    # What the user wants ---------------------------------------------------------------------------------------------

    def ask(self, message: Request, now: float, timeout: float | None = None) -> None:
        """Carry this request through. Its answer, or the error that stands for it, is there for `take` in the end."""
        if isinstance(message, Submit) and message.follow:
            for submission in message.submissions:
                self.followed.setdefault(submission.run, False)
        self._begin(message, now + (self.timeout if timeout is None else timeout), wanted=True)

    def take(self, request: str) -> Answer | HeadraceError | None:
        """The answer, handed out once; None while there is none."""
        return self._answers.pop(request, None)

    def forget(self, request: str) -> None:
        """Nobody waits for it any more. What it asked for may happen all the same."""
        self._answers.pop(request, None)
        pending = self._pending.pop(request, None)
        if pending and isinstance(pending.message, Submit):
            for submission in pending.message.submissions:
                if self.followed.get(submission.run) is False:
                    del self.followed[submission.run]

    def follow(self, runs: Iterable[str]) -> None:
        """Tell of the ends of these runs, at once of those that have ended."""
        fresh = list(runs)
        self.followed.update(dict.fromkeys(fresh, True))
        self._send_follow(fresh)

    def unfollow(self, run: str) -> None:
        self.followed.pop(run, None)

    # What the shell does ---------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next."""
        timers = self._timers
        while timers and not self._is_live(timers[0]):
            heappop(timers)
        first = timers[0][0] if timers else None
        if not self.followed:
            return first
        return self._next_beat if first is None else min(first, self._next_beat)

    def tick(self, now: float) -> list[str]:
        """Let time pass; the keys of those whose waiting may be over."""
        touched: list[str] = []
        while self._timers and self._timers[0][0] <= now:
            entry = heappop(self._timers)
            if self._is_live(entry):
                self._due(self._pending[entry[1]], now, touched)
        if self.followed and now >= self._next_beat:
            self._beat(now, touched)
        return touched

    def frame(self, now: float) -> bytes | None:
        """The next envelope to send. Asked for only when it can be sent: from then on its repeats are counted."""
        messages: list[ToRouter] = []
        weight = 0
        while self._outbox and weight < FRAME_WEIGHT:
            message = self._outbox.popleft()
            size = _weight(message)
            if messages and weight + size > FRAME_WEIGHT:
                self._outbox.appendleft(message)
                break
            if isinstance(message, Beat) or self._is_leaving(message, now):
                messages.append(message)
                weight += size
        if not messages:
            return None
        self._sent += 1
        return encode(Inbound(PROTOCOL, self.identity, self.session, self._sent, messages))

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
        """Every request has one live timer and is either on its way or waiting for its repeat; answers are final."""
        live = {entry[1] for entry in self._timers if self._is_live(entry)}
        assert live == set(self._pending), "a request without a timer would wait for ever"
        queued = {message.id for message in self._outbox if not isinstance(message, Beat) and hasattr(message, "id")}
        assert {key for key, one in self._pending.items() if one.queued} <= queued, "a queued request is in the outbox"
        assert not self._answers.keys() & self._pending.keys(), "what is answered is not under way"

    # Requests --------------------------------------------------------------------------------------------------------

    def _begin(self, message: Request, deadline: float, *, wanted: bool) -> None:
        pending = self._pending[message.id] = _Pending(message, deadline, wanted)
        heappush(self._timers, (pending.timer, message.id))
        self._outbox.append(message)

    def _is_live(self, entry: tuple[float, str]) -> bool:
        pending = self._pending.get(entry[1])
        return pending is not None and pending.timer == entry[0]

    def _set_timer(self, pending: _Pending, when: float) -> None:
        pending.timer = min(when, pending.deadline)
        heappush(self._timers, (pending.timer, pending.message.id))

    def _is_leaving(self, message: ToRouter, now: float) -> bool:
        """Note that a request goes out now; False when it is not wanted any more."""
        pending = self._pending.get(getattr(message, "id", ""))
        if pending is None or pending.message is not message or not pending.queued:
            return False
        pending.queued = False
        pending.busy = None
        pending.sent = now
        self._set_timer(pending, now + REPEAT)
        return True

    def _due(self, pending: _Pending, now: float, touched: list[str]) -> None:
        if now >= pending.deadline:
            self._finish(pending, self._too_late(pending), touched)
        elif pending.busy is None and self._heard > pending.sent and now < pending.sent + PATIENT_REPEAT:
            self._set_timer(pending, pending.sent + PATIENT_REPEAT)
        else:
            self._requeue(pending)

    def _requeue(self, pending: _Pending) -> None:
        if not pending.queued:
            pending.queued = True
            self._outbox.append(pending.message)
        self._set_timer(pending, pending.deadline)

    def _too_late(self, pending: _Pending) -> HeadraceError:
        if pending.busy:
            return Busy(pending.busy.reason, pending.busy.retry_after or 0.0)
        return Unreachable(self.address, self.timeout)

    def _finish(self, pending: _Pending, answer: Answer | HeadraceError, touched: list[str]) -> None:
        request = pending.message.id
        if isinstance(answer, HeadraceError):
            self.forget(request)
        else:
            del self._pending[request]
        if pending.wanted:
            self._answers[request] = answer
            touched.append(request)

    def _failed(self, pending: _Pending, message: Failed, now: float, touched: list[str]) -> None:
        if message.code != "busy":
            self._finish(pending, _error(pending.message, message), touched)
            return
        pending.busy = message
        pending.queued = False
        pending.refusals += 1
        pause = max(message.retry_after or 0.0, min(0.05 * 2**pending.refusals, LONGEST_BUSY))
        self._set_timer(pending, now + pause)

    # What comes ------------------------------------------------------------------------------------------------------

    def _compare(self, envelope: Outbound, now: float) -> None:
        """Whatever was missed is asked for again; of the requests only another Router needs to hear."""
        restarted = self.epoch is not None and envelope.epoch != self.epoch
        missing = self.epoch is not None and envelope.number != self.received + 1
        self.epoch = envelope.epoch
        self.received = envelope.number
        self._heard = now
        self._beats_unanswered = 0
        if restarted:
            logger.info("the Router at %s has restarted: asking again", self.address)
            for pending in self._pending.values():
                self._requeue(pending)
        if restarted or missing:
            self._follow_again()

    def _handle(self, message: FromRouter, now: float, touched: list[str]) -> None:
        match message:
            case Submitted() | Done() | Told() | Fetched():
                if pending := self._pending.get(message.id):
                    if isinstance(message, Submitted) and isinstance(pending.message, Submit):
                        self._submitted(pending.message, message)
                    self._finish(pending, message, touched)
            case Endings():
                self._endings(message, touched)
            case Failed():
                if pending := self._pending.get(message.id):
                    self._failed(pending, message, now, touched)
            case Again():
                self._follow_again()
            case Refuse():
                for pending in list(self._pending.values()):
                    self._finish(pending, Refused("refused", message.reason), touched)
            case Pulse():
                pass  # that it came is all there is to it
            case _:
                logger.debug("< %s is not for clients", message)

    # Runs ------------------------------------------------------------------------------------------------------------

    def _submitted(self, asked: Submit, told: Submitted) -> None:
        """The Router follows what it has newly accepted; of what was there before, the end may be told already."""
        if not asked.follow:
            return
        existing: list[str] = []
        for submission, receipt in zip(asked.submissions, told.receipts, strict=False):
            if receipt.ok and receipt.run == submission.run:
                if submission.run in self.followed:
                    self.followed[submission.run] = True
            else:
                self.followed.pop(submission.run, None)
            if receipt.ok and receipt.existed:
                existing.append(receipt.run)
        if existing:
            self.follow(existing)

    def _endings(self, message: Endings, touched: list[str]) -> None:
        if pending := self._pending.get(message.id):
            self._finish(pending, message, touched)
        for end in message.ends:
            self._end(end, touched)
        for run in message.unknown:
            if self.followed.get(run):
                reason = f"the Router at {self.address} does not know this run: was it pruned?"
                self._end(RunEnd(run, "failed", 0.0, 0.0, RunError(None, (), reason, kind=UNKNOWN)), touched)

    def _end(self, end: RunEnd, touched: list[str]) -> None:
        if self.followed.pop(end.run, None) is None:
            return
        self._ended(end)
        touched += (end.run, NEWS)

    def _follow_again(self) -> None:
        for pending in [one for one in self._pending.values() if isinstance(one.message, Follow)]:
            self.forget(pending.message.id)
        self._send_follow([run for run, acknowledged in self.followed.items() if acknowledged])

    def _send_follow(self, runs: list[str]) -> None:
        for start in range(0, len(runs), FOLLOW_CHUNK):
            message = Follow(self._new_id(), runs[start : start + FOLLOW_CHUNK])
            self._begin(message, float("inf"), wanted=False)

    def _beat(self, now: float, touched: list[str]) -> None:
        if self._beats_unanswered * HEARTBEAT >= self.timeout:
            self._beats_unanswered = 0
            self.silences += 1
            touched += (NEWS, *self.followed)
        self._beats_unanswered += 1
        self._next_beat = now + HEARTBEAT
        if not any(isinstance(message, Beat) for message in self._outbox):
            self._outbox.append(Beat(now, self.received))


def _weight(message: ToRouter) -> int:
    if not isinstance(message, Submit):
        return 100
    return sum(len(one.definition) + len(one.data or b"") + 200 for one in message.submissions)


def _error(request: Request, failed: Failed) -> HeadraceError:
    if failed.code == "not-found":
        name = request.want.run if isinstance(request, FetchValue) else getattr(request, "run", "")
        return NotFound("run", name, "" if failed.reason == f"there is no run {name!r}" else failed.reason)
    return Refused(failed.code, failed.reason)
