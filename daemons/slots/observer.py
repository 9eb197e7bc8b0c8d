"""Monitoring: once per interval a record of the machine and of the Broker's processes, for the user's store.

The store is the user's code, so a process of the pool gives it the records: one that runs no jobs. It has a slot
behind those that do. Should it die, the next record gets another one; nothing of this is ever a reason to stop.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable

from ...pipeline.payload import pack, unpack
from ...pipeline.task import unpack_task
from ...workers.messages import Monitoring, Settings
from ...workers.pool import Pool, PoolEvent, SlotBroken, SlotDown, SlotUp
from ..monitoring import Monitor, WorkerProcess
from .slot import Slot

NEVER = float("inf")
PAUSE = 1.0
"""Seconds without records after a death of the process; longer each time, while it does not even come up."""
PAUSE_CAP = 300.0


class Observer:
    def __init__(self, pool: Pool, slot: int, logger: logging.Logger, router: str) -> None:
        self._pool = pool
        self._slot = slot
        self._logger = logger
        self._monitor = Monitor(_own_address(router))
        self._settings: Settings | None = None
        self._interval = NEVER
        self._due = NEVER
        self._running = False
        self._up = False
        self._pause = PAUSE

    def begin(self, settings: Settings, interval: float, now: float) -> None:
        """Records from now on. `settings`: of a process that is the monitor."""
        self._settings = settings
        self._interval = interval
        self._due = now

    def next_deadline(self) -> float:
        return self._due if self._up or not self._running else NEVER

    def tick(self, slots: Iterable[Slot], now: float) -> None:
        if now < self._due or self._settings is None:
            return
        if not self._running:
            self._running = True
            self._pool.start(self._slot, self._settings)
        elif self._up:
            self._due = now + self._interval
            record = self._monitor.collect([_process(slot) for slot in slots if slot.pid])
            self._pool.send(self._slot, Monitoring(pack(record)))
            self._logger.debug("Saved monitoring information")

    def heard(self, event: PoolEvent, now: float) -> None:
        match event:
            case SlotUp():
                self._up = True
                self._pause = PAUSE
            case SlotBroken():
                self._logger.error("monitoring: %s", event.broken.message)
            case SlotDown():
                self._up = self._running = False
                self._due = now + max(self._interval, self._pause)
                self._pause = min(2 * self._pause, PAUSE_CAP)
            case _:
                pass


def _process(slot: Slot) -> WorkerProcess:
    if not slot.fifo:
        return WorkerProcess(slot.pid)
    head = slot.fifo[0]
    return WorkerProcess(slot.pid, head.assignment.worker, _data(head.header.data, head.assignment.task))


def _data(run: bytes | None, task: bytes) -> object:
    """The run's data with the job's own laid over it, as far as they are maps."""
    own = unpack_task(task).data
    below = unpack(run) if run else None
    above = unpack(own) if own else None
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **above}
    return below if above is None else above


def _own_address(router: str) -> str | None:
    """The address of this machine that the Router sees."""
    host, _, port = router.removeprefix("tcp://").rpartition(":")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sock:
            sock.connect(address)  # sends nothing
            return str(sock.getsockname()[0])
    except (OSError, ValueError):
        return None
