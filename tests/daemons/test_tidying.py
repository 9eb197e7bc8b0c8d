"""What a Broker keeps in order: output that grows without end, and folders of Brokers that are long gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from slots_bench import Bench

from headrace.daemons.output import OutputReader
from headrace.daemons.protocol import ReadOutput
from headrace.daemons.tidying import KEEP, SETTLED, SWEEP, Tidying

LIMIT = 1000


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "broker-7").mkdir()
    return tmp_path / "broker-7"


def former(own: Path, name: str, days: float) -> Path:
    folder = own.parent / name
    folder.mkdir()
    (folder / "worker-0.log").write_text("once")
    then = time.time() - days * 86400.0
    for path in (folder / "worker-0.log", folder):
        os.utime(path, (then, then))
    return folder


def test_folders_that_nobody_has_written_to_for_long_go(own: Path) -> None:
    old, young = former(own, "broker-1", 31), former(own, "broker-2", 29)
    busy = former(own, "broker-3", 31)
    (busy / "worker-1.log").write_text("now")
    other = former(own, "something-else", 99)
    os.utime(own, (0, 0))
    Tidying(OutputReader(own.parent, own), LIMIT, KEEP, 0.0).due((), 0.0)
    assert not old.exists() and young.exists() and busy.exists() and other.exists()
    assert own.stat().st_mtime > time.time() - 60, "one that runs is touched, for others to see"


def test_they_are_looked_at_again_after_a_while_and_kept_on_request(own: Path) -> None:
    output = OutputReader(own.parent, own)
    tidying = Tidying(output, LIMIT, KEEP, 0.0)
    tidying.due((), 0.0)
    old = former(own, "broker-1", 31)
    Tidying(output, LIMIT, 0.0, 0.0).due((), 0.0)
    tidying.due((), SWEEP - 1.0)
    assert old.exists()
    tidying.due((), SWEEP)
    assert not old.exists()


def test_a_folder_that_is_not_there_yet_is_no_harm(tmp_path: Path) -> None:
    Tidying(OutputReader(tmp_path / "logs", tmp_path / "logs" / "broker-7"), LIMIT, KEEP, 0.0).due((), 0.0)


def test_the_output_of_what_runs_loses_its_middle_and_can_be_followed_over_that(own: Path) -> None:
    log, output, bench = own / "worker-0.log", OutputReader(own.parent, own), Bench()
    log.write_bytes(b"start\n")
    output.up(0)
    bench.run(1)
    tidying = Tidying(output, LIMIT, KEEP, bench.now)
    with log.open("ab") as file:
        file.write(b"a" * 400 + b"m" * 5000 + b"z" * 600)
    tidying.due(bench.machine.slots, bench.now + SETTLED / 2)
    assert log.stat().st_size == 6006, "it could still be another attempt's"

    def read(offset: int) -> bytes:
        return output.of_running(ReadOutput("ask", "r", "A", (), 1, offset=offset, size=10_000), 0).data

    assert len(read(0)) == 6000
    tidying.due(bench.machine.slots, bench.now + SETTLED)
    assert log.stat().st_size < 1100
    assert read(6000) == b"" and read(5999) == b"z"
    with log.open("ab") as file:
        file.write(b"more")
    assert read(6000) == b"more"
    assert read(3000).startswith(b"\n... 5000 bytes of output were cut here ...\n")
    output.ended(0, (str(log), 6, log.stat().st_size - 6))
    assert read(0) == b""


def test_idle_slots_are_left_alone(own: Path) -> None:
    log, output, bench = own / "worker-0.log", OutputReader(own.parent, own), Bench()
    output.up(0)
    log.write_bytes(b"x" * 5000)
    Tidying(output, LIMIT, KEEP, bench.now).due(bench.machine.slots, bench.now + 10.0)
    assert log.stat().st_size == 5000
