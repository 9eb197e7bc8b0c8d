"""What a Broker keeps in order while it runs: the output of its attempts, and what Brokers before it have left.

An attempt that prints without end must not fill the disk: every second the output of those that run is looked at, and
what is far too long loses its middle. (That of an attempt that ends is bounded by its own process.) And the folders of
output that nobody has written to for so long go: a Broker that runs touches its own now and then, so that it stays.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from .output import OutputReader
from .slots.slot import Slot

logger = logging.getLogger(__name__)

KEEP = 30 * 86400.0
"""Seconds after its last line that a folder of output goes, by default."""
LOOK = 1.0
SWEEP = 3600.0
SETTLED = 2.0
"""Seconds that an attempt has to run, before its output is touched: until then it could be another one's."""


class Tidying:
    """`limit`: bytes of output per attempt; `keep` 0: every folder stays."""

    def __init__(self, output: OutputReader, limit: int, keep: float, now: float) -> None:
        self._output = output
        self._limit = limit
        self._keep = keep
        self._next_look = now + LOOK
        self._next_sweep = now

    def due(self, slots: Iterable[Slot], now: float) -> None:
        """Called in every turn; there is one with every heartbeat at least."""
        if now >= self._next_look:
            self._next_look = now + LOOK
            for slot in slots:
                if slot.fifo and now - slot.since >= SETTLED:
                    self._output.trim(slot.number, self._limit)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP
            self._sweep()

    def _sweep(self) -> None:
        own, before = self._output.own, time.time() - self._keep
        try:
            if own.is_dir():
                os.utime(own)
            found = [path for path in own.parent.glob("broker-*") if path != own and path.is_dir()]
        except OSError as error:
            logger.warning("the folders of output below %s cannot be looked at: %s", own.parent, error)
            return
        for folder in found if self._keep else ():
            if _last_written(folder) < before:
                logger.info("removing %s: nobody has written there for %g days", folder, self._keep / 86400)
                shutil.rmtree(folder, ignore_errors=True)


def _last_written(folder: Path) -> float:
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        return float("inf")  # somebody else is at it
