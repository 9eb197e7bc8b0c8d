"""Processes with units of indexed resources: who gets one, and who has to make room."""

from __future__ import annotations

import pytest
from slots_bench import Bench

from headrace.daemons.protocol import Kill
from headrace.daemons.slots.fitting import MAKING
from headrace.daemons.slots.orders import KillTree, StartProcess
from headrace.daemons.slots.sharing import PATIENCE
from headrace.daemons.slots.slot import State
from headrace.pipeline.task import Needs


def gpu(amount: float = 1.0) -> Needs:
    return Needs(resources={"gpu": amount})


@pytest.fixture
def bench() -> Bench:
    return Bench(units={"gpu": ("0", "1")})


def made(bench: Bench) -> list[tuple[int, dict[str, tuple[str, ...]]]]:
    """Processes that are made now come up; which ones, and with what."""
    found = [(effect.slot, effect.given) for effect in bench.took(StartProcess)]
    for slot, _ in found:
        bench.up(slot)
    return found


def give(bench: Bench, lease: int, amount: float = 1.0) -> dict[str, tuple[str, ...]]:
    """An attempt that needs a new process, and what that process is given."""
    bench.run(lease, needs=gpu(amount))
    (slot,) = bench.leave()
    ((again, given),) = made(bench)
    assert again == slot and bench.waiting(slot) == [lease]
    return given


def test_an_attempt_with_units_gets_a_process_that_was_made_with_them(bench: Bench) -> None:
    bench.took(StartProcess)
    assert give(bench, 1) == {"gpu": ("0",)}
    assert give(bench, 2) == {"gpu": ("1",)}


def test_the_next_one_of_the_same_fit_uses_the_same_process(bench: Bench) -> None:
    bench.took(StartProcess)
    give(bench, 1)
    slot = next(one.number for one in bench.machine.slots if one.fifo)
    bench.end(slot)
    bench.run(2, needs=gpu())
    assert bench.waiting(slot) == [2] and bench.leave() == []


def test_plain_work_goes_to_processes_without_units_first(bench: Bench) -> None:
    bench.took(StartProcess)
    give(bench, 1)
    fitted = next(one.number for one in bench.machine.slots if one.fifo)
    bench.end(fitted)
    bench.run(2)
    assert bench.waiting(1 - fitted) == [2]


def test_when_nothing_else_is_idle_a_process_with_units_makes_room_for_plain_work(bench: Bench) -> None:
    bench.took(StartProcess)
    give(bench, 1)
    fitted = next(one.number for one in bench.machine.slots if one.fifo)
    bench.end(fitted)
    bench.run(2)
    bench.busy(1 - fitted, 2)
    bench.now += 1.0
    bench.pulse()
    bench.run(3)
    assert bench.leave() == [fitted]
    assert made(bench) == [(fitted, {})]
    assert bench.waiting(fitted) == [3]


def test_units_in_idle_processes_are_gathered_for_an_attempt_that_needs_more(bench: Bench) -> None:
    bench.took(StartProcess)
    give(bench, 1)
    give(bench, 2)
    for slot in (0, 1):
        bench.end(slot)
    bench.run(3, needs=gpu(2.0))
    (first,) = bench.leave()
    assert made(bench) == [(first, {})], "its unit is free now"
    (second,) = bench.leave()
    assert made(bench) == [(second, {"gpu": ("0", "1")})]
    assert bench.waiting(second) == [3]


def test_units_of_a_process_that_dies_are_free_when_nothing_of_it_is_left(bench: Bench) -> None:
    bench.took(StartProcess)
    give(bench, 1, 2.0)
    slot = next(one.number for one in bench.machine.slots if one.fifo)
    bench.busy(slot, 1)
    bench.run(2, needs=gpu(2.0))
    assert bench.leave() == [], "both units run"
    bench.handle(Kill([1]))
    bench.pass_time(5.0)
    assert [effect.slot for effect in bench.took(KillTree)] == [slot]
    assert bench.leave() == [] and bench.machine.slots[slot].state is State.DYING
    bench.down(slot)
    bench.pulse()
    made(bench)
    bench.run(3, needs=gpu(2.0))
    (moved,) = bench.leave()
    assert made(bench) == [(moved, {"gpu": ("0", "1")})]


def test_what_waits_for_its_process_is_not_given_back_meanwhile_but_not_kept_for_ever(bench: Bench) -> None:
    bench.took(StartProcess)
    bench.run(1, needs=gpu())
    assert len(bench.leave()) == 1
    bench.pass_time(MAKING / 2)
    bench.pulse()
    assert bench.handed_back() == []
    bench.pass_time(MAKING / 2 + PATIENCE + 0.1)
    assert bench.handed_back() == [1]


def test_a_process_that_does_not_leave_is_killed(bench: Bench) -> None:
    bench.took(StartProcess)
    bench.run(1, needs=gpu())
    for _ in range(3):
        bench.pass_time(2.0)
        bench.pulse()
    (killed,) = bench.took(KillTree)
    bench.down(killed.slot)
    assert made(bench) == [(killed.slot, {"gpu": ("0",)})]


def test_shares_of_a_unit_run_side_by_side(bench: Bench) -> None:
    bench.took(StartProcess)
    assert give(bench, 1, 0.5) == give(bench, 2, 0.5) == {"gpu": ("0",)}
