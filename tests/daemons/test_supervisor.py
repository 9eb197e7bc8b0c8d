"""The supervisor, with real child processes that are small scripts."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from headrace.daemons.console import Console
from headrace.daemons.supervisor import Child, Supervisor

LIVE = "import signal, sys; print('begun', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('begun', flush=True); signal.pause()"


@dataclass(frozen=True)
class Script(Child):
    """A child that runs Python text in the place of a daemon."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", *self.arguments]


class Lines(Console):
    """A console that can be waited for."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.seen: list[str] = []
        self.news = threading.Condition()

    def line(self, name: str, text: str) -> None:
        with self.news:
            self.seen.append(f"{name}: {text}")
            self.news.notify_all()

    def wait_for(self, text: str, times: int = 1) -> None:
        with self.news:
            assert self.news.wait_for(lambda: sum(text in line for line in self.seen) >= times, 60), self.seen


@pytest.fixture
def lines() -> Lines:
    return Lines()


def supervise(supervisor: Supervisor, script: Callable[[], None]) -> int:
    """Run the supervisor in this (main) thread and the script in another one; whatever it does, the end is a stop."""
    errors: list[BaseException] = []

    def play() -> None:
        try:
            script()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            errors.append(error)
        with contextlib.suppress(OSError):  # it has stopped already, and taken its pipe along
            supervisor.stopper.stop()

    thread = threading.Thread(target=play)
    thread.start()
    code = supervisor.run()
    thread.join()
    if errors:
        raise errors[0]
    return code


def test_a_child_that_dies_is_started_again_with_another_pid(lines: Lines) -> None:
    supervisor = Supervisor([Script("one", [LIVE])], lines)
    supervisor.worked()
    pids = []

    def script() -> None:
        lines.wait_for("one: begun")
        pids.append(supervisor.living["one"].process.pid)
        os.kill(pids[0], signal.SIGKILL)
        lines.wait_for("one: begun", times=2)
        pids.append(supervisor.living["one"].process.pid)

    assert supervise(supervisor, script) == 0
    assert pids[0] != pids[1]
    assert "up: one ended with signal 9; starting it again in 0.2 s" in lines.seen
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_children_are_stopped_stage_after_stage(lines: Lines, tmp_path: Path) -> None:
    note = (
        "import signal, sys, time\n"
        "def leave(*a):\n"
        f"    open(r'{tmp_path}/order', 'a').write(sys.argv[1]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave); print('begun', flush=True)\n"
        "while True:\n"
        "    time.sleep(0.05)"  # no pause: a signal that comes right before it would be slept over
    )
    children = [Script("router", [note, "R"], stage=1), Script("broker", [note, "B"]), Script("pipeliner", [note, "B"])]
    assert supervise(Supervisor(children, lines), lambda: lines.wait_for("begun", times=3)) == 0
    assert (tmp_path / "order").read_text() == "BBR"


def test_a_child_that_does_not_stop_in_time_is_killed(lines: Lines) -> None:
    supervisor = Supervisor([Script("deaf", [STUBBORN])], lines, grace=0.1)
    assert supervise(supervisor, lambda: lines.wait_for("begun")) == 0
    assert not supervisor.living


def test_another_signal_ends_everything_at_once(lines: Lines) -> None:
    supervisor = Supervisor([Script("deaf", [STUBBORN])], lines, grace=3600)

    def script() -> None:
        lines.wait_for("begun")
        os.kill(os.getpid(), signal.SIGTERM)
        lines.wait_for("stopping")
        os.kill(os.getpid(), signal.SIGINT)

    assert supervise(supervisor, script) == 0


def test_a_cluster_that_never_worked_ends_with_the_code_of_the_daemon_that_failed(lines: Lines) -> None:
    supervisor = Supervisor(
        [Script("router", ["print('address in use'); raise SystemExit(7)"]), Script("b", [LIVE])], lines
    )
    assert supervisor.run() == 7
    assert lines.seen.count("router: address in use") == 3
    assert any("ended 3 times before it worked" in line for line in lines.seen)
    assert not supervisor.living


def test_wrong_settings_of_one_daemon_stop_all(lines: Lines) -> None:
    supervisor = Supervisor([Script("broker", ["raise SystemExit(2)"]), Script("router", [LIVE])], lines)
    supervisor.worked()
    assert supervisor.run() == 2


def test_the_last_words_of_a_child_are_shown_without_a_line_end(lines: Lines) -> None:
    supervisor = Supervisor([Script("broker", ["import sys; sys.stdout.write('no newline'); sys.exit(2)"])], lines)
    supervisor.run()
    assert "broker: no newline" in lines.seen


def test_a_line_without_end_is_shown_in_pieces(lines: Lines) -> None:
    supervisor = Supervisor([Script("broker", ["import sys; sys.stdout.write('x' * 300_000); sys.exit(2)"])], lines)
    supervisor.run()
    assert sum(line.count("x") for line in lines.seen if line.startswith("broker: x")) == 300_000


def test_an_end_of_output_is_not_taken_for_an_end_of_the_process(lines: Lines) -> None:
    quiet = "import os, signal; print('begun', flush=True); os.close(1); os.close(2); signal.pause()"
    supervisor = Supervisor([Script("quiet", [quiet])], lines)
    assert supervise(supervisor, lambda: lines.wait_for("begun")) == 0


def test_the_environment_of_a_child_is_its_own(lines: Lines) -> None:
    child = Script("one", ["import os; print(os.environ['SECRET']); raise SystemExit(2)"], environment={"SECRET": "x1"})
    Supervisor([child], lines).run()
    assert "one: x1" in lines.seen
    assert "SECRET" not in os.environ


def test_a_daemon_is_run_by_this_python_with_a_lifeline() -> None:
    command = Child("router", ["router", "--data", "d"]).command
    assert command[0] == sys.executable
    assert command[-4:] == ["router", "--data", "d", "--lifeline"]


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """The lifeline: standard input of a child closes with the supervisor."""
    child = f"import os, sys; open(r'{tmp_path}/pid', 'w').write(str(os.getpid())); sys.stdin.read()"
    program = (
        "import sys\n"
        "from headrace.daemons import supervisor\n"
        "from headrace.daemons.console import Console\n"
        "class Script(supervisor.Child):\n"
        "    command = property(lambda self: [sys.executable, '-c', *self.arguments])\n"
        f"supervisor.Supervisor([Script('one', [{child!r}])], Console(sys.stdout)).run()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    pid = _number_in(tmp_path / "pid")
    process.kill()
    process.wait()
    _until(lambda: not psutil.pid_exists(pid))


def _number_in(file: Path) -> int:
    _until(lambda: file.exists() and file.read_text().isdigit())
    return int(file.read_text())


def _until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)
