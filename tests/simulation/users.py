"""Clients: the pure core of the real client, and a user who does not give up.

What a user wants is asked until it is answered, under new request ids after each deadline, and by a new client after a
crash. So requests are repeated a lot, by the core and by the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.daemons.client.requests import Requests
from headrace.daemons.protocol import Ask, Control, Done, RunEnd, Submission, Submit, Submitted, Told
from headrace.pipeline.definition import pack_definition
from headrace.pipeline.errors import Busy, Unreachable
from headrace.pipeline.payload import unpack

from .clock import Machine
from .hosts import NEVER, Host
from .pipelines import ROLE
from .scenario import Action
from .violation import Violation

if TYPE_CHECKING:
    from .world import World

PAUSE = 0.5
"""Seconds between two tries of a user."""
UNKNOWN = "unknown"
PATIENCE = 40
"""Tries of a prune: the run may never end, or be opened again."""


class Wish:
    """An action, until it is fulfilled."""

    def __init__(self, action: Action, verb: str, run: str = "") -> None:
        self.action = action
        self.verb = verb
        self.run = run
        self.request = ""
        self.fulfilled = False
        self.tries = 0
        self.told = b""
        """Of a rerun: the definition."""


class User:
    """What stays when a client process dies: wishes, and what was learned."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.wishes: list[Wish] = []
        self.follows: set[str] = set()
        """Runs whose end the present client has to tell."""
        self.ends: dict[str, str] = {}


class ClientHost(Host):
    def __init__(self, world: World, machine: Machine, name: str, user: User) -> None:
        super().__init__(world, machine, name)
        self.user = user
        self.requests = Requests(
            world.new_id(), world.new_id(), "sim", new_id=world.new_id, ended=self._ended, timeout=6.0
        )  # fmt: skip
        self._retry: dict[int, float] = {}
        for wish in user.wishes:
            wish.request = ""
        if user.follows:
            self.requests.follow(sorted(user.follows))
        self.wake()

    def turn(self) -> float:
        now = self.machine.monotonic()
        while self.inbox:
            self.requests.feed(self.inbox.popleft(), now)
        self.requests.tick(now)
        for wish in self.user.wishes:
            if not wish.fulfilled:
                self._pursue(wish, now)
        while (frame := self.requests.frame(now)) is not None:
            self.sending()
            self.world.to_router(self, frame)
        left = [wish for wish in self.user.wishes if not wish.fulfilled and not wish.request]
        deadlines = [self._retry.get(id(wish), NEVER) for wish in left]
        return min([self.requests.next_deadline() or NEVER, *deadlines])

    def validate(self) -> None:
        self.requests.validate()

    def _pursue(self, wish: Wish, now: float) -> None:
        if not wish.request:
            if self._retry.get(id(wish), 0.0) > now:
                return
            if wish.verb == "follow" and wish.run not in self.world.history.acknowledged:
                self._wait_for(wish, now)
            else:
                self._ask(wish, now)
            return
        answer = self.requests.take(wish.request)
        if answer is None:
            return
        wish.request = ""
        self.world.trace(self.name, "user", answer)
        if isinstance(answer, Submitted):
            self._submitted(wish, answer)
        elif isinstance(answer, Done):
            wish.fulfilled = True
            self.world.fulfilled(wish)
        elif isinstance(answer, Told):
            self._told(wish, answer, now)
        elif isinstance(answer, Unreachable | Busy) or getattr(answer, "code", "") == "busy":
            self._retry[id(wish)] = now + PAUSE
        else:
            self._refused(wish, answer, now)

    def _wait_for(self, wish: Wish, now: float) -> None:
        """Nobody follows a run before he has heard of it."""
        wish.fulfilled = wish.run in self.world.refused
        self._retry[id(wish)] = now + PAUSE

    def _refused(self, wish: Wish, answer: Any, now: float) -> None:
        """Not found, as long as the submission has not come through; or over already."""
        code = getattr(answer, "code", "not-found")
        if code not in ("not-found", "conflict"):
            raise Violation("G8 answers", f"{wish.verb} {wish.run} was answered with {answer!r}")
        never = wish.run in self.world.refused or wish.run in self.world.history.pruned or wish.verb == "drain"
        if wish.verb == "prune" and code == "conflict":
            self._retry[id(wish)] = now + PAUSE  # it has not ended yet
            wish.tries += 1
            wish.fulfilled = wish.tries > PATIENCE
        elif code == "conflict" or never:
            wish.fulfilled = True
            if wish.verb in ("drain", "pause"):  # it may be carried out all the same, by one of its repeats
                self.world.fulfilled(wish)
        else:
            self._retry[id(wish)] = now + PAUSE

    def _ask(self, wish: Wish, now: float) -> None:
        wish.request = self.world.new_id()
        message: Any
        if wish.verb in ("submit", "again"):
            specs = [self.world.history.specs[run] for run in wish.action.runs]
            message = Submit(
                wish.request,
                [Submission(one.id, pack_definition(one.definition), one.options, one.data) for one in specs],
            )
        elif wish.verb == "follow":
            self.follow(wish.run)
            wish.fulfilled, wish.request = True, ""
            return
        elif wish.verb == "rerun" and wish.told:
            one = self.world.history.specs[wish.action.runs[1]]
            message = Submit(wish.request, [Submission(one.id, wish.told, one.options, one.data)])
        elif wish.verb == "rerun":
            message = Ask(wish.request, "definition", wish.run)
        elif wish.verb in ("drain", "undrain"):
            on = "on" if wish.verb == "drain" else "off"
            message = Control(wish.request, "drain", "", on, self.world.broker_machines[wish.action.number].name)
        elif wish.verb in ("halt", "unhalt"):
            role = None if wish.action.number else ROLE
            message = Control(wish.request, "pause" if wish.verb == "halt" else "resume", "", None, role)
        elif wish.verb == "sweep":
            message = Control(wish.request, "prune", "", None, "0.5")
        else:
            message = Control(wish.request, wish.verb, wish.run, f"{wish.verb} of the user")  # type: ignore[arg-type]
        self.world.trace(self.name, "router", message)
        self.requests.ask(message, now)

    def _told(self, wish: Wish, answer: Told, now: float) -> None:
        """The definition of a run, to be run again."""
        wish.told = unpack(answer.body)["definition"]
        if wish.told != pack_definition(self.world.history.specs[wish.run].definition):
            raise Violation("G1 nothing lost", f"run {wish.run} has another definition now")
        self._retry[id(wish)] = now

    def follow(self, run: str) -> None:
        self.user.follows.add(run)
        self.requests.follow([run])
        self.wake()

    def _submitted(self, wish: Wish, answer: Submitted) -> None:
        wish.fulfilled = True
        runs = wish.action.runs[1:] if wish.verb == "rerun" else wish.action.runs
        for run, receipt in zip(runs, answer.receipts, strict=True):
            if not receipt.ok or receipt.run != run:
                self.world.refused.add(run)
                self.world.history.note("a key was held")
            if receipt.ok:
                self.user.follows.add(receipt.run)

    def _ended(self, end: RunEnd) -> None:
        if end.error is not None and end.error.kind == UNKNOWN:
            if end.run in self.world.history.acknowledged:
                raise Violation("G1 nothing lost", f"client {self.name} was told that run {end.run} is unknown")
            self.user.follows.discard(end.run)
            return
        self.user.ends[end.run] = end.verdict
