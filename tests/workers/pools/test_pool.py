"""The pool of processes on this machine."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pool_driver import Driver, attempt, is_alive, until

from headrace.pipeline.task import Given
from headrace.workers.control import Exited, from_warden
from headrace.workers.messages import Fetched, Large, Packet, Resend, Stop
from headrace.workers.pipe import Pipe
from headrace.workers.pool import PACKET_LIMIT, Said, SlotBroken, SlotUp, lease_of, pack


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path)
    yield driver
    driver.pool.close()
    assert not driver.left(), "the pool has left processes behind"


def test_a_process_says_what_it_can_run(driver: Driver) -> None:
    driver.pool.start(0, driver.settings(0))
    event = driver.wait_for(SlotUp, 0)
    assert "noop" in {card.name for card in event.up.cards}
    assert event.pid == event.up.pid and is_alive(event.pid)


def test_attempts_run_in_the_order_of_feeding(driver: Driver) -> None:
    driver.start(0, 1)
    for lease in range(1, 21):
        driver.run(0, lease, "echo", number=lease)
    assert [driver.result(0) for _ in range(20)] == list(range(1, 21))


def test_many_slots_run_at_the_same_time(driver: Driver) -> None:
    driver.start(0, 1)
    driver.run(0, 1, "nap", seconds=600.0)
    driver.run(1, 2, "echo", number=2)
    assert driver.result(1) == 2


def test_modules_that_cannot_be_imported_are_told_and_the_process_ends(driver: Driver) -> None:
    driver.pool.start(0, driver.settings(0, modules=("nowhere",)))
    assert "nowhere" in driver.wait_for(SlotBroken, 0).broken.message
    assert driver.down(0).signal is None


def test_a_slot_has_one_process_at_a_time(driver: Driver) -> None:
    driver.start(0)
    with pytest.raises(RuntimeError, match="slot 0 has a process already"):
        driver.pool.start(0, driver.settings(0))


def test_a_slot_without_a_process_takes_nothing(driver: Driver) -> None:
    packet = pack(*attempt(1, "noop"))
    assert not driver.pool.feed(0, packet)
    assert driver.pool.take_back(0) == []
    driver.pool.send(0, Stop(1, "cancelled"))
    driver.pool.interrupt(0)
    driver.pool.kill(0)
    driver.start(0)
    driver.pool.kill(0)
    driver.down(0)
    assert not driver.pool.feed(0, packet)
    driver.pool.kill(0)
    driver.start(0)
    driver.run(0, 2, "noop")
    assert driver.result(0) is None


def test_a_full_pipe_says_so_and_loses_nothing(driver: Driver) -> None:
    driver.start(0)
    ends = driver.busy(0, 1)
    fed = 0
    while driver.pool.feed(0, pack(*attempt(2 + fed, "echo", text="x" * 20_000))):
        fed += 1
        assert fed < 10_000
    assert fed > 5
    ends.touch()
    assert driver.outcome(0).lease == 1
    assert [driver.outcome(0).lease for _ in range(fed)] == list(range(2, 2 + fed))


def test_what_was_not_begun_can_be_taken_back_from_a_busy_process(driver: Driver) -> None:
    driver.start(0)
    ends = driver.busy(0, 1)
    for lease in (2, 3, 4):
        driver.run(0, lease, "noop")
    assert [lease_of(packet) for packet in driver.pool.take_back(0)] == [2, 3, 4]
    ends.touch()
    assert driver.outcome(0).lease == 1
    driver.run(0, 5, "noop")
    assert driver.outcome(0).lease == 5


def test_what_was_not_begun_can_be_taken_back_from_a_stopped_process(driver: Driver) -> None:
    driver.pool.start(0, driver.settings(0))
    pid = driver.wait_for(SlotUp, 0).pid
    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil_status(pid) == "stopped")
    driver.run(0, 1, "noop")
    assert [lease_of(packet) for packet in driver.pool.take_back(0)] == [1]
    os.kill(pid, signal.SIGCONT)
    driver.run(0, 2, "noop")
    assert driver.outcome(0).lease == 2


def test_an_attempt_is_either_taken_back_or_run_and_never_both(driver: Driver) -> None:
    driver.start(0)
    dice = random.Random(7)
    taken: list[int] = []
    for lease in range(1, 1001):
        driver.run(0, lease, "noop")
        if dice.random() < 0.2:
            taken += [lease_of(packet) for packet in driver.pool.take_back(0)]
        driver.listen()
    driver.run(0, 1001, "noop")
    done = []
    while 1001 not in done:
        done.append(driver.outcome(0).lease)
    assert sorted(taken + done) == list(range(1, 1002))
    assert taken and len(done) > 1


def test_a_large_attempt_is_announced_and_sent_when_asked_for(driver: Driver) -> None:
    driver.start(0)
    header, assignment = attempt(1, "echo", text="x" * 3_000_000)
    packet = pack(header, assignment)
    assert len(packet) < PACKET_LIMIT and lease_of(packet) == 1
    assert driver.pool.feed(0, packet)
    said = driver.wait_for(Said, 0)
    assert said.message == Resend(1)
    driver.pool.send(0, Large(Packet(header, assignment, 1)))
    assert driver.outcome(0).lease == 1


def test_a_message_that_the_process_does_not_read_yet_blocks_nobody(driver: Driver) -> None:
    """A send that waited for it would wait for ever: the attempt ends after all of them."""
    driver.start(0)
    ends = driver.busy(0, 1)
    answer = Fetched(99, Given((((), "success", b"x" * 3_000_000, None),)))
    for _ in range(5):
        driver.pool.send(0, answer)
    ends.touch()
    driver.run(0, 2, "noop")
    assert [driver.outcome(0).lease for _ in range(2)] == [1, 2]


def test_a_soft_stop_ends_the_attempt_and_keeps_the_process(driver: Driver, tmp_path: Path) -> None:
    driver.start(0)
    driver.run(0, 1, "touch", path=str(tmp_path / "began"), seconds=600.0)
    until((tmp_path / "began").exists)
    driver.pool.send(0, Stop(1, "timeout"))
    driver.pool.interrupt(0)
    assert driver.outcome(0).kind == "timeout"
    driver.run(0, 2, "noop")
    assert driver.outcome(0).kind == "success"


def test_a_death_is_told_with_its_signal_what_was_unread_and_the_last_words(driver: Driver) -> None:
    driver.start(0)
    driver.run(0, 1, "noop")
    driver.run(0, 2, "die", signal=int(signal.SIGKILL))
    driver.run(0, 3, "noop")
    down = driver.down(0)
    assert (down.signal, down.exit_code) == (signal.SIGKILL, None)
    assert [lease_of(packet) for packet in down.unread] == [3]
    assert "last words" in down.log_tail
    assert driver.outcome(0).lease == 1


def test_an_exit_is_told_with_its_code(driver: Driver) -> None:
    driver.start(0)
    driver.run(0, 1, "leave", code=7)
    down = driver.down(0)
    assert (down.signal, down.exit_code) == (None, 7)


def test_a_kill_ends_the_whole_tree_however_it_tries_to_get_away(driver: Driver) -> None:
    driver.start(0, 1)
    family, other = driver.family(0), driver.family(1)
    driver.pool.kill(0)
    assert driver.down(0).signal == signal.SIGKILL
    assert not any(map(is_alive, family))
    assert all(map(is_alive, other))


@pytest.mark.skipif(sys.platform != "linux", reason="orphans come back to the warden on Linux only")
def test_what_a_dead_process_has_left_behind_is_gone_when_its_death_is_told(driver: Driver) -> None:
    driver.pool.start(0, driver.settings(0))
    pid = driver.wait_for(SlotUp, 0).pid
    group, session, unmarked, orphan = driver.family(0)
    os.kill(pid, signal.SIGKILL)
    driver.down(0)
    assert not any(map(is_alive, (group, session, orphan)))
    driver.pool.close()
    assert not is_alive(unmarked), "nobody knew whose it was, but it was below the warden"


def test_a_stopped_process_can_be_killed(driver: Driver) -> None:
    driver.pool.start(0, driver.settings(0))
    pid = driver.wait_for(SlotUp, 0).pid
    os.kill(pid, signal.SIGSTOP)
    driver.pool.kill(0)
    assert driver.down(0).pid == pid


def test_close_lets_attempts_end_within_the_grace(driver: Driver, tmp_path: Path) -> None:
    """The slot without work leaves at once, and the other one when its attempt has ended: nobody waits any longer."""
    driver.start(0, 1)
    began, ended = tmp_path / "began", tmp_path / "ended"
    driver.run(0, 1, "finish", began=str(began), ended=str(ended), seconds=0.3)
    until(began.exists)
    driver.pool.close(3600.0)
    assert ended.exists() and not driver.left()


def test_close_kills_who_does_not_leave(driver: Driver) -> None:
    driver.start(0)
    family = driver.family(0)
    driver.pool.close(0.1)
    assert not any(map(is_alive, family)) and not driver.left()


def test_a_lost_warden_takes_everything_with_it_and_is_replaced(driver: Driver) -> None:
    driver.start(0, 1)
    family = driver.family(0)
    driver.run(1, 5, "nap", seconds=600.0)
    assert driver.pool.warden is not None
    driver.pool.warden.kill()
    downs = [driver.down(0), driver.down(1)]
    assert {down.slot for down in downs} == {0, 1}
    assert not driver.left()
    group, session, unmarked, orphan = family
    assert not any(map(is_alive, (group, session, orphan)))
    os.kill(unmarked, signal.SIGKILL)  # without a warden and without a mark nobody can know whose it was
    driver.start(0)
    driver.run(0, 6, "noop")
    while driver.outcome(0).lease != 6:
        pass


# Pipes --------------------------------------------------------------------------------------------------------------


def test_a_pipe_ends_at_what_cannot_be_read() -> None:
    here, there = socket.socketpair()
    pipe = Pipe(here, from_warden())
    there.sendall(b"\x00\x00\x00\x02\xc1\xc1")
    assert pipe.receive() == [] and pipe.ended
    pipe.close()
    there.close()


def test_a_pipe_keeps_what_the_kernel_does_not_take_and_goes_on() -> None:
    here, there = socket.socketpair()
    pipe, other = Pipe(here, from_warden()), Pipe(there, from_warden())
    messages = [Exited(number, number) for number in range(50_000)]
    for message in messages:
        pipe.send(message)
    assert pipe.wants_write
    received: list[object] = []
    while len(received) < len(messages):
        received += other.receive()
        pipe.flush()
    assert received == messages and not pipe.wants_write
    other.close()
    pipe.send(messages[0])
    pipe.send(messages[0])
    assert pipe.ended and not pipe.wants_write
    pipe.close()


def test_descriptors_travel_with_their_message_and_leave_nothing_open(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    pipe, other = Pipe(here, from_warden()), Pipe(there, from_warden(), carries_fds=True)
    before = open_files()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(file, b"it is me")
    pipe.send(Exited(1, 1), (file,))
    assert open_files() == before, "the sender has kept its own"
    assert other.receive() == [Exited(1, 1)]
    assert os.pread(other.fds[0], 100, 0) == b"it is me"
    other.close()
    pipe.close()
    assert open_files() == before - 2


def psutil_status(pid: int) -> str:
    return str(psutil.Process(pid).status())


def open_files() -> int:
    gc.collect()  # what other tests have left in circles may be closed at any time: let it be now
    return psutil.Process().num_fds()
