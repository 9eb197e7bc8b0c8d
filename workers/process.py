"""The body of a worker process: read an attempt, run it, say how it ended.

It begins in a freshly forked child that has nothing but our code in memory: it finds its output file, imports the
user's modules, makes the store, says `Up` (or `Broken`), and then waits for packets and frames until the Broker leaves
or sends it home. SIGTERM means "look for a stop"; Ctrl-C in a terminal is the Broker's business. A process that is the
monitor runs nothing: it gives the monitoring records of its machine to the store.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from types import FrameType

import msgspec

from ..pipeline.errors import ConfigError, HeadraceError
from ..pipeline.facts import Failure
from ..pipeline.payload import unpack
from ..pipeline.task import Outcome
from ..stores.pipeline import PipelineStore
from ..stores.values import ValuesFolder
from .cache.cache import Cache
from .cache.sweeping import Bounds
from .capture import Capture
from .catalog import Catalog
from .channel import Channel, Gone
from .execution import Execution
from .interruption import Interruption, Woken
from .messages import Broken, Ended, Packet, Settings, Up
from .reading import Reader
from .sources import sources
from .storeclass import store_class
from .storekeeper import Storekeeper

LARGEST_PACKET = 128 * 1024
IN_A_ROW = 32
"""Packets between two looks at the stream, when there are that many."""
LOG_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

log = logging.getLogger(__name__)


def main(jobs: socket.socket, stream: socket.socket, settings: Settings) -> None:
    """Run as a worker process until the Broker is gone or says `Leave`."""
    interruption = Interruption()
    stream.setblocking(True)
    channel = Channel(stream, interruption)
    _handle_signals(channel, interruption)
    try:
        capture = _redirected(settings)
        process = WorkerProcess(jobs, channel, settings, interruption, capture)
    except HeadraceError as error:
        return _say(channel, Broken(str(error)))
    except Exception as error:  # noqa: BLE001  whatever the user's modules and store raise
        return _say(channel, Broken(f"{type(error).__name__}: {error}", traceback.format_exc()))
    try:
        process.run()
    except Gone:
        pass
    finally:
        process.close()


class WorkerProcess:
    """The loop and what it holds. Making it imports the user's modules and makes the store."""

    def __init__(
        self,
        jobs: socket.socket,
        channel: Channel,
        settings: Settings,
        interruption: Interruption,
        capture: Capture | None = None,
    ) -> None:
        self._jobs = jobs
        self._channel = channel
        self._interruption = interruption
        self._jobs_closed = False
        self._packets = msgspec.msgpack.Decoder(Packet)
        self._buffer = memoryview(bytearray(LARGEST_PACKET))
        if settings.folder:
            os.chdir(settings.folder)
        catalog = Catalog()
        # Compiled code is known by the second of its source's change, which is too coarse for what is being edited.
        sys.dont_write_bytecode = sys.dont_write_bytecode or settings.watched
        if not settings.monitor:
            catalog = Catalog.load(settings.modules, settings.required, settings.folder or os.getcwd())
        _set_up_logging()
        values = None if settings.values is None else ValuesFolder(settings.values)
        self._keeper = _storekeeper(settings)
        self._execution = Execution(
            catalog,
            self._keeper,
            Reader(channel.fetch, values),
            values=values,
            cache=_cache(settings),
            inline_limit=settings.inline_limit,
            interruption=interruption,
            capture=capture,
            report=channel.report,
        )
        files = sources(settings.modules, settings.folder) if settings.watched else ()
        self._up = Up(os.getpid(), tuple(catalog.cards()), tuple(catalog.warnings), files)

    def run(self) -> None:
        """Take packets as long as there are any, and look at the stream in between; then wait."""
        channel = self._channel
        interruption = self._interruption
        channel.send(self._up)
        poller = select.poll()
        poller.register(channel.fileno(), select.POLLIN)
        poller.register(self._jobs.fileno(), select.POLLIN)
        while not channel.leaving and not channel.closed:
            for _ in range(IN_A_ROW):
                if not self._take():
                    break
            else:
                channel.look()
                continue
            if self._jobs_closed:
                return
            try:
                interruption.waiting = True
                if not channel.leaving and not channel.monitoring:
                    poller.poll()
                interruption.waiting = False
            except Woken:
                pass
            channel.look()
            self._record_monitoring()

    def close(self) -> None:
        self._execution.close()
        logging.shutdown()

    def _take(self) -> bool:
        """Run the attempt of one packet. False: there is none, or it is time to leave."""
        if self._channel.leaving:
            return False
        try:
            size = self._jobs.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            size = 0
        if not size:
            self._jobs_closed = True
            return False
        packet: Packet | None = self._packets.decode(self._buffer[:size])
        assert packet is not None
        lease = packet.lease
        if packet.assignment is None or packet.header is None:
            packet = self._channel.resend(lease)
        if packet is None or packet.assignment is None or packet.header is None:
            outcome = _never_begun(lease, self._interruption.stopped(lease) or "cancelled")
        else:
            outcome = self._execution.run(packet.header, packet.assignment)
        if os.getpid() != self._up.pid:
            os._exit(0)  # user code has forked, and comes back here in the child
        self._channel.send(Ended(outcome))
        return True

    def _record_monitoring(self) -> None:
        records = self._channel.monitoring
        while records:
            record = records.popleft()
            try:
                self._keeper.save_monitoring(unpack(record.record))
            except Exception:
                log.exception("store %s failed to save a monitoring record", self._keeper.name)


def _redirected(settings: Settings) -> Capture | None:
    """Nothing to read for user code that asks a person; what it prints goes to the output file."""
    if settings.output is None:
        return None
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    capture = Capture(settings.output, limit=settings.output_limit)
    capture.install()
    faulthandler.enable()  # a crash leaves its stack in the file, as evidence
    return capture


def _never_begun(lease: int, why: str) -> Outcome:
    error = Failure("JobCancelled", "the job was stopped before it began")
    return Outcome(lease, "timeout" if why == "timeout" else "cancelled", started=time.time(), error=error)


def _cache(settings: Settings) -> Cache | None:
    if settings.cache is None:
        return None
    return Cache(settings.cache, Bounds(settings.cache_size, settings.cache_keep))


def _storekeeper(settings: Settings) -> Storekeeper:
    if settings.store is None:
        return Storekeeper(PipelineStore, "PipelineStore", saves=False)
    made = store_class(settings.store)
    config = unpack(settings.store_config)
    for method in ("retrieve", "save"):
        if not callable(getattr(made, method, None)):
            raise ConfigError(f"the store {settings.store!r} cannot be used: it has no {method}(self, info)")
    keeper = Storekeeper(lambda: made(**config), settings.store.rpartition(":")[2], settings.store_deadline)
    try:
        keeper.start()
    except Exception as error:
        keys = ", ".join(map(str, config)) or "none"
        text = f"the store {settings.store!r} cannot be made: {type(error).__name__}: {error} (configured keys: {keys})"
        raise ConfigError(f"{text}\n{traceback.format_exc().rstrip()}") from error
    return keeper


def _set_up_logging() -> None:
    """Only when the user's modules have not done it their way."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)


def _handle_signals(channel: Channel, interruption: Interruption) -> None:
    """SIGTERM reads the stream and interrupts; what user code forks gets the ordinary SIGTERM back."""
    signal.signal(signal.SIGTERM, StopHandler(channel, interruption))
    signal.signal(signal.SIGINT, _nothing)
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM]),
        after_in_child=_forget_signals,
    )


class StopHandler:
    """Handles SIGTERM. A second one that comes in the middle of the first is the first one's to handle."""

    def __init__(self, channel: Channel, interruption: Interruption) -> None:
        self._channel = channel
        self._interruption = interruption
        self._busy = False
        self._again = False

    def __call__(self, number: int, _: FrameType | None) -> None:
        self._again = True
        if self._busy:
            return
        while self._again:
            self._busy = True
            try:
                self._again = False
                self._channel.look()
            finally:
                self._busy = False
        self._interruption.check()


def _forget_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _nothing(number: int, _: FrameType | None) -> None:
    """Not SIG_IGN, which commands would inherit."""


def _say(channel: Channel, message: Broken) -> None:
    log.error("%s\n%s", message.message, message.traceback)
    try:
        channel.send(message)
    except Gone:
        pass
