"""A pool of worker processes on this machine.

Per process there are two pairs of sockets. `jobs` is a pair of datagrams whose reading end stays open here too: what is
read here was never begun there, and the kernel decides who was first. `stream` carries everything else, and its end
tells that the process has ended. The processes are made, signalled and buried by the warden (`warden.py`), which is
started with the first of them; should it be lost, everything that it started is killed, and the next `start` makes
another one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass

from .. import clock, control, trees
from ..framing import from_worker
from ..messages import Broken, FromWorker, Leave, Settings, ToWorker, Up
from ..pipe import Pipe
from ..pool import PoolEvent, Said, SlotBroken, SlotDown, SlotUp

logger = logging.getLogger(__name__)

PIPE = 1024 * 1024
"""Bytes that a worker's pipe may hold; the kernel may allow less."""
LARGEST = 65536
TAIL = 4096
WARDEN_PATIENCE = 5.0
"""How long the warden may take to end, once it has nothing more to do."""


@dataclass(slots=True, eq=False)
class Process:
    slot: int
    serial: int
    jobs: socket.socket
    """We write packets here."""
    unread: socket.socket
    """The reading end: the process has it too."""
    pipe: Pipe[FromWorker]
    settings: Settings
    output_start: int
    """Where its output begins in its file."""
    pid: int = 0
    down: bool = False


class LocalPool:
    """`lock`: a descriptor that every process of the tree keeps open until its end."""

    def __init__(self, *, tree: str | None = None, lock: int | None = None) -> None:
        self.tree = tree or uuid.uuid4().hex
        self.warden: subprocess.Popen[bytes] | None = None
        self._lock = lock
        self._processes: dict[int, Process] = {}
        """By slot: the last process that was started there."""
        self._serials: dict[int, Process] = {}
        """By serial: those that have not ended."""
        self._serial = itertools.count(1)
        self._control: Pipe[control.FromWarden] | None = None
        self._deadline: float | None = None
        self._selector = selectors.DefaultSelector()
        self._blocked: set[Pipe[FromWorker] | Pipe[control.FromWarden]] = set()
        """Pipes that have more to write than the kernel takes."""

    # Commands -------------------------------------------------------------------------------------------------------

    def start(self, slot: int, settings: Settings) -> None:
        warden = self._started_warden()
        old = self._processes.get(slot)
        if old is not None:
            if not old.down:
                raise RuntimeError(f"slot {slot} has a process already: serial {old.serial}, pid {old.pid}")
            _close_sockets(old)
        jobs, unread = _packet_pair()
        stream, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pipe = Pipe(stream, from_worker())
        process = Process(slot, next(self._serial), jobs, unread, pipe, settings, _size(settings.output))
        self._processes[slot] = self._serials[process.serial] = process
        self._selector.register(pipe, selectors.EVENT_READ, process)
        self._send(warden, control.Fork(process.serial, settings), (os.dup(unread.fileno()), theirs.detach()))

    def feed(self, slot: int, packet: bytes) -> bool:
        process = self._processes.get(slot)
        if process is None or process.down:
            return False
        try:
            process.jobs.send(packet)
        except OSError:  # full: EAGAIN, or ENOBUFS on macOS
            return False
        return True

    def take_back(self, slot: int) -> list[bytes]:
        process = self._processes.get(slot)
        packets: list[bytes] = []
        if process is not None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    packets.append(process.unread.recv(LARGEST, socket.MSG_DONTWAIT))
        return packets

    def send(self, slot: int, message: ToWorker) -> None:
        process = self._processes.get(slot)
        if process is not None and not process.down:
            self._send(process.pipe, message)

    def interrupt(self, slot: int) -> None:
        self._order(slot, control.Terminate)

    def kill(self, slot: int) -> None:
        self._order(slot, control.Kill)

    def renew(self, at: float | None) -> None:
        self._deadline = at
        if self._control is not None:
            self._send(self._control, control.Deadline(at))

    # Events ---------------------------------------------------------------------------------------------------------

    def filenos(self) -> list[int]:
        return [self._selector.fileno()]

    def poll(self, timeout: float = 0.0) -> list[PoolEvent]:
        events: list[PoolEvent] = []
        for key, mask in self._selector.select(timeout):
            if mask & selectors.EVENT_WRITE:
                self._flush(key.fileobj)  # type: ignore[arg-type]
            if not mask & selectors.EVENT_READ:
                continue
            if key.data is None:
                self._hear_warden(events)
            elif not key.data.down:
                self._hear(key.data, events)
        return events

    def close(self, grace: float = 0.0) -> None:
        """Ask everybody to leave, then let the warden kill who has not, and see that it has. Again is harmless."""
        for process in self._serials.values():
            self._send(process.pipe, Leave())
        end = clock.now() + grace
        while self._serials and (left := end - clock.now()) > 0:
            self.poll(left)
        if self._control is not None:
            self._end_warden()
        for process in self._processes.values():
            _close_sockets(process)
        self._processes.clear()
        self._serials.clear()
        self._selector.close()

    # The warden -----------------------------------------------------------------------------------------------------

    def _started_warden(self) -> Pipe[control.FromWarden]:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        fds = (theirs.fileno(),) if self._lock is None else (theirs.fileno(), self._lock)
        self.warden = subprocess.Popen(
            [sys.executable, "-P", "-m", "headrace.workers.warden", *map(str, fds)],
            stdin=subprocess.DEVNULL,
            env={**os.environ, trees.TREE: self.tree, "PYTHONPATH": _our_path()},
            pass_fds=fds,
            start_new_session=True,
        )
        theirs.close()
        self._control = Pipe(ours, control.from_warden())
        self._selector.register(self._control, selectors.EVENT_READ, None)
        self._send(self._control, control.Prepare(os.environ.get("PYTHONPATH")))
        self._send(self._control, control.Deadline(self._deadline))
        return self._control

    def _hear_warden(self, events: list[PoolEvent]) -> None:
        pipe = self._control
        if pipe is None:
            return
        for message in pipe.receive():
            process = self._serials.get(message.serial)
            if process is None:
                continue
            process.pid = message.pid
            if isinstance(message, control.Exited):
                self._bury(process, message.exit_code, message.signal, events, message.overdue)
        if pipe.ended:
            self._lose_warden(events)

    def _lose_warden(self, events: list[PoolEvent]) -> None:
        """Without it nobody knows what its processes do: end them all."""
        code = self._end_warden()
        logger.error("the warden of the worker processes has ended (%s): all of them are replaced", code)
        for process in list(self._serials.values()):
            self._bury(process, None, signal.SIGKILL, events)

    def _end_warden(self) -> int:
        """Close its control stream, wait for its end, and kill whatever it could not."""
        assert self._control is not None and self.warden is not None
        self._forget(self._control)
        self._control.close()
        self._control = None
        try:
            code = self.warden.wait(WARDEN_PATIENCE)
        except subprocess.TimeoutExpired:
            logger.warning("the warden %d did not end within %g s", self.warden.pid, WARDEN_PATIENCE)
            self.warden.kill()
            code = self.warden.wait()
        if code != 0:
            trees.end_marked(trees.TREE, self.tree)
        return code

    # The processes --------------------------------------------------------------------------------------------------

    def _hear(self, process: Process, events: list[PoolEvent]) -> None:
        slot = process.slot
        for message in process.pipe.receive():
            if isinstance(message, Up):
                process.pid = message.pid
                events.append(SlotUp(slot, message.pid, message))
            elif isinstance(message, Broken):
                events.append(SlotBroken(slot, message))
            else:
                events.append(Said(slot, message))
        if process.pipe.ended:
            self._forget(process.pipe)
            self._order(slot, control.Kill)

    def _bury(
        self, process: Process, code: int | None, number: int | None, events: list[PoolEvent], overdue: bool = False
    ) -> None:
        """Hear its last words; what it has not begun goes with the event."""
        self._hear(process, events)
        self._forget(process.pipe)
        process.down = True
        del self._serials[process.serial]
        unread = tuple(self.take_back(process.slot))
        tail = "" if code == 0 else _tail(process.settings.output, process.output_start)
        events.append(SlotDown(process.slot, process.pid, code, number, unread, tail, overdue))

    def _order(self, slot: int, order: type[control.Kill] | type[control.Terminate]) -> None:
        process = self._processes.get(slot)
        if process is not None and not process.down and self._control is not None:
            self._send(self._control, order(process.serial))

    # Pipes -------------------------------------------------------------------------------------------------------

    def _send(
        self, pipe: Pipe[FromWorker] | Pipe[control.FromWarden], message: object, fds: tuple[int, ...] = ()
    ) -> None:
        pipe.send(message, fds)
        if pipe.wants_write and pipe not in self._blocked:
            self._blocked.add(pipe)
            self._watch(pipe, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _flush(self, pipe: Pipe[FromWorker] | Pipe[control.FromWarden]) -> None:
        pipe.flush()
        if not pipe.wants_write:
            self._blocked.discard(pipe)
            self._watch(pipe, selectors.EVENT_READ)

    def _watch(self, pipe: Pipe[FromWorker] | Pipe[control.FromWarden], mask: int) -> None:
        key = self._selector.get_map().get(pipe)
        if key is not None:
            self._selector.modify(pipe, mask, key.data)

    def _forget(self, pipe: Pipe[FromWorker] | Pipe[control.FromWarden]) -> None:
        self._blocked.discard(pipe)
        if pipe in self._selector.get_map():
            self._selector.unregister(pipe)


def _packet_pair() -> tuple[socket.socket, socket.socket]:
    """Writing end and reading end. SOCK_SEQPACKET where there is such a pair: it keeps the order and never drops."""
    kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
    write, read = socket.socketpair(socket.AF_UNIX, kind)
    write.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE)
    read.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIPE)
    write.setblocking(False)
    read.setblocking(False)  # for both holders: it is one open file
    return write, read


def _close_sockets(process: Process) -> None:
    process.jobs.close()
    process.unread.close()
    process.pipe.close()


def _our_path() -> str:
    """Whatever this process imports from, so that the warden finds the same Headrace."""
    return os.pathsep.join(dict.fromkeys(os.path.abspath(entry) for entry in sys.path))


def _size(path: str | None) -> int:
    try:
        return os.stat(path).st_size if path else 0
    except OSError:
        return 0


def _tail(path: str | None, start: int) -> str:
    """The end of what a process has written."""
    if path is None:
        return ""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < start:
                start = 0  # it was rotated
            file.seek(max(start, size - TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
