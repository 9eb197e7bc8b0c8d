"""Which item goes to which Broker, under which lease, with which results at hand."""

from __future__ import annotations

import pytest
from dispatching import World

from headrace.daemons.dispatch.grants import CHUNK, ENTRY, LEASE_BITS, ResultCache
from headrace.daemons.protocol import Credit, Outcomes, Run
from headrace.pipeline.task import Input, Needs, Outcome, Supplied


@pytest.fixture
def world() -> World:
    world = World()
    world.pipeliner()
    return world


# The cache ------------------------------------------------------------------------------------------------------------


def key(job: str) -> tuple[str, str, tuple[int, ...]]:
    return "r1", job, ()


def test_a_small_result_is_handed_on_with_its_bytes_and_a_large_one_by_reference() -> None:
    cache = ResultCache(10_000)
    cache.put(key("small"), b"bytes", None, 5)
    cache.put(key("large"), b"", "r1/large", 1_000_000)
    assert cache.supply("r1", Input("small")) == Supplied(Input("small"), b"bytes", None, 5)
    for wanted in (Input("large"), Input("large", element=7)):
        assert cache.supply("r1", wanted) == Supplied(wanted, None, "r1/large", 1_000_000)


@pytest.mark.parametrize("wanted", [Input("A", many=True), Input("A", element=2), Input("B"), Input("A", (1,))])
def test_what_is_not_one_whole_result_at_hand_is_left_to_the_worker(wanted: Input) -> None:
    cache = ResultCache(10_000)
    cache.put(key("A"), b"bytes", None, 5)
    assert cache.supply("r1", wanted) == Supplied(wanted)


def test_the_oldest_results_go_when_there_are_too_many_bytes() -> None:
    cache = ResultCache(2 * (200 + ENTRY) + 50)
    for job in "ABC":
        cache.put(key(job), bytes(200), None, 200)
    assert [cache.supply("r1", Input(job)).value is not None for job in "ABC"] == [False, True, True]
    cache.put(key("huge"), bytes(2000), None, 2000)
    assert [cache.supply("r1", Input(job)).value for job in ("B", "C", "huge")] == [None] * 3


def test_a_newer_result_takes_the_place_of_the_older_one() -> None:
    cache = ResultCache(2 * (100 + ENTRY))
    for number in range(100):
        cache.put(key("A"), bytes([number]) * 100, None, 100)
    cache.put(key("B"), bytes(100), None, 100)
    assert cache.supply("r1", Input("A")).value == bytes([99]) * 100


def test_the_results_of_a_run_go_when_it_ends() -> None:
    """And give their room to those of others."""
    cache = ResultCache(2 * (100 + ENTRY))
    cache.put(("r1", "A", ()), bytes(100), None, 100)
    cache.put(("r2", "A", ()), bytes(100), None, 100)
    cache.forget("r1")
    cache.forget("nobody's")
    cache.put(("r2", "B", ()), bytes(100), None, 100)
    assert cache.supply("r1", Input("A")).value is None
    assert [cache.supply("r2", Input(job)).value for job in "AB"] == [bytes(100)] * 2


def test_a_thousand_tiny_results_weigh_something() -> None:
    cache = ResultCache(100 * ENTRY)
    for number in range(1000):
        cache.put(("r1", "A", (number,)), b"", None, 0)
    held = [number for number in range(1000) if cache.supply("r1", Input("A", (number,))).value is not None]
    assert held == list(range(900, 1000))


# Grants ---------------------------------------------------------------------------------------------------------------


def test_leases_are_numbered_upwards_within_their_epoch(world: World) -> None:
    world.broker(slots=3)
    world.submit("r1")
    world.enqueue("r1", *"ABC")
    assert [one.lease for one in world.assigned()] == [(1 << LEASE_BITS) + number for number in (1, 2, 3)]


def test_everything_of_a_turn_goes_to_a_broker_in_one_message_with_one_header_per_run(world: World) -> None:
    world.submit("r1", title="first")
    world.submit("r2")
    world.enqueue("r1", "A", "B")
    world.enqueue("r2", "C")
    world.broker(slots=3)
    run = world.last("broker", Run)
    assert world.count("broker", Run) == 1 and len(run.assignments) == 3
    assert [(one.run, one.data, one.ref, one.title) for one in run.headers] == [
        ("r1", b"data", None, "first"),
        ("r2", b"data", None, None),
    ]


def test_idle_slots_are_filled_everywhere_before_anything_is_prefetched(world: World) -> None:
    for name in ("b1", "b2"):
        world.broker(name, credit=0)
    world.submit("r1")
    world.enqueue("r1", *[f"j{number}" for number in range(6)])
    for name in ("b1", "b2"):
        world.dispatch.handle(name, "s", Credit(2, 8, 0))
    world.flush()
    assert [len(world.assigned(name)) for name in ("b1", "b2")] == [4, 2]
    assert {one.job for name in ("b1", "b2") for one in world.assigned(name)[:2]} == {"j0", "j1", "j2", "j3"}


def test_prefetch_is_given_in_turns(world: World) -> None:
    for name in ("b1", "b2"):
        world.broker(name, credit=0)
    world.submit("r1")
    world.enqueue("r1", *[f"j{number}" for number in range(3 * CHUNK)])
    for name in ("b1", "b2"):
        world.dispatch.handle(name, "s", Credit(0, 100, 0))
    world.flush()
    assert [len(world.assigned(name)) for name in ("b1", "b2")] == [2 * CHUNK, CHUNK]


def test_a_prefetch_that_is_used_up_leaves_the_rest_in_the_queue(world: World) -> None:
    world.broker(credit=0)
    world.submit("r1")
    world.enqueue("r1", *"ABCDE")
    world.say("broker", Credit(1, 2, 0))
    assert len(world.assigned()) == 3 and world.dispatch.cluster.queues.size == 2


def test_a_result_that_has_just_come_travels_with_what_needs_it(world: World) -> None:
    world.broker()
    world.submit("r1")
    world.enqueue("r1", "A")
    lease = world.assigned()[0].lease
    world.say("broker", Outcomes([Outcome(lease, result=b"value")]), Credit(2, 0, lease))
    world.enqueue("r1", "B", inputs=(Input("A"),), needs=Needs(timeout=5.0), round=2, hook=True)
    one = world.assigned()[-1]
    assert one.inputs == (Supplied(Input("A"), b"value", None, 5),)
    assert (one.task, one.needs, one.round, one.hook) == (b"task", Needs(timeout=5.0), 2, True)
