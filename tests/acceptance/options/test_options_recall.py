"""What waits in the pipe of one Broker is taken back when another one has nothing to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from headrace import Job, Pipeline
from headrace.pipeline.facts import Returned

WORKERS = '''
import os, time
from headrace import current, worker


@worker
def quick(folder):
    """Short, but for the one that has to wait."""
    job = current()
    with open(os.path.join(folder, "executions"), "a") as file:
        file.write(f"{job.job}\\n")
    while job.job == "first" and not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.02)
    return os.getpid()
'''
NAMES = [f"later{number}" for number in range(60)]
RECALL = b"\xa6recall"
"""How a message of that kind begins."""
ROUNDS = 20
"""A Broker hands back by itself what waits for long: on a busy machine now and then before it is asked to."""


class Ear:
    """A port that passes on to the Router, and notes what the Router says to whoever came through it."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("tcp://").split(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            try:
                far = socket.create_connection(self._target, 10)
            except OSError:
                near.close()  # there is no Router yet: the Broker tries again
                continue
            threading.Thread(target=_carry, args=(near, far, bytearray()), daemon=True).start()
            threading.Thread(target=_carry, args=(far, near, self.heard), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, heard: bytearray) -> None:
    try:
        while data := source.recv(65536):
            heard += data
            target.sendall(data)
    except OSError:
        pass  # one of them is gone
    finally:
        for end in (source, target):
            end.close()


@pytest.fixture
def ears(daemons: Any) -> Iterator[dict[str, Ear]]:
    """Two Brokers with one worker process each, that reach the Router through one of these."""
    (daemons.folder / "workers.py").write_text(WORKERS)
    daemons.start("router")
    daemons.start("pipeliner")
    with ExitStack() as stack:
        ears = {name: stack.enter_context(closing(Ear(daemons.api))) for name in ("broker", "broker2")}
        for name, ear in ears.items():
            daemons.start(name, "--processes", "1", "--api", ear.address)
        daemons.joined(brokers=2)
        yield ears


def test_what_waits_behind_a_long_job_is_taken_back_for_a_broker_that_has_nothing_to_do(
    daemons: Any, ears: dict[str, Ear], tmp_path: Path
) -> None:
    with daemons.manager(60) as manager:
        for round in range(ROUNDS):
            # Both Brokers have seen that this worker is quick: they take some of its jobs in advance. After a round
            # they think otherwise, for its first job was long.
            known = {Job("quick", name=f"known{number}"): None for number in range(300)}
            assert manager.wait(manager.start(Pipeline(known, {"folder": str(tmp_path)})), 60).ok
            folder = tmp_path / str(round)
            folder.mkdir()
            if taken_back(manager, folder, daemons, ears):
                return
    raise AssertionError("nothing was taken back")


def taken_back(manager: Any, folder: Path, daemons: Any, ears: dict[str, Ear]) -> bool:
    """One run, of which all but the first job end while that one holds one of the two worker processes. Was the Broker
    that runs it asked for what waited there?"""
    for ear in ears.values():
        ear.heard.clear()
    jobs = {Job("quick", name=name): None for name in ("first", *NAMES)}
    run = manager.start(Pipeline(jobs, {"folder": str(folder)}))
    daemons.until(lambda: done(manager, run) >= set(NAMES), what="everything but the first job has ended")
    assert "first" not in done(manager, run)
    (folder / "go").touch()
    ended = manager.wait(run, 60)
    assert ended.ok, ended.error
    facts = [fact for _, fact in manager.facts(run) if isinstance(fact, Returned)]
    assert {(fact.attempt, fact.kind) for fact in facts} == {(1, "success")} and len(facts) == len(NAMES) + 1
    assert sorted((folder / "executions").read_text().split()) == sorted(["first", *NAMES]), "each ran once"
    holder = next(name for name in ears if ended.results["first"] in [one.pid for one in daemons.children(name)])
    return RECALL in ears[holder].heard


def done(manager: Any, run: str) -> set[str]:
    return {name for name, state in manager.status(run).states.items() if state == "success"}
