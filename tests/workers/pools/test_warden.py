"""The warden sees to the end of everything, whatever becomes of its owner."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pool_driver import WORKERS, Driver, is_alive, until

from headrace.workers import clock, trees
from headrace.workers.pool import SlotDown

OWNER = """
import os, signal, sys
from pathlib import Path
from headrace.workers import clock
sys.path.insert(0, sys.argv[2])
from pool_driver import Driver
driver = Driver(Path(sys.argv[1]), tree=sys.argv[3])
driver.start(0, 1)
pids = driver.family(0) + driver.family(1)
pids += [process.pid for process in driver.left()]
(driver.folder / "warden").write_text(str(driver.pool.warden.pid))
(driver.folder / "pids.new").write_text(" ".join(map(str, pids)))
(driver.folder / "pids.new").rename(driver.folder / "pids")
if sys.argv[4] != "None":
    driver.pool.renew(clock.now() + float(sys.argv[4]))
    os.kill(os.getpid(), signal.SIGSTOP)
while True:
    driver.listen(0.1)
    (driver.folder / "events").write_text(repr(driver.heard))
"""


class Owner:
    """Another process that has a pool, with children at work in both slots. With a deadline it stops right after it
    has told the warden of it."""

    def __init__(self, folder: Path, deadline: float | None = None) -> None:
        self.folder = folder
        self.tree = f"test-{os.getpid()}-{folder.name}"
        here = str(Path(__file__).parent)
        command = [sys.executable, "-c", OWNER, str(folder), here, self.tree, str(deadline)]
        self.process = subprocess.Popen(command)
        until((folder / "pids").exists, "the start of the pool")
        self.pids = [int(word) for word in (folder / "pids").read_text().split()]
        self.warden = int((folder / "warden").read_text())
        assert len(self.pids) >= 2 * 4 + 3 and self.warden in self.pids

    def gone(self) -> bool:
        return not any(map(is_alive, self.pids)) and not trees.alive(trees.marked(trees.TREE, self.tree))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        until(self.gone, "the end of everything")


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path)
    yield driver
    driver.pool.close()
    assert not driver.left()


def test_everything_ends_when_the_owner_is_killed(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.process.send_signal(signal.SIGKILL)
    owner.process.wait()
    until(owner.gone, "the end of everything")


def test_everything_ends_at_the_deadline_when_the_owner_is_stopped(tmp_path: Path) -> None:
    owner = Owner(tmp_path, deadline=1.0)
    until(lambda: psutil.Process(owner.process.pid).status() == psutil.STATUS_STOPPED, "the stop of the owner")
    workers = set(owner.pids) - {owner.warden}
    until(lambda: not any(map(is_alive, workers)), "the end of the workers")
    owner.process.send_signal(signal.SIGCONT)
    events = tmp_path / "events"
    until(lambda: events.exists() and events.read_text().count("SlotDown") == 2, "the news")
    owner.close()


def test_a_deadline_that_is_moved_or_dropped_harms_nobody(driver: Driver) -> None:
    driver.pool.renew(clock.now() + 600.0)  # before there is a warden
    driver.start(0)
    warden = driver.pool.warden
    assert warden is not None
    for later in (clock.now() + 600.0, None):
        warden.send_signal(signal.SIGSTOP)  # it hears of both at once: else the second might come too late
        until(lambda: psutil.Process(warden.pid).status() == psutil.STATUS_STOPPED)
        soon = clock.now() + 0.2
        driver.pool.renew(soon)
        driver.pool.renew(later)
        warden.send_signal(signal.SIGCONT)
        until(lambda soon=soon: clock.now() > soon)
        driver.run(0, 1, "nap", seconds=0.7)  # longer than the warden waits between two looks at the clock
        assert driver.result(0) == 0.7


def test_a_deadline_that_has_passed_ends_what_runs_and_only_that(driver: Driver) -> None:
    driver.start(0, 1)
    driver.pool.renew(clock.now() + 0.1)
    ends = [driver.down(0), driver.down(1)]
    assert [(end.signal, end.overdue) for end in ends] == [(signal.SIGKILL, True)] * 2
    driver.start(0)
    driver.pool.kill(0)
    assert not driver.down(0).overdue
    driver.start(0)
    driver.run(0, 1, "noop")
    assert driver.result(0) is None


def test_signals_that_end_other_processes_do_not_end_the_warden(driver: Driver) -> None:
    driver.start(0)
    warden = driver.pool.warden
    assert warden is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        warden.send_signal(number)
    driver.run(0, 1, "noop")
    assert driver.result(0) is None
    driver.pool.kill(0)
    driver.down(0)
    assert warden.poll() is None


def test_a_worker_process_inherits_nothing_but_its_own(driver: Driver) -> None:
    """Its two sockets, its output and what Python needs: with a sibling's stream its death would not be heard."""
    driver.start(0, 1, 2)
    assert driver.pool.warden is not None
    workers = psutil.Process(driver.pool.warden.pid).children()
    counts = {worker.num_fds() for worker in workers}
    assert len(workers) == 3 and len(counts) == 1
    driver.pool.kill(1)
    driver.down(1)
    assert [event for event in driver.heard if isinstance(event, SlotDown)] == []


def test_the_owner_and_the_warden_leak_no_descriptors(driver: Driver) -> None:
    """Counted after deaths: the warden closes its ends of a new process' streams when that may be up already."""
    driver.start(0)
    assert driver.pool.warden is not None
    both = psutil.Process(), psutil.Process(driver.pool.warden.pid)
    counts = []
    for _ in range(6):
        driver.pool.kill(0)
        driver.down(0)
        gc.collect()  # what other tests have left in circles may be closed at any time: let it be now
        counts.append([process.num_fds() for process in both])
        driver.start(0)
    assert counts == counts[:1] * 6


def test_the_lock_is_held_until_the_last_process_has_ended(tmp_path: Path) -> None:
    file = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    driver = Driver(tmp_path, lock=file)
    driver.start(0)
    os.close(file)
    other = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    driver.pool.close()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_the_modules_of_the_owner_are_found_and_its_environment_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "shared.py").write_text("word = 'found'")
    monkeypatch.syspath_prepend(str(library))
    monkeypatch.setenv("PYTHONPATH", "/just/this")
    monkeypatch.setenv("COLOUR", "blue")
    driver = Driver(tmp_path)
    asking = (
        "import os, shared\n@worker\ndef ask(): return [shared.word, os.environ['PYTHONPATH'], os.environ['COLOUR']]\n"
    )
    (tmp_path / "workers.py").write_text(WORKERS + asking)
    driver.start(0)
    driver.run(0, 1, "ask")
    assert driver.result(0) == ["found", "/just/this", "blue"]
    driver.pool.close()


def test_trees_are_found_by_their_marks_only(tmp_path: Path) -> None:
    environ = {**os.environ, trees.TREE: f"marked-{tmp_path.name}"}
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    marked, other = subprocess.Popen(sleep, env=environ), subprocess.Popen(sleep)
    try:
        until(lambda: trees.marked(trees.TREE, environ[trees.TREE]))
        assert trees.end_marked(trees.TREE, environ[trees.TREE])
        assert marked.wait() == -signal.SIGKILL and is_alive(other.pid)
        assert trees.descendants(marked.pid) == set()
        assert not trees.is_zombie(marked.pid)
        trees.kill_group(marked.pid)
        trees.kill([])
    finally:
        other.kill()
        other.wait()
