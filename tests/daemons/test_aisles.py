"""The next item for a Broker is found without a look at every lane, and it is the one that such a look would find."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.daemons.dispatch.aisles import DEPTH
from headrace.daemons.dispatch.grants import Grants, ResultCache
from headrace.daemons.dispatch.items import Item, State
from headrace.daemons.dispatch.members import BrokerMember
from headrace.daemons.dispatch.queues import Lane, OrderKey, Queues, RunQueue
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import BrokerCard
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.task import Needs, Ready

LIMITS = {"licence": 1, "seat": 2}
NEEDS = (
    None,
    Needs(),
    Needs(role="shell"),
    Needs(role="encode"),
    Needs(resources={"cpu": 1.0}),
    Needs(resources={"cpu": 3.0}),
    Needs(resources={"cpu": 2.0, "gpu": 1.0}),
    Needs(limits=("licence",)),
    Needs(limits=("licence", "seat"), priority=1),
    Needs(limits=("seat",), resources={"cpu": 1.0}, priority=-1),
)


class Yard:
    """Queues and some Brokers, without a Router around them."""

    def __init__(self) -> None:
        self.queues = Queues(LIMITS)
        self.grants = Grants(1, self.queues, ResultCache(1))
        self.runs: list[OpenRun] = []
        self.brokers: list[BrokerMember] = []
        self.items: list[Item] = []
        self.lease = 0

    def run(self, **options: Any) -> OpenRun:
        number = len(self.runs) + 1
        self.runs.append(OpenRun(f"r{number}", number, RunOptions(**options), number * 7.0, 0.0))
        return self.runs[-1]

    def broker(self, *workers: str, roles: dict[str, int] | None = None, **resources: float) -> BrokerMember:
        broker = BrokerMember(f"b{len(self.brokers)}", "host/b", "s", BrokerCard(9, workers, roles, resources), 0.0)
        broker.workers = frozenset(workers)
        self.brokers.append(broker)
        self.queues.add_broker(broker)
        return broker

    def push(self, run: OpenRun, worker: str = "W", needs: Needs | None = None, since: float = 0.0) -> Item:
        item = Item(run, Ready(f"j{len(self.items)}", (), 1, worker, b"task", needs=needs), since)
        self.items.append(item)
        item.step("queue")
        self.queues.push(item)
        return item

    def grant(self, broker: BrokerMember, item: Item) -> None:
        self.queues.leave(item)
        item.step("grant")
        self.lease += 1
        self.grants.adopt(item, broker, self.lease)

    def release(self, item: Item, back: bool) -> None:
        self.grants.release(item)
        self.queues.wake(item.run)
        if back:
            item.step("hand back")
            self.queues.push_back(item)
        else:
            item.step("end")

    def scanned(self, broker: BrokerMember, prefetch: bool) -> OrderKey | None:
        """The lowest key of all that this Broker could be given, found by looking at everything."""
        keys = [
            RunQueue(Lane(lane.shape), item.run, item.priority).key
            for lane in broker.lanes
            for item in self.items
            if item.queue is not None and item.queue.lane is lane and item.state is State.QUEUED
            if not item.run.blocked() and broker.has_room(lane) and self.queues.limits_free(lane.shape)
            if not (prefetch and lane.shape.exclusive)
        ]
        return min(keys, default=None)


Step = st.tuples(
    st.sampled_from(("push", "push", "choose", "choose", "end", "back", "pause", "go on")), st.integers(0, 999)
)


@settings(max_examples=300, deadline=None)
@given(st.lists(Step, max_size=60))
def test_what_is_chosen_is_what_a_look_at_everything_finds(steps: list[tuple[str, int]]) -> None:
    yard = Yard()
    for options in ({}, {"max_active": 1}, {"priority": 1}):
        yard.run(**options)
    yard.broker("W", roles={"shell": 1}, cpu=4.0, gpu=1.0)
    yard.broker("W", "V", cpu=2.0)
    for what, dice in steps:
        run, broker = yard.runs[dice % 3], yard.brokers[dice % 2]
        leased = [item for item in yard.items if item.state is State.LEASED]
        match what:
            case "push":
                yard.push(run, "WV"[dice // 7 % 2], NEEDS[dice // 3 % len(NEEDS)])
            case "choose":
                prefetch = dice % 5 == 0
                expected = yard.scanned(broker, prefetch)
                found = yard.queues.choose(broker, prefetch)
                assert (found.queue.key if found and found.queue else None) == expected
                if found is not None:
                    yard.grant(broker, found)
            case "end" | "back" if leased:
                yard.release(leased[dice % len(leased)], what == "back")
            case "pause":
                run.paused = True
            case "go on":
                run.paused = False
                yard.queues.wake(run)
        assert yard.queues.size == sum(item.state is State.QUEUED for item in yard.items)


def test_a_lane_that_was_empty_for_one_broker_is_seen_again_by_all() -> None:
    yard = Yard()
    run = yard.run()
    one, other = yard.broker("W"), yard.broker("W")
    for _ in range(3):
        item = yard.push(run)
        assert yard.queues.choose(one, False) is item
        yard.grant(one, item)
        assert yard.queues.choose(one, False) is None
    assert yard.queues.choose(other, False) is None


def test_a_grant_looks_at_few_of_many_lanes(monkeypatch: Any) -> None:
    yard = Yard()
    broker = yard.broker("W", cpu=1e6)
    for number in range(3000):
        yard.push(yard.run(), needs=Needs(resources={"cpu": 1.0 + number}))
    looks = 0
    head = Lane.head

    def counted(lane: Lane, set_aside: Any) -> Any:
        nonlocal looks
        looks += 1
        return head(lane, set_aside)

    monkeypatch.setattr(Lane, "head", counted)
    for number in range(500):
        item = yard.queues.choose(broker, False)
        assert item is yard.items[number]
        yard.grant(broker, item)
        yard.release(item, back=False)
    assert looks <= 1500, f"{looks} lanes were looked at for 500 grants"


def test_what_needs_too_much_now_is_passed_over_so_often_and_no_longer() -> None:
    yard = Yard()
    broker = yard.broker("W", cpu=4.0)
    running = yard.push(yard.run(), needs=Needs(resources={"cpu": 3.0}))
    yard.grant(broker, running)
    for number in range(DEPTH - 1):
        yard.push(yard.run(), needs=Needs(resources={"cpu": 2.0 + number / DEPTH}))
    small = yard.push(yard.run(), needs=Needs(resources={"cpu": 1.0}))
    assert yard.queues.choose(broker, False) is small
    yard.push(yard.runs[1], needs=Needs(resources={"cpu": 3.9}))
    assert yard.queues.choose(broker, False) is None
    yard.release(running, back=False)
    assert yard.queues.choose(broker, False) is yard.items[1]
