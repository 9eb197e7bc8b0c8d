"""Lines of many processes under one terminal, each with the name of who wrote it.

A terminal that does not read (Ctrl-S, a pager) must not stop a daemon that only wanted to log. So lines go to a
bounded queue and a thread writes them; when the queue is full they are dropped, and their number is told later.
"""

from __future__ import annotations

import json
import queue
import threading
from typing import TextIO

CAPACITY = 10_000
COLOURS = (36, 33, 35, 32, 34, 31)


class Console:
    """`as_json`: every line is a JSON map; those that are none already are wrapped into one."""

    def __init__(self, stream: TextIO, width: int = 10, colour: bool = False, as_json: bool = False) -> None:
        self.dropped = 0
        self._stream = stream
        self._width = width
        self._colour = colour
        self._as_json = as_json
        self._colours: dict[str, int] = {}
        self._queue: queue.Queue[str | None] = queue.Queue(CAPACITY)
        self._thread = threading.Thread(target=self._write_all, name="console", daemon=True)
        self._thread.start()

    def line(self, name: str, text: str) -> None:
        """A line that `name` wrote; without a name it stands alone."""
        if self._as_json:
            shown = text if text.startswith("{") else json.dumps({"name": name or "headrace", "message": text})
        else:
            shown = f"{self._prefix(name)}{text}" if name else text
        try:
            self._queue.put_nowait(shown)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout: float = 2.0) -> None:
        """Write what is left, unless nobody reads."""
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _prefix(self, name: str) -> str:
        if not self._colour:
            return f"{name:<{self._width}} | "
        number = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{number}m{name:<{self._width}} |\x1b[0m "

    def _write_all(self) -> None:
        told = 0
        while (line := self._queue.get()) is not None:
            try:
                if self.dropped > told:
                    self._stream.write(f"... {self.dropped - told} lines dropped: nobody was reading\n")
                    told = self.dropped
                self._stream.write(line + "\n")
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                return  # the terminal is gone; the daemons go on
        self._flush()

    def _flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal is gone
