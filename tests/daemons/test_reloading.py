"""Changed code of the workers is found, tried, and used for what begins from then on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from slots_bench import Bench

from headrace.daemons.reloading import LOOK, Reloading
from headrace.daemons.slots.orders import StartProcess
from headrace.daemons.slots.slot import State
from headrace.workers.messages import WorkerCard

NEW = (WorkerCard("work", version="new"), WorkerCard("more", version="new"))


# Files --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("workers.py", "helper.py"):
        (tmp_path / name).write_text("first\n")
    return [str(tmp_path / name) for name in ("helper.py", "missing.py", "workers.py")]


def change(file: str, text: str, when: int) -> None:
    Path(file).write_text(text)
    os.utime(file, ns=(when, when))


def test_a_file_that_has_changed_and_settled_is_told_once(files: list[str]) -> None:
    reloading = Reloading()
    reloading.watch(files, 0.0)
    assert reloading.due(LOOK) == []
    change(files[2], "second", 10)
    assert reloading.due(2 * LOOK) == [], "it may still be being written"
    change(files[2], "second and more", 20)
    assert reloading.due(3 * LOOK) == []
    assert reloading.due(3.5 * LOOK) == [], "it was looked at a moment ago"
    assert reloading.due(4 * LOOK) == [files[2]]
    assert reloading.due(5 * LOOK) == []


def test_a_file_that_appears_or_goes_has_changed(files: list[str]) -> None:
    reloading = Reloading()
    reloading.watch(files, 0.0)
    Path(files[1]).write_text("there")
    Path(files[0]).unlink()
    reloading.due(LOOK)
    assert reloading.due(2 * LOOK) == files[:2]


def test_a_change_that_is_taken_back_is_none(files: list[str]) -> None:
    before = os.stat(files[0]).st_mtime_ns
    reloading = Reloading()
    reloading.watch(files, 0.0)
    change(files[0], "other", 10)
    reloading.due(LOOK)
    change(files[0], "first\n", before)
    assert reloading.due(2 * LOOK) == reloading.due(3 * LOOK) == []


def test_while_a_change_is_tried_nothing_else_is_and_it_is_not_forgotten(files: list[str]) -> None:
    reloading = Reloading()
    reloading.watch(files, 0.0)
    reloading.trying = True
    change(files[0], "other", 10)
    assert reloading.due(10.0) == [] and reloading.next_deadline() == float("inf")
    reloading.watch([*files, __file__], 10.0)
    reloading.trying = False
    reloading.due(10.0 + LOOK)
    assert reloading.due(10.0 + 2 * LOOK) == [files[0]]


# Processes ----------------------------------------------------------------------------------------------------------


def reload(bench: Bench) -> None:
    bench.turn(bench.machine.reload(NEW, bench.now))


def test_idle_processes_are_replaced_at_once_and_running_ones_when_they_have_ended() -> None:
    bench = Bench()
    bench.started()
    bench.run(1)
    running = next(slot.number for slot in bench.machine.slots if slot.fifo)
    bench.busy(running, 1)
    reload(bench)
    assert bench.leave() == [1 - running]
    bench.ended(running, 1)
    assert [outcome.lease for outcome in bench.outcomes()] == [1]
    assert bench.leave() == [running]
    assert sorted(bench.started()) == [0, 1]


def test_what_waits_behind_a_running_job_begins_in_a_new_process() -> None:
    bench = Bench(slots=1)
    bench.teach(0.001)
    bench.run(10, 11, 12)
    bench.busy(0, 10)
    reload(bench)
    assert bench.waiting(0) == [] and bench.credit() == (0, 0)
    bench.ended(0, 10)
    assert bench.leave() == [0]
    bench.up(0)
    assert bench.waiting(0) == [11, 12] and bench.handed_back() == []


def test_a_process_that_was_being_made_may_have_the_old_code() -> None:
    bench = Bench(slots=1, up=False)
    reload(bench)
    bench.up(0)
    assert bench.leave() == [0]


def test_a_slot_whose_process_could_not_be_made_tries_again_at_once() -> None:
    bench = Bench(slots=1)
    bench.broken(0) if bench.machine.slots[0].state is State.STARTING else bench.down(0)
    for _ in range(4):
        bench.pass_time(40.0)
        bench.pulse()
        if bench.machine.slots[0].state is State.STARTING:
            bench.broken(0)
            bench.down(0, code=1, signal=None)
    assert bench.machine.slots[0].state is State.EMPTY
    bench.took(StartProcess)
    reload(bench)
    bench.turn(bench.machine.tick(bench.now))
    assert bench.started() == [0]


def test_the_next_hello_names_what_the_new_code_has() -> None:
    bench = Bench()
    reload(bench)
    card = bench.machine.hello(bench.now).card
    assert card is not None
    assert card.workers == ("work", "more") and card.versions == {"work": "new", "more": "new"}


def test_a_broker_that_stops_makes_no_new_processes() -> None:
    bench = Bench(slots=1)
    bench.run(1)
    bench.busy(0, 1)
    bench.turn(bench.machine.stop(bench.now, 10.0))
    bench.started()
    reload(bench)
    bench.ended(0, 1)
    assert bench.leave() == [] and bench.started() == [] and bench.machine.done
