"""A Broker moves in only when nothing is left of those that died there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from headrace.daemons.slots.residence import Residence
from headrace.pipeline.errors import ConfigError
from headrace.workers import trees

RESIDENT = """
import os, subprocess, sys, time
from pathlib import Path
from headrace.daemons.slots.residence import Residence
from headrace.workers import trees
residence = Residence.take(Path(sys.argv[1]))
residence.sign(sys.argv[3])
environ = {**os.environ, trees.TREE: residence.tree}
command = [sys.executable, "-c", "import time; time.sleep(float(%r))" % sys.argv[2]]
child = subprocess.Popen(command, env=environ, pass_fds=(residence.lock,), start_new_session=True)
print(residence.tree, child.pid, flush=True)
time.sleep(600)
"""


class Resident:
    """A Broker with one child that holds the lock, as a warden would."""

    def __init__(self, data: Path, seconds: float, identity: str = "resident") -> None:
        command = [sys.executable, "-c", RESIDENT, str(data), str(seconds), identity]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.tree, child = self.process.stdout.readline().split()
        self.child = int(child)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_neighbours_do_not_disturb_each_other(tmp_path: Path) -> None:
    first, second = Residence.take(tmp_path), Residence.take(tmp_path)
    first.wait_for_the_dead()
    second.wait_for_the_dead()
    assert first.folder.exists() and second.folder.exists()
    first.leave()
    second.wait_for_the_dead()
    assert not first.folder.exists()
    second.leave()


def test_what_is_left_of_a_dead_broker_is_waited_for(tmp_path: Path) -> None:
    resident = Resident(tmp_path, 1.0)
    residence = Residence.take(tmp_path)
    assert residence.wait_for_the_dead() == ()
    assert resident.process.poll() is None, "a living neighbour was waited for"
    resident.kill()
    assert residence.wait_for_the_dead() == ("resident",)
    assert not trees.marked(trees.TREE, resident.tree)
    assert [path.name for path in (tmp_path / "brokers").iterdir() if path.is_dir()] == [residence.tree]
    residence.leave()


def test_what_does_not_end_by_itself_is_killed(tmp_path: Path) -> None:
    resident = Resident(tmp_path, 600.0)
    os.kill(resident.child, signal.SIGSTOP)
    resident.kill()
    residence = Residence.take(tmp_path)
    residence.wait_for_the_dead()
    assert not trees.alive(trees.marked(trees.TREE, resident.tree))
    residence.leave()


@pytest.mark.parametrize("signature", ["", "resident\n", "resident\nanother-host 1 pid:[1]\n", "\n\n", "\udcff"])
def test_nobody_is_declared_dead_who_did_not_live_on_this_machine(tmp_path: Path, signature: str) -> None:
    resident = Resident(tmp_path, 0.1)
    file = tmp_path / "brokers" / resident.tree / "broker"
    file.write_bytes(signature.encode("utf-8", "surrogateescape"))
    resident.kill()
    residence = Residence.take(tmp_path)
    assert residence.wait_for_the_dead() == ()
    assert not trees.alive(trees.marked(trees.TREE, resident.tree))
    residence.leave()


def test_two_that_come_at_once_both_wait(tmp_path: Path) -> None:
    resident = Resident(tmp_path, 600.0)
    resident.kill()
    residences = [Residence.take(tmp_path) for _ in range(2)]
    waits = [threading.Thread(target=residence.wait_for_the_dead) for residence in residences]
    for wait in waits:
        wait.start()
    for wait in waits:
        wait.join(60.0)
        assert not wait.is_alive()
    assert not trees.alive(trees.marked(trees.TREE, resident.tree))
    for residence in residences:
        residence.leave()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/brokers.*--data"):
        Residence.take(tmp_path / "file")
