"""Real worker processes, spoken to as a Broker would, through the two channels."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from headrace.pipeline.definition import CommandLine
from headrace.pipeline.payload import pack, unpack
from headrace.pipeline.task import (
    COMMAND,
    Assignment,
    Given,
    Input,
    Outcome,
    RunHeader,
    Supplied,
    Task,
    pack_task,
)
from headrace.workers.framing import frame, from_worker
from headrace.workers.messages import (
    Broken,
    Ended,
    Fetch,
    Fetched,
    FromWorker,
    Large,
    Leave,
    Monitoring,
    Packet,
    Progress,
    Resend,
    Settings,
    Stop,
    Up,
)

PATIENCE = 60.0
BODY = """
import os, socket, sys, msgspec
from headrace.workers.messages import Settings
from headrace.workers.process import main
settings = msgspec.json.decode(sys.argv[3], type=Settings)
main(socket.socket(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])), settings)
os._exit(0)
"""
WORKERS = """
import logging, os, sys, threading, time
import headrace
from headrace import Worker, worker

@worker
def double(number):
    return 2 * number

@worker
def pid():
    return os.getpid()

@worker
def talk(words):
    print(words)
    logging.getLogger("mine").warning("logged %s", words)
    os.write(2, b"written\\n")

@worker
def shout(words):
    print(words)
    raise ValueError("loud")

@worker
def die():
    os._exit(7)

@worker
def crash():
    os.kill(os.getpid(), 11)

@worker
def sleep(flag, seconds=600.0):
    open(flag, "w").close()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            time.sleep(0.05)  # a signal that comes right before a sleep is seen after it
    except Exception:
        return "swallowed"
    return "slept"

@worker
def shrug(flag):
    try:
        open(flag, "w").close()
        while True:
            time.sleep(0.05)
    except BaseException:
        pass
    return headrace.current().cancelled

@worker
def steps():
    headrace.current().progress(1, 2, "half")

@worker
def big(size):
    return "x" * size

@worker
def identity(value):
    return value

@worker
def leave():
    sys.exit("bye")

@worker
def forked():
    import multiprocessing
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode

@worker
def come_back_twice():
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return "parent" if child else "child"

@worker
async def wait(flag, seconds=600.0):
    import asyncio
    open(flag, "w").close()
    await asyncio.sleep(seconds)
    return "waited"

class Warm(Worker):
    def __init__(self):
        self.count = 0
    def process(self, data):
        self.count += 1
        return self.count
"""
STORES = """
import json, os
class Notes:
    def __init__(self, path, broken=False):
        if broken:
            raise OSError("no route to database")
        self.path = path
    def retrieve(self, info):
        return info["data"]
    def save(self, info):
        self._note({"job": info["job"], "result": info["worker_result"]})
    def save_monitoring(self, record):
        if record == "bad":
            raise ValueError("cannot keep this")
        self._note({"record": record})
    def close(self):
        self._note("closed")
    def _note(self, note):
        with open(self.path, "a") as file:
            file.write(json.dumps(note) + "\\n")
class Threaded(Notes):
    def retrieve(self, info):
        import threading
        found = []
        thread = threading.Thread(target=lambda: found.append(info["upstream"].get("before")), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(600)
        return {"value": found[0]}
class Forking(Notes):
    def retrieve(self, info):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return info["data"]
        try:
            dict(info["upstream"])
        except Exception as error:
            self._note(str(error))
        os._exit(0)
class Half:
    def retrieve(self, info): ...
"""

M = TypeVar("M")


class Child:
    """A worker process and the Broker's ends of its channels."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        settings.setdefault("modules", ("mine",))
        settings.setdefault("output", str(folder / "logs" / "worker-0.log"))
        self.settings = Settings(folder=str(folder), **settings)
        self.jobs, theirs = socket.socketpair(socket.AF_UNIX, getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM))
        self.reading_end = theirs
        self.stream, their_stream = socket.socketpair()
        arguments = [str(theirs.fileno()), str(their_stream.fileno()), msgspec.json.encode(self.settings).decode()]
        fds = [theirs.fileno(), their_stream.fileno()]
        self.process = subprocess.Popen([sys.executable, "-c", BODY, *arguments], pass_fds=fds)
        their_stream.close()
        self._reader = from_worker()
        self._messages: list[FromWorker] = []
        self._lease = 0

    def hear(self, kind: type[M]) -> M:
        """The next message, which has to be of this kind."""
        deadline = time.monotonic() + PATIENCE
        while not self._messages:
            ready, _, _ = select.select([self.stream], [], [], deadline - time.monotonic())
            assert ready, f"the worker process has not said {kind.__name__}"
            data = self.stream.recv(65536)
            assert data, f"the worker process is gone and has not said {kind.__name__}"
            self._messages += self._reader.feed(data)
        message = self._messages.pop(0)
        assert isinstance(message, kind), message
        return message

    def say(self, *messages: Any) -> None:
        self.stream.sendall(b"".join(map(frame, messages)))

    def packet(self, worker: str, data: Any = None, **options: Any) -> Packet:
        self._lease += 1
        inputs = tuple(options.pop("inputs", ()))
        task = Task(worker=worker, data=None if data is None else pack(data), complete=not inputs, **options)
        assignment = Assignment(self._lease, "run", worker, (), 1, worker, pack_task(task), inputs)
        return Packet(RunHeader("run"), assignment, self._lease)

    def feed(self, worker: str, data: Any = None, **options: Any) -> int:
        packet = self.packet(worker, data, **options)
        self.jobs.send(msgspec.msgpack.encode(packet))
        return packet.lease

    def run(self, worker: str, data: Any = None, **options: Any) -> Outcome:
        lease = self.feed(worker, data, **options)
        outcome = self.hear(Ended).outcome
        assert outcome.lease == lease
        return outcome

    def stop(self, lease: int, why: str = "cancelled") -> None:
        self.say(Stop(lease, why))
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(WORKERS)
    (tmp_path / "places.py").write_text(STORES)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(**settings: Any) -> Child:
        children.append(Child(folder, **settings))
        return children[-1]

    yield start
    for child in children:
        child.process.kill()
        child.process.wait()
        for end in (child.jobs, child.reading_end, child.stream):
            end.close()


@pytest.fixture
def child(start: Callable[..., Child]) -> Child:
    child = start()
    child.hear(Up)
    return child


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        select.select([], [], [], 0.005)


def result(outcome: Outcome) -> Any:
    assert outcome.kind == "success", outcome.error
    return unpack(outcome.result)


# Start --------------------------------------------------------------------------------------------------------------


def test_a_process_begins_by_saying_what_it_can_do(start: Callable[..., Child]) -> None:
    child = start()
    up = child.hear(Up)
    assert up.pid == child.process.pid
    cards = {card.name: card for card in up.cards}
    assert cards["double"].requires == ("number",)
    assert cards["Warm"].kind == "class"
    assert len(cards["double"].version) == 12
    assert up.warnings == ()


def test_a_default_module_that_is_missing_is_a_warning(start: Callable[..., Child]) -> None:
    up = start(modules=("absent",), required=False).hear(Up)
    assert [card.name for card in up.cards] == ["echo", "cmd", "shell"]
    assert "no module 'absent'" in up.warnings[0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"modules": ("absent",)}, "there is no module 'absent'"),
        ({"modules": ("torn",)}, "module 'torn' cannot be imported:\nTraceback"),
        ({"store": "places:Nothing"}, "places has no 'Nothing'"),
        ({"store": "places"}, "module:Class"),
        ({"store": "nowhere:Store"}, "No module named 'nowhere'"),
        ({"store": "gone.py:Store"}, "there is no Python file"),
        ({"store": "places:Half"}, "it has no save(self, info)"),
        (
            {"store": "places:Notes", "store_config": pack({"path": "x", "broken": True})},
            "cannot be made: OSError: no route to database (configured keys: path, broken)",
        ),
        ({"store": "places:Notes", "store_config": pack({"secret": "pw"})}, "unexpected keyword argument 'secret'"),
    ],
)
def test_what_cannot_be_made_is_told_and_the_process_ends(
    start: Callable[..., Child], folder: Path, settings: dict[str, Any], expected: str
) -> None:
    (folder / "torn.py").write_text("1 / 0\n")
    child = start(**settings)
    broken = child.hear(Broken)
    assert expected in broken.message
    assert "pw" not in broken.message
    assert child.ended() == 0


# Work ---------------------------------------------------------------------------------------------------------------


def test_attempts_run_in_the_order_of_their_packets_in_one_warm_process(child: Child) -> None:
    leases = [child.feed("Warm") for _ in range(20)]
    outcomes = [child.hear(Ended).outcome for _ in range(20)]
    assert [outcome.lease for outcome in outcomes] == leases
    assert [result(outcome) for outcome in outcomes] == list(range(1, 21))
    assert result(child.run("pid")) == child.process.pid


def test_packets_that_are_taken_back_are_never_run(child: Child, folder: Path) -> None:
    first = child.feed("sleep", {"flag": str(folder / "running"), "seconds": 600.0})
    for number in range(5):
        child.feed("double", {"number": number})
    until((folder / "running").exists)
    taken = []
    with pytest.raises(BlockingIOError):
        while True:
            taken.append(child.reading_end.recv(65536, socket.MSG_DONTWAIT))
    assert len(taken) == 5
    child.stop(first)
    assert child.hear(Ended).outcome.kind == "cancelled"
    assert result(child.run("double", {"number": 21})) == 42


def test_an_attempt_too_large_for_a_packet_is_asked_for(child: Child) -> None:
    large = child.packet("identity", {"value": "x" * 200_000})
    child.jobs.send(msgspec.msgpack.encode(Packet(None, None, large.lease)))
    assert child.hear(Resend).lease == large.lease
    child.say(Large(large))
    outcome = child.hear(Ended).outcome
    assert outcome.lease == large.lease
    assert "200005 bytes; 65536 travel" in (outcome.error.message if outcome.error else "")


def test_a_large_result_lies_in_the_values_folder(start: Callable[..., Child], folder: Path) -> None:
    child = start(values=str(folder / "values"), inline_limit=1000)
    child.hear(Up)
    outcome = child.run("big", {"size": 2000})
    assert outcome.ref is not None
    assert unpack((folder / "values" / outcome.ref).read_bytes()) == "x" * 2000
    again = child.run("identity", bind="item", inputs=[Supplied(Input("big"), None, outcome.ref)])
    assert again.ref is not None


def test_values_are_fetched_while_the_worker_waits(child: Child) -> None:
    child.feed("identity", bind="item", inputs=[Supplied(Input("before"))])
    fetch = child.hear(Fetch)
    assert (fetch.want.run, fetch.want.kind, fetch.want.job) == ("run", "result", "before")
    child.say(Fetched(fetch.number + 100, Given()), Fetched(fetch.number, Given((((), "success", pack(7), None),))))
    assert result(child.hear(Ended).outcome) == 7


def test_progress_comes_before_the_outcome(child: Child) -> None:
    lease = child.feed("steps")
    assert child.hear(Progress) == Progress(lease, 1.0, 2.0, "half")
    assert child.hear(Ended).outcome.kind == "success"


# Output -------------------------------------------------------------------------------------------------------------


def test_the_output_of_an_attempt_is_told_by_file_offset_and_length(child: Child) -> None:
    child.run("talk", {"words": "first"})
    outcome = child.run("talk", {"words": "second"})
    assert outcome.log is not None
    file, offset, length = outcome.log
    assert file == child.settings.output
    text = Path(file).read_bytes()[offset : offset + length].decode()
    assert text.startswith("second\n")
    assert "mine - WARNING - logged second\n" in text
    assert text.endswith("written\n")
    assert child.run("double", {"number": 1}).log is None


def test_the_end_of_the_output_travels_with_a_failure(child: Child) -> None:
    child.run("talk", {"words": "somebody else"})
    outcome = child.run("shout", {"words": "last words"})
    assert outcome.error is not None
    assert outcome.error.log_tail == "last words\n"


def test_a_command_runs_in_the_folder_of_the_workers(child: Child, folder: Path) -> None:
    line = CommandLine(shell="echo noise >&2; pwd")
    outcome = child.run(COMMAND, command=line)
    assert result(outcome) == {"stdout": f"{folder.resolve()}\n"}
    assert outcome.log is not None
    assert outcome.log[2] == len("noise\n")


# Ends of attempts ----------------------------------------------------------------------------------------------------


def test_sys_exit_is_a_failure_and_not_the_end_of_the_process(child: Child) -> None:
    assert child.run("leave").kind == "failed"
    assert result(child.run("double", {"number": 2})) == 4


def test_the_death_of_a_process_is_the_end_of_its_stream(child: Child) -> None:
    child.feed("die")
    assert child.ended() == 7
    assert child.stream.recv(1) == b""


def test_a_crash_leaves_its_stack_in_the_output(child: Child) -> None:
    child.feed("crash")
    assert child.ended() == -signal.SIGSEGV
    text = Path(child.settings.output or "").read_text()
    assert "Segmentation fault" in text
    assert "in crash" in text


@pytest.mark.parametrize(("why", "error"), [("timeout", "JobTimeout"), ("cancelled", "JobCancelled")])
def test_a_stop_interrupts_code_that_swallows_exceptions(child: Child, folder: Path, why: str, error: str) -> None:
    lease = child.feed("sleep", {"flag": str(folder / "running")})
    until((folder / "running").exists)
    child.stop(lease, why)
    outcome = child.hear(Ended).outcome
    assert (outcome.kind, outcome.error.type if outcome.error else "") == (why, error)
    assert result(child.run("double", {"number": 2})) == 4


def test_code_that_shrugs_a_stop_off_can_see_it(child: Child, folder: Path) -> None:
    lease = child.feed("shrug", {"flag": str(folder / "running")})
    until((folder / "running").exists)
    child.stop(lease)
    assert result(child.hear(Ended).outcome) is True


def test_a_stop_reaches_an_attempt_that_waits_for_a_value(child: Child) -> None:
    lease = child.feed("identity", bind="item", inputs=[Supplied(Input("before"))])
    fetch = child.hear(Fetch)
    child.stop(lease)
    assert child.hear(Ended).outcome.kind == "cancelled"
    child.say(Fetched(fetch.number, Given()))
    assert result(child.run("double", {"number": 2})) == 4


def test_a_stop_reaches_a_coroutine_and_the_next_one_runs(child: Child, folder: Path) -> None:
    lease = child.feed("wait", {"flag": str(folder / "running")})
    until((folder / "running").exists)
    child.stop(lease)
    assert child.hear(Ended).outcome.kind == "cancelled"
    assert result(child.run("wait", {"flag": str(folder / "again"), "seconds": 0.0})) == "waited"


def test_a_thread_may_read_and_a_stop_that_it_reads_reaches_the_worker(
    start: Callable[..., Child], folder: Path
) -> None:
    child = start(store="places:Threaded", store_config=pack({"path": str(folder / "notes")}))
    child.hear(Up)
    child.feed("identity", inputs=[Supplied(Input("before"))])
    child.say(Fetched(child.hear(Fetch).number, Given((((), "success", pack(7), None),))))
    assert result(child.hear(Ended).outcome) == 7
    lease = child.feed("identity", inputs=[Supplied(Input("another"))], report=("unused",))
    child.hear(Fetch)
    child.say(Stop(lease, "timeout"))  # no signal: whoever reads it has to wake the main thread
    assert child.hear(Ended).outcome.kind == "timeout"
    assert (folder / "notes").read_text().endswith('"closed"\n')


def test_a_stop_reaches_the_whole_group_of_a_command(child: Child, folder: Path) -> None:
    flag = folder / "pid"
    lease = child.feed(
        COMMAND, command=CommandLine(shell=f"echo $$ > {flag}.new; mv {flag}.new {flag}; sleep 600; true")
    )
    until(flag.exists)
    group = int(flag.read_text())
    child.stop(lease, "timeout")
    assert child.hear(Ended).outcome.kind == "timeout"
    with pytest.raises(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            select.select([], [], [], 0.005)


def test_a_stop_for_an_attempt_that_waits_ends_it_unbegun(child: Child, folder: Path) -> None:
    first = child.feed("sleep", {"flag": str(folder / "running")})
    second = child.feed("sleep", {"flag": str(folder / "never")})
    until((folder / "running").exists)
    child.stop(second)
    child.stop(first)
    assert [child.hear(Ended).outcome.kind for _ in range(2)] == ["cancelled", "cancelled"]
    assert not (folder / "never").exists()


def test_signals_between_attempts_do_nothing(child: Child) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        child.process.send_signal(number)
    child.stop(999)
    assert result(child.run("double", {"number": 2})) == 4


def test_many_stops_at_any_moment_never_break_the_process(child: Child) -> None:
    """Each attempt is stopped somewhere between its packet and its outcome, or after it: one outcome each, in order."""
    for round_ in range(200):
        lease = child.feed("talk", {"words": "x" * 50})
        select.select([], [], [], (round_ % 20) / 20_000)
        child.stop(lease)
        outcome = child.hear(Ended).outcome
        assert outcome.lease == lease
        assert outcome.kind in ("success", "cancelled")
    assert result(child.run("double", {"number": 2})) == 4


def test_what_a_worker_forks_can_be_terminated(child: Child) -> None:
    assert result(child.run("forked")) == -signal.SIGTERM


def test_a_forked_child_that_comes_back_is_no_second_worker(child: Child) -> None:
    assert result(child.run("come_back_twice")) == "parent"
    assert result(child.run("double", {"number": 2})) == 4


def test_a_forked_child_cannot_read_the_answers_of_its_parent(start: Callable[..., Child], folder: Path) -> None:
    child = start(store="places:Forking", store_config=pack({"path": str(folder / "notes")}))
    child.hear(Up)
    assert result(child.run("identity", {"value": 5}, inputs=[Supplied(Input("before"))])) == 5
    assert "forked" in (folder / "notes").read_text()


# The end of the process ----------------------------------------------------------------------------------------------


def test_leave_ends_the_process_and_closes_the_store(start: Callable[..., Child], folder: Path) -> None:
    notes = folder / "notes"
    child = start(store="places:Notes", store_config=pack({"path": str(notes)}))
    child.hear(Up)
    assert child.run("identity", {"value": 5}).kind == "success"
    child.say(Leave())
    assert child.ended() == 0
    assert notes.read_text() == '{"job": "identity", "result": 5}\n"closed"\n'


def test_leave_read_by_a_signal_handler_wakes_the_process(child: Child) -> None:
    child.say(Leave())
    child.process.send_signal(signal.SIGTERM)
    assert child.ended() == 0


def test_a_process_ends_when_its_broker_is_gone(child: Child) -> None:
    child.stream.close()
    assert child.ended() == 0


def test_a_process_ends_when_its_broker_goes_while_it_works(child: Child, folder: Path) -> None:
    child.feed("sleep", {"flag": str(folder / "running"), "seconds": 0.05})
    until((folder / "running").exists)
    child.stream.close()
    assert child.ended() == 0


def test_a_store_may_stand_in_a_script(start: Callable[..., Child], folder: Path) -> None:
    script = folder / "my broker.py"
    script.write_text(f"{textwrap.dedent(STORES)}\nif __name__ == '__main__':\n    raise SystemExit('started twice')\n")
    child = start(store=f"{script}:Notes", store_config=pack({"path": str(folder / "notes")}))
    child.hear(Up)
    assert child.run("identity", {"value": 5}).kind == "success"
    assert (folder / "notes").read_text().startswith('{"job": "identity"')


def test_a_monitor_gives_records_to_the_store_and_survives_its_errors(
    start: Callable[..., Child], folder: Path
) -> None:
    notes = folder / "notes"
    child = start(monitor=True, store="places:Notes", store_config=pack({"path": str(notes)}))
    child.hear(Up)
    child.say(Monitoring(pack("bad")), Monitoring(b"\xc1"), Monitoring(pack({"cpu": 1})), Leave())
    assert child.ended() == 0
    assert notes.read_text() == '{"record": {"cpu": 1}}\n"closed"\n'
    assert "failed to save a monitoring record" in (folder / "logs" / "worker-0.log").read_text()
