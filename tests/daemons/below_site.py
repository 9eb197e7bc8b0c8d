"""A cluster without time and network, for sub-runs: the Router's machine on a real journal, the Pipeliner's, and a toy
Broker. The Router can be killed in any turn, before or after its facts are on disk; nothing that it wanted to say then
is heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

from headrace import Pipeline
from headrace.daemons.charges import Charges
from headrace.daemons.dispatch.cluster import Rules
from headrace.daemons.dispatch.effects import Find, Load, Lookup, Record, Send
from headrace.daemons.dispatch.machine import Dispatch
from headrace.daemons.dispatch.restored import ended_run, found_below, restored
from headrace.daemons.journal.journal import Journal
from headrace.daemons.protocol import (
    BrokerCard,
    Control,
    Credit,
    Drop,
    Held,
    Hello,
    Kill,
    News,
    Noted,
    Outcomes,
    Run,
    Submission,
    Submit,
    Take,
    Welcome,
)
from headrace.pipeline.compile import data_of, definition_of, options_of
from headrace.pipeline.facts import Failure, Returned, Signs, unpack_fact
from headrace.pipeline.payload import pack
from headrace.pipeline.subruns import PREPARE
from headrace.pipeline.task import Assignment, Outcome

RUN = "top"
MOST_TURNS = 400


class Killed(Exception):
    """The Router has died."""


class Site:
    """`kill_at`: the Router dies in its turn of that number; `committed`: after its facts are on disk."""

    def __init__(self, folder: FilePath, pipeline: Pipeline, kill_at: int = 0, committed: bool = False) -> None:
        self.folder = folder
        self.submission = Submission(RUN, definition_of(pipeline), options_of(pipeline), data_of(pipeline))
        self.kill_at, self.committed = kill_at, committed
        self.turns = 0
        self.now = 100.0
        self.charges = Charges()
        self.held: dict[int, Assignment] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.executed: Counter[str] = Counter()
        self.fails: dict[str, int] = {}
        """By job: how many of its executions fail."""
        self.wishes: list[tuple[str, Callable[[Site], bool]]] = []
        """What the user asks for, when."""
        self.journal: Any = None
        self.start()

    # The Router -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.journal = Journal.open(self.folder, durability="process")
        journal = self.journal
        rules = Rules(gathering=0.0)
        self.dispatch = Dispatch(journal.epoch, journal.last, rules, Welcome(), self.now, 1e9)
        brokers = [identity for identity, _ in journal.registered()]
        self.dispatch.restore(restored(journal.open_runs(), self.now, 1e9), brokers, (), journal.paused())
        self.session = f"s{journal.epoch}"
        self.loads: list[Any] = []
        self.to_peers: list[tuple[str, Any]] = []
        held = tuple(
            Held(lease, one.run, one.job, one.path, one.attempt, one.round, one.worker, one.needs)
            for lease, one in self.held.items()
        )
        card = BrokerCard(2, ("W",))
        hello = Hello("broker", "host/b", card=card, held=held, outcomes=tuple(self.outcomes.values()))
        self.say("broker", hello)
        runs = self.charges.holding()
        self.charges.await_takes()
        self.say("pipeliner", Hello("pipeliner", "host/p", runs=runs))

    def say(self, peer: str, message: Any) -> None:
        self.dispatch.handle(peer, self.session, message)

    def turn(self) -> None:
        """One turn of everybody. Raises `Killed`."""
        self.turns += 1
        self.now += 0.01
        self.dispatch.at(self.now, 1e9 + self.now)
        self._read()
        self._peers()
        self._user()
        self.dispatch.tick()
        effects = self.dispatch.flush()
        self.dispatch.validate()
        records = [effect for effect in effects if isinstance(effect, Record)]
        if self.turns == self.kill_at and not self.committed:
            raise Killed
        if records:
            self.journal.commit(records)
            self.dispatch.on_disk(records)
        if self.turns == self.kill_at:
            raise Killed
        for effect in effects:
            if isinstance(effect, Send):
                self.to_peers.append((effect.peer, effect.message))
            elif isinstance(effect, Load | Lookup | Find):
                self.loads.append(effect)

    def _read(self) -> None:
        loads, self.loads = self.loads, []
        archive = self.journal.archive
        for load in loads:
            if isinstance(load, Load):
                definition = archive.definition(load.run) if load.definition else None
                self.dispatch.loaded(load.run, load.take, definition, archive.facts(load.run, load.after))
            elif isinstance(load, Find):
                self.dispatch.found(load, *found_below(archive, [load.child], self.now, 1e9)[load.child])
            else:
                self.dispatch.looked_up(load.peer, load.session, self._ended())

    def _ended(self) -> set[int]:
        archive = self.journal.archive
        places = {lease: (one.job, one.path, one.round, one.attempt) for lease, one in self.held.items()}
        return {lease for lease, place in places.items() if archive.ended(self.held[lease].run, [place])}

    # Its peers ------------------------------------------------------------------------------------------------------

    def _peers(self) -> None:
        messages, self.to_peers = self.to_peers, []
        for _, message in messages:
            match message:
                case Take() | News() | Drop():
                    self.charges.handle(message)
                case Run():
                    self.held.update({one.lease: one for one in message.assignments})
                case Kill():
                    self.outcomes.update(
                        {lease: Outcome(lease, "cancelled") for lease in message.leases if lease in self.held}
                    )
                case Noted():
                    for lease in message.leases:
                        self.held.pop(lease, None)
                        self.outcomes.pop(lease, None)
        for said in self.charges.flush():
            self.say("pipeliner", said)
        self.charges.validate()
        self._work()

    def _work(self) -> None:
        """One attempt is executed; what is not noted is said again."""
        waiting = [lease for lease in sorted(self.held) if lease not in self.outcomes]
        if waiting:
            lease = waiting[0]
            self.outcomes[lease] = self._outcome(self.held[lease])
        if self.outcomes:
            self.say("broker", Outcomes(list(self.outcomes.values())))
        free = max(0, 2 - len(self.held))
        self.say("broker", Credit(free, 0, max(self.held, default=self.dispatch.cluster.grants.last_lease)))

    def _outcome(self, one: Assignment) -> Outcome:
        name = one.job if one.worker == "W" else one.worker
        self.executed[name] += 1
        if one.worker == PREPARE:
            return Outcome(one.lease, result=pack({"item": 1}))
        if self.fails.get(name, 0) >= self.executed[name]:
            return Outcome(one.lease, "failed", error=Failure("ValueError", "boom"))
        signs = Signs(spread=2) if name == "list" else None
        return Outcome(one.lease, result=pack(name), signs=signs)

    # Its user -------------------------------------------------------------------------------------------------------

    def _user(self) -> None:
        archive = self.journal.archive
        if RUN not in self.dispatch.cluster.runs and archive.run(RUN) is None:
            self.dispatch.submit("client", Submit("ask", [self.submission]), {}, {})
        if not self.wishes or not self.wishes[0][1](self):
            return
        verb = self.wishes[0][0]
        control = Control(f"{verb} it", verb, RUN, "enough")  # type: ignore[arg-type]
        if verb == "retry":
            run = ended_run(archive, RUN, self.now, 1e9)
            assert run is not None
            self.dispatch.reopen("client", control, run)
        else:
            self.dispatch.control("client", control, {})

    def granted(self) -> None:
        """What the user has asked for is in the journal."""
        if self.wishes and self.journal.archive.answer(f"{self.wishes[0][0]} it") is not None:
            self.wishes.pop(0)

    # To the end -----------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        one = self.journal.archive.run(RUN)
        return one is not None and one.verdict is not None and not self.wishes and not self.dispatch.cluster.runs

    def run(self) -> None:
        """Until the run is over, its user has what he wanted, and nothing is open."""
        while not self.over:
            open_runs = self.dispatch.cluster.runs.values()
            assert self.turns < MOST_TURNS, [(run.id, list(run.live.values())) for run in open_runs]
            try:
                self.turn()
            except Killed:
                self.journal.close()
                self.start()
            self.granted()

    def facts(self, run: str = RUN) -> list[Any]:
        return [unpack_fact(body) for _, body in self.journal.archive.facts(run)]

    def successes(self) -> Counter[tuple[str, str, Any, int]]:
        """How often every instance has succeeded, by run, job, path and round."""
        found: Counter[tuple[str, str, Any, int]] = Counter()
        for one in self.journal.archive.runs(below=True):
            for fact in self.facts(one.run):
                if isinstance(fact, Returned) and fact.kind == "success":
                    found[one.run, fact.job, fact.path, fact.round] += 1
        return found
