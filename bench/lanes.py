"""What a grant costs when very many kinds of work wait: `python bench/lanes.py`.

A job's kind is its worker, role, resources and limits. The Router keeps one lane per kind; a grant has to find the
lane whose turn it is, and must not look at all of them. No daemons: the Router's queues alone, driven as its loop does.
"""

from __future__ import annotations

import time

from headrace.daemons.dispatch.grants import Grants, ResultCache
from headrace.daemons.dispatch.items import Item
from headrace.daemons.dispatch.members import BrokerMember
from headrace.daemons.dispatch.queues import Queues
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import BrokerCard
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.task import Needs, Ready

JOBS = 2000
SLOTS = 8


def waiting(kinds: int, resources: bool) -> tuple[Queues, BrokerMember]:
    """A Broker with slots, and jobs of so many kinds in the queue."""
    queues = Queues({})
    names = tuple(f"W{number}" for number in range(1 if resources else kinds))
    card = BrokerCard(SLOTS, names, resources={"memory": 1e6})
    broker = BrokerMember("b", "host/b", "s", card, 0.0)
    broker.workers = frozenset(names)
    queues.add_broker(broker)
    for number in range(JOBS):
        kind = number % kinds
        run = OpenRun(f"r{number}", number, RunOptions(), float(number), 0.0)
        needs = Needs(resources={"memory": 1000.0 + kind}) if resources else None
        item = Item(run, Ready("A", (), 1, names[0 if resources else kind], b"task", needs=needs), 0.0)
        item.step("queue")
        queues.push(item)
    return queues, broker


def drain(queues: Queues, broker: BrokerMember) -> float:
    """Grant everything, slot by slot, each job ending before the next turn. Microseconds per job."""
    grants = Grants(1, queues, ResultCache(1))
    began = time.perf_counter()
    while queues.size:
        broker.free = SLOTS
        grants.distribute([broker], 0.0)
        for item in list(broker.leases.values()):
            grants.release(item)
    return (time.perf_counter() - began) / JOBS * 1e6


def main() -> None:
    for what, resources in (("workers", False), ("amounts of a resource", True)):
        for kinds in (1, 100, 1000, 2000):
            figure = min(drain(*waiting(kinds, resources)) for _ in range(3))
            print(f"{kinds:5} different {what:22} {figure:9.1f} µs per grant")


if __name__ == "__main__":
    main()
