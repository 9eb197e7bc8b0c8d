"""What the machines cost without sockets, processes and a disk: microseconds of Python per job, part by part.

Router, Pipeliner and Broker are driven here by hand, in one process: frames are encoded and decoded as on the wire, the
journal writes without syncing, and workers end at once with nothing. A neighbour on the machine disturbs this least of
all benchmarks: every part's figure is the best of several rounds. What is missing here (system calls, wake-ups, the
user's code) is the difference to `figures.py`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from figures import chain_of, fan_out_of

from headrace import Pipeline
from headrace.daemons.charges import Charges
from headrace.daemons.dispatch.cluster import Rules
from headrace.daemons.dispatch.effects import Send
from headrace.daemons.dispatch.machine import Dispatch
from headrace.daemons.dispatch.outbox import Outbox
from headrace.daemons.journal.journal import Journal
from headrace.daemons.loop import settle_down
from headrace.daemons.protocol import (
    PROTOCOL,
    FromRouter,
    Hello,
    Inbound,
    Outbound,
    Submission,
    Submit,
    ToRouter,
    Welcome,
    decode_inbound,
    decode_outbound,
    encode,
)
from headrace.daemons.slots.machine import Slots
from headrace.daemons.slots.orders import Feed, StartProcess, Tell
from headrace.daemons.slots.reporting import Offer
from headrace.pipeline.compile import definition_of
from headrace.pipeline.task import Outcome
from headrace.workers.messages import Ended, Up, WorkerCard
from headrace.workers.pool import PoolEvent, Said, SlotUp, pack

NOTHING = b"\xc0"
PARTS = ("router", "journal", "pipeliner", "broker")


class Bench:
    """One cluster of machines. Frames go round until nobody has anything to say."""

    def __init__(self, journal: Journal) -> None:
        self.spent = dict.fromkeys(PARTS, 0.0)
        self.turns = 0
        self.ended = 0
        self.now = 1.0
        self.journal = journal
        self.dispatch = Dispatch(journal.epoch, journal.last, Rules(), Welcome(), self.now, self.now)
        self.outbox = Outbox()
        self.charges = Charges()
        self.slots = Slots(Offer(2, "bench/1"))
        self.to_router: list[tuple[str, list[ToRouter]]] = []
        self.to_peers: dict[str, list[FromRouter]] = {}
        cards = (WorkerCard("nothing"),)
        self.workers: list[PoolEvent] = [SlotUp(slot, slot, Up(slot, cards)) for slot in range(2)]
        self._carry_out([one for one in self.slots.begin(self.now) if not isinstance(one, StartProcess)])
        self._broker_turn([])
        self.to_router.append(("broker", [self.slots.hello(self.now)]))
        self.to_router.append(("pipeliner", [Hello("pipeliner", "bench/1")]))
        self.go_round()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.spent[part] += time.thread_time() - began

    def run(self, pipelines: list[Pipeline], chunk: int = 256) -> None:
        for start in range(0, len(pipelines), chunk):
            some = [Submission(uuid4().hex, definition_of(one)) for one in pipelines[start : start + chunk]]
            self.to_router.append(("client", [Submit(uuid4().hex, some)]))
        self.go_round()

    def go_round(self) -> None:
        while self.to_router or self.to_peers or self.workers:
            self.now += 0.001
            frames = [encode(Inbound(PROTOCOL, peer, "s", 1, said)) for peer, said in self.to_router]
            self.to_router = []
            with self.timed("router"):
                self._router_turn(frames)
            peers, self.to_peers = self.to_peers, {}
            with self.timed("router"):
                out = {peer: encode(Outbound(PROTOCOL, 1, "s", 1, messages)) for peer, messages in peers.items()}
            if frame := out.get("pipeliner"):
                with self.timed("pipeliner"):
                    self._pipeliner_turn(frame)
            if "broker" in out or self.workers:
                with self.timed("broker"):
                    self._broker_turn(decode_outbound(out["broker"]).messages if "broker" in out else [])

    def _router_turn(self, frames: list[bytes]) -> None:
        self.turns += 1
        self.dispatch.at(self.now, self.now)
        for frame in frames:
            envelope = decode_inbound(frame)
            for message in envelope.messages:
                if isinstance(message, Submit):
                    self.dispatch.submit(envelope.sender, message, {}, {})
                else:
                    self.dispatch.handle(envelope.sender, envelope.session, message)
        self.dispatch.tick()
        records, effects = self.outbox.put(self.dispatch.flush())
        if records:
            with self.timed("journal"):
                self.journal.commit(records)
            written, free = self.outbox.committed(self.outbox.batch)
            self.dispatch.on_disk(written)
            effects += free
        for effect in effects:
            if isinstance(effect, Send):
                self.to_peers.setdefault(effect.peer, []).append(effect.message)

    def _pipeliner_turn(self, frame: bytes) -> None:
        for message in decode_outbound(frame).messages:
            self.charges.handle(message)
        if said := self.charges.flush():
            self.to_router.append(("pipeliner", said))

    def _broker_turn(self, messages: list[FromRouter]) -> None:
        events, self.workers = self.workers, []
        for event in events:
            self._carry_out(self.slots.heard(event, self.now))
        for message in messages:
            self._carry_out(self.slots.handle(message, self.now))
        self._carry_out(self.slots.tick(self.now))
        self._carry_out(self.slots.settle(self.now))

    def _carry_out(self, effects: list[object]) -> None:
        said: list[ToRouter] = []
        for effect in effects:
            if isinstance(effect, Tell):
                said.append(effect.message)
            elif isinstance(effect, Feed):
                for attempt in effect.attempts:
                    pack(attempt.header, attempt.assignment)
                    outcome = Outcome(attempt.lease, "success", NOTHING, self.now, 1e-4)
                    self.workers.append(Said(effect.slot, Ended(outcome)))
                    self.ended += 1
        if said:
            self.to_router.append(("broker", said))


CASES: dict[str, Callable[[], list[Pipeline]]] = {
    "fan-out": lambda: [fan_out_of(10_000)],
    "chains": lambda: [chain_of(3) for _ in range(3000)],
    "hops": lambda: [chain_of(1000)],
    "starts": lambda: [chain_of(1)],
}
TIMES = {"starts": 500}


def measure(make: Callable[[], list[Pipeline]], times: int) -> tuple[dict[str, float], float]:
    """Microseconds per job, by part, and turns of the Router per job."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        journal = Journal.open(folder, durability="process")
        bench = Bench(journal)
        for part in PARTS:
            bench.spent[part] = 0.0
        bench.turns = bench.ended = 0
        for pipelines in [make() for _ in range(times)]:
            bench.run(pipelines)
        journal.close()
    bench.spent["router"] -= bench.spent["journal"]
    assert not bench.dispatch.cluster.runs, "everything has ended"
    return {part: spent / bench.ended * 1e6 for part, spent in bench.spent.items()}, bench.turns / bench.ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    settle_down()
    print(f"{'µs per job':12} {' '.join(f'{part:>10}' for part in (*PARTS, 'all'))} {'turns':>7}")
    for name in arguments.only:
        rounds = [measure(CASES[name], TIMES.get(name, 1)) for _ in range(arguments.rounds)]
        best = [min(one[part] for one, _ in rounds) for part in PARTS]
        print(f"{name:12} {' '.join(f'{value:10.2f}' for value in (*best, sum(best)))} {rounds[0][1]:7.2f}")


if __name__ == "__main__":
    main()
