"""A Router's machine on the bench: what its tests say to it in a few words, and what it answered."""

from __future__ import annotations

from typing import Any

from headrace.daemons.dispatch.cluster import Rules
from headrace.daemons.dispatch.effects import Load, Record, RouterEffect, Send
from headrace.daemons.dispatch.machine import Dispatch
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import (
    BrokerCard,
    Conclude,
    Control,
    Credit,
    Enqueue,
    Hello,
    Run,
    Submission,
    Submit,
    Submitted,
    Welcome,
)
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.task import Assignment, Ready


class World:
    """A Dispatch with its effects collected, and short ways to say things."""

    def __init__(self, epoch: int = 1, last: int = 0, **rules: Any) -> None:
        self.now = 100.0
        self.dispatch = Dispatch(epoch, last, Rules(**rules), Welcome(), self.now, 1e9)
        self.records: list[Record] = []
        self.sent: list[tuple[str, Any]] = []
        self.asked: list[RouterEffect] = []

    def flush(self) -> None:
        """The end of a turn, and of the next one: no grant has to wait for the disk any more. That facts are on it, and
        can be read, a test says by `on_disk`."""
        self._carry_out(self.dispatch.flush())
        self.dispatch.cluster.synced = self.dispatch.cluster.last
        self._carry_out(self.dispatch.flush())
        self.dispatch.validate()

    def _carry_out(self, effects: list[RouterEffect]) -> None:
        for effect in effects:
            match effect:
                case Record():
                    self.records.append(effect)
                case Send():
                    self.sent.append((effect.peer, effect.message))
                case _:
                    self.asked.append(effect)

    def say(self, peer: str, *messages: Any, session: str = "s") -> None:
        for message in messages:
            self.dispatch.handle(peer, session, message)
        self.flush()

    def later(self, seconds: float) -> None:
        """Time passes in small steps, while everybody who is there is heard of unless told otherwise."""
        self.now += seconds
        self.dispatch.cluster.now = self.now
        self.dispatch.cluster.wall += seconds
        self.dispatch.tick()
        self.flush()

    def submit(self, run: str, *, client: str = "client", known: Any = None, keys: Any = None, **options: Any) -> Any:
        submission = Submission(run, b"definition", RunOptions(**options), b"data")
        self.dispatch.submit(client, Submit(f"ask {run}", [submission]), known or {}, {} if keys is None else keys)
        self.flush()
        return self.last(client, Submitted)

    def broker(self, name: str = "broker", slots: int = 2, credit: int | None = None, **card: Any) -> None:
        card.setdefault("workers", ("W",))
        self.say(name, Hello("broker", f"host/{name}", card=BrokerCard(slots, **card)))
        self.say(name, Credit(slots if credit is None else credit, 0, 0))

    def pipeliner(self, name: str = "pipeliner", **hello: Any) -> None:
        self.say(name, Hello("pipeliner", f"host/{name}", **hello))

    def enqueue(self, run: str, *jobs: str, peer: str = "pipeliner", **ready: Any) -> None:
        one = self.dispatch.cluster.runs[run]
        attempt, worker = ready.pop("attempt", 1), ready.pop("worker", "W")
        attempts = [Ready(job, (), attempt, worker, b"task", **ready) for job in jobs]
        self.say(peer, Enqueue(run, one.take, one.control, one.last, attempts))

    def conclude(self, run: str, verdict: Any = "success", peer: str = "pipeliner", **fields: Any) -> None:
        one = self.dispatch.cluster.runs[run]
        self.say(peer, Conclude(run, one.take, fields.pop("seen", one.last), verdict, **fields))

    def last(self, peer: str, kind: type) -> Any:
        return next((message for to, message in reversed(self.sent) if to == peer and isinstance(message, kind)), None)

    def count(self, peer: str, kind: type) -> int:
        return sum(to == peer and isinstance(message, kind) for to, message in self.sent)

    def assigned(self, broker: str = "broker") -> list[Assignment]:
        return [
            one for to, message in self.sent if to == broker and isinstance(message, Run) for one in message.assignments
        ]

    def facts(self, kind: type) -> list[Any]:
        return [record.fact for record in self.records if isinstance(record.fact, kind)]

    def control(self, verb: Any, run: str = "", *, client: str = "client", known: Any = None, **fields: Any) -> Any:
        """A command; what was answered last."""
        self.dispatch.control(client, Control(f"{verb} {run}", verb, run, **fields), known or {})
        self.flush()
        return [message for to, message in self.sent if to == client][-1]

    def load(self, definition: bytes | None = b"definition", facts: Any = ()) -> Load:
        """Answer the last Load."""
        load = next(one for one in reversed(self.asked) if isinstance(one, Load))
        self.dispatch.loaded(load.run, load.take, definition if load.definition else None, list(facts))
        self.flush()
        return load

    def facts_of(self, run: str) -> list[Record]:
        return [record for record in self.records if record.run == run]

    @property
    def runs(self) -> dict[str, OpenRun]:
        return self.dispatch.cluster.runs


def restarted(epoch: int = 2, **rules: Any) -> World:
    """A Router in a later epoch: run r1 is open at fact 10, the Broker was registered before."""
    world = World(epoch=epoch, last=20, **rules)
    run = OpenRun("r1", 5, RunOptions(), 1e9, world.now, last=10)
    world.dispatch.restore([run], ["broker"])
    world.later(1.0)
    world.pipeliner(runs=(("r1", 1, 10),))
    load = world.asked[-1]
    assert isinstance(load, Load)
    world.dispatch.loaded("r1", load.take, None, [])
    world.flush()
    return world
