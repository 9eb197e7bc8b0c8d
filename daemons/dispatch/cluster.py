"""What the Router knows at this moment: the open runs, who is there, what is queued and leased, and the turn's effects.

The parts of the machine (`admission`, `tracking`, `leasing`) share it. Facts and messages leave through `record` and
`send` only, in the order in which they were decided.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from ...pipeline.facts import Fact, Finished, Pruned, RunError, Verdict, pack_fact
from ..protocol import Endings, FromRouter, News, RunEnd, Welcome
from .effects import Record, RouterEffect, Send
from .grants import Grants, ResultCache
from .items import ON_LEASE, Item, Key, State
from .members import BrokerMember, PipelinerMember
from .queues import Queues, Shape
from .recalls import Recalls
from .runs import OpenRun
from .timers import Timers, What

COUNTED = (
    "accepted", "finished", "returned", "cached", "not cached", "damaged in the cache",
    "refused outcomes", "malformed", "failures",
)  # fmt: skip
"""What is counted since the start. `cached`: attempts whose result came from the cache; `not cached`: those that had
looked there first. `malformed`: messages that are none; `failures`: those that could not be handled."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers that the machine goes by. Seconds, bytes and counts."""

    heartbeat: float = 2.0
    lease_time: float = 8.0
    hand_on: float = 9.0
    """A Broker that was not heard of for this long has lost its leases; it has killed its jobs by then."""
    silent: float = 6.0
    """A Pipeliner that was not heard of for this long has lost its runs."""
    window: int = 2000
    """How much of one run may be queued and leased at a time."""
    open_runs: int = 200_000
    inline_data: int = 16 * 1024
    """Run data above this is not sent with every attempt: workers ask for it once."""
    cached_results: int = 64 * 1024 * 1024
    gathering: float = 1.0
    """After a restart with open runs: how long Pipeliners may take to come back for theirs."""
    lost_takes: int = 3
    limits: dict[str, int] = field(default_factory=dict)


class Known(msgspec.Struct, frozen=True):
    """What the journal knows of a run that is not open."""

    run: str
    verdict: Verdict | None
    error: RunError | None = None
    duration: float = 0.0
    at: float = 0.0
    key: str | None = None
    digest: bytes = b""
    """Of everything that was submitted; empty: nobody knows any more."""


Answer = tuple[str, bytes, bytes]
"""A request that a fact carries out: its id, a digest of it, and what was answered."""


class Cluster:
    def __init__(self, epoch: int, last: int, rules: Rules, welcome: Welcome, now: float, wall: float) -> None:
        self.epoch = epoch
        self.last = last
        """The last fact's sequence."""
        self.began = last
        """Facts above this are this epoch's own."""
        self.synced = last
        """Facts up to this are on disk."""
        self.rest_on = last
        """Grants rest on this fact. On most facts they do not: what may start follows from what is on disk. But the
        work of a Broker that was given up must not go to another while the next epoch could believe the first one."""
        self._held: deque[tuple[int, list[Send]]] = deque()
        """Grants that rest on a fact which is not on disk, in order, with that fact. They wait here, and not with what
        else waits for the disk, to be let go when their Broker greets anew: what it does not list is not there, and
        must not come after its greeting."""
        self.began_at = now
        self.rules = rules
        self.welcome = welcome
        self.now = now
        self.wall = wall
        self.stalled = ""
        """Why no facts can be taken now, when the disk does not take them."""
        self.runs: dict[str, OpenRun] = {}
        self.ended: dict[str, Known] = {}
        """Runs that are over, until their end is on disk and the journal can tell it."""
        self.pruned: set[str] = set()
        """Runs that are pruned, until that is on disk: the journal still shows them as ended."""
        self.promised: set[str] = set()
        """Ids of sub-runs that are opened or about to be: nobody else is given one of them."""
        self.keys: dict[str, str] = {}
        """By key: the newest run that has it, among those that are open or in `ended`."""
        self.brokers: dict[str, BrokerMember] = {}
        self.pipeliners: dict[str, PipelinerMember] = {}
        self.timers = Timers(self._is_over)
        self.queues = Queues(rules.limits)
        self.results = ResultCache(rules.cached_results)
        self.grants = Grants(epoch, self.queues, self.results)
        self.recalls = Recalls(self.queues)
        self._look_at = float("inf")
        """When the turn is waited for in which recalls are looked at again."""
        self.counts = dict.fromkeys(COUNTED, 0)
        self.answered: dict[str, tuple[bytes, bytes]] = {}
        """Requests that facts of this turn carry out: a digest of each, and its answer."""
        self._effects: list[RouterEffect] = []
        self._news: dict[str, list[tuple[int, bytes]]] = {}
        self._ends: dict[str, list[RunEnd]] = {}

    def at(self, now: float, wall: float) -> None:
        """The turn's time: monotonic, and of the wall. If we ourselves were away, nobody else was silent."""
        away = now - self.now - self.rules.heartbeat
        if away > 0:
            for broker in self.brokers.values():
                broker.heard += away
            for pipeliner in self.pipeliners.values():
                pipeliner.heard += away
        self.now = now
        self.wall = wall

    def _is_over(self, what: What) -> bool:
        """Nobody needs to be told: the item or run that this timer is about has ended."""
        subject = what[1]
        if isinstance(subject, Item):
            return subject.state is State.ENDED
        return subject is not None and subject not in self.runs

    # Out --------------------------------------------------------------------------------------------------------

    def record(
        self,
        run: OpenRun | None,
        fact: Fact,
        *,
        result: bytes = b"",
        definition: bytes | None = None,
        data: bytes | None = None,
        key: Key | None = None,
        answer: Answer | None = None,
    ) -> None:
        """Put the fact into the journal's order, and on its way to whoever tracks the run."""
        self.last += 1
        packed = pack_fact(fact)
        self._effects.append(Record(self.last, run.id if run else None, fact, result, definition, data, packed, answer))
        if answer is not None:
            self.answered[answer[0]] = answer[1:]
        if run is None:
            return
        run.last = self.last
        if key is not None:
            run.unseen.pop(key, None)
            run.unseen[key] = self.last
        if run.owner is not None or run.definition is not None:
            self._news.setdefault(run.id, []).append((self.last, packed))

    def send(self, peer: str, message: FromRouter) -> None:
        self._effects.append(Send(peer, message))

    def send_now(self, peer: str, message: FromRouter) -> None:
        """A message that rests on no fact: it does not wait for the disk."""
        self._effects.append(Send(peer, message, rests=False))

    def ask(self, effect: RouterEffect) -> None:
        self._effects.append(effect)

    def on_disk(self, records: Iterable[Record]) -> None:
        """These can be read from the journal from now on."""
        for record in records:
            self.synced = record.sequence
            if type(record.fact) is Pruned:
                self.pruned.discard(record.fact.run)
            over = self.ended.pop(str(record.run), None) if type(record.fact) is Finished else None
            if over is not None and over.key is not None and self.keys.get(over.key) == over.run:
                del self.keys[over.key]

    def count_cache(self, kind: str) -> None:
        """An attempt has looked into the cache."""
        self.counts["cached" if kind == "hit" else "not cached"] += 1
        if kind == "damaged":
            self.counts["damaged in the cache"] += 1

    def tell_end(self, client: str, end: RunEnd) -> None:
        self._ends.setdefault(client, []).append(end)

    @property
    def has_effects(self) -> bool:
        """Something was decided since the last flush."""
        return bool(self._effects)

    def take_news(self, run: OpenRun) -> list[tuple[int, bytes]]:
        """The turn's facts of this run that its owner has not been told yet."""
        return self._news.pop(run.id, [])

    def flush(self) -> list[RouterEffect]:
        """End of the turn: grant what can be granted, tell what has happened."""
        if self.queues.size or self._held:
            self._grant()
        self._effects += self.recalls.due(self.brokers.values(), self.now)
        if self.recalls.look_at < self._look_at or self._look_at <= self.now:
            self._look_at = self.recalls.look_at
            if self._look_at < float("inf"):
                self.timers.set(self._look_at, ("recall", None))
        for run_id, facts in self._news.items():
            run = self.runs.get(run_id)
            if run is None:
                continue
            if run.owner is None:
                run.backlog += facts if run.definition is not None else []  # for its first Take
                continue
            if run.loading:
                run.backlog += facts
            else:
                self.send(run.owner, News(run_id, run.take, run.control, raw(facts)))
        for client, ends in self._ends.items():
            self.send(client, Endings("", ends))
        effects, self._effects, self._news, self._ends, self.answered = self._effects, [], {}, {}, {}
        return effects

    def _grant(self) -> None:
        """In the order of their leases: what is granted later must not arrive before what has to wait."""
        if self.queues.size and (grants := self.grants.distribute(self.brokers.values(), self.now)):
            self._held.append((self.rest_on, grants))
        while self._held and self._held[0][0] <= self.synced:
            self._effects += self._held.popleft()[1]

    def let_go(self, broker: str) -> None:
        """Nothing that was granted to it and did not leave is to leave any more."""
        for _, grants in self._held:
            grants[:] = [grant for grant in grants if grant.peer != broker]

    # Invariants -------------------------------------------------------------------------------------------------

    def validate(self) -> None:
        """The invariants, in words and code. Raises AssertionError with the broken one."""
        leased = 0
        for run in self.runs.values():
            owner = self.pipeliners.get(run.owner or "")
            assert run.owner is None or (owner and run.id in owner.runs), (
                f"{run.owner} does not know that it has {run.id}"
            )
            self._validate_run(run)
            leased += run.leased
        held = sum(len(broker.leases) for broker in self.brokers.values())
        assert held == leased, f"Brokers hold {held} leases, runs have {leased}"
        queued = sum(item.state is State.QUEUED for run in self.runs.values() for item in run.live.values())
        assert queued == self.queues.size, f"{queued} items are queued, the queues count {self.queues.size}"
        self._validate_limits()
        for pipeliner in self.pipeliners.values():
            for run_id in pipeliner.runs:
                owned = run_id in self.runs and self.runs[run_id].owner == pipeliner.identity
                assert owned, f"Pipeliner {pipeliner.place} counts run {run_id}, which it does not own"

    def _validate_limits(self) -> None:
        """A limit may be exceeded by what runs since an epoch before, never by what was granted in this one."""
        leased = [item for broker in self.brokers.values() for item in broker.leases.values()]
        limits = {item: self.queues.counted(Shape.of(item.ready)) for item in leased}
        counts = Counter(name for item in leased for name in limits[item])
        granted = Counter(name for item in leased if item.granted for name in limits[item])
        for name in {*self.queues.used, *counts}:
            used, limit = self.queues.used.get(name, 0), self.queues.limits.get(name, 0)
            assert used == counts[name], f"limit {name}: {counts[name]} leases count against it, {used} were counted"
            assert not granted[name] or granted[name] <= limit, f"limit {name}: {granted[name]} granted of {limit}"

    def _validate_run(self, run: OpenRun) -> None:
        for key, item in run.live.items():
            assert item.key == key and item.run is run, f"{item} stands under {key} of {run.id}"
            assert item.state is not State.ENDED, f"{item} has ended and is still live"
            assert item.leased == (item.state in ON_LEASE), f"{item} and its lease disagree"
            known = item.broker is None or item.broker.leases.get(item.lease) is item
            assert known, f"{item} is not among its Broker's leases"
        count = sum(item.leased for item in run.live.values())
        assert run.leased == count, f"run {run.id} counts {run.leased} leases and has {count}"


def raw(facts: list[tuple[int, bytes]]) -> list[tuple[int, msgspec.Raw]]:
    return [(sequence, msgspec.Raw(packed)) for sequence, packed in facts]
