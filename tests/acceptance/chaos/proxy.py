"""A proxy for one TCP port, that ill-treats what passes: it stalls, trickles, cuts and refuses, both ways or one way.

It knows bytes and no frames; so a cut is in the middle of a frame as often as not. What has been taken is delivered in
order or the connection ends, as with any network.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self

Way = Literal["up", "down"]
BOTH: tuple[Way, ...] = ("up", "down")
LOOK = 0.02
PIECE = 65536
RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which closing is a reset."""


class Link:
    """One connection through the proxy: two sockets, and a thread for each way."""

    def __init__(self, proxy: Proxy, near: socket.socket, far: socket.socket) -> None:
        self.budget: int | None = None
        """Bytes that still pass before the cut."""
        self._proxy = proxy
        self._ends = near, far
        self._open = True
        for way, source, target in (("up", near, far), ("down", far, near)):
            threading.Thread(target=self._carry, args=(way, source, target), daemon=True).start()

    def close(self) -> None:
        """As if the cable had been pulled and the other side had restarted: a reset to both."""
        self._open = False
        for end in self._ends:
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.close()
            except OSError:
                pass  # closed already

    def _carry(self, way: Way, source: socket.socket, target: socket.socket) -> None:
        try:
            while self._open:
                if way in self._proxy.stalled:
                    time.sleep(LOOK)
                elif select.select([source], [], [], LOOK)[0]:
                    data = source.recv(PIECE)
                    if not data:
                        break
                    self._deliver(way, target, data)
        except (OSError, ValueError):
            pass  # the other way has closed it, or the peers have
        finally:
            self.close()
            self._proxy.gone(self)

    def _deliver(self, way: Way, target: socket.socket, data: bytes) -> None:
        """In pieces, between which anything may happen."""
        while data and self._open:
            if way in self._proxy.stalled:
                time.sleep(LOOK)
                continue
            size = self._proxy.piece or len(data)
            if self.budget is not None:
                size = min(size, self.budget)
                self.budget -= size
            target.sendall(data[:size])
            data = data[size:]
            if self.budget == 0:
                raise OSError("cut")
            if self._proxy.piece:
                time.sleep(0.002)


class Proxy:
    """Listens on a port of its own and passes on to `target`."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("tcp://").split(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.stalled: set[Way] = set()
        self.piece = 0
        """Bytes that pass at a time; 0: as they come."""
        self.refusing = False
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def gone(self, link: Link) -> None:
        with self._lock:
            self._links.discard(link)

    @property
    def links(self) -> list[Link]:
        with self._lock:
            return list(self._links)

    # Harm -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def stalling(self, *ways: Way) -> Iterator[None]:
        """Nothing passes; nobody is told."""
        self.stalled = set(ways)
        try:
            yield
        finally:
            self.stalled = set()

    @contextmanager
    def trickling(self, piece: int) -> Iterator[None]:
        """Everything passes, a few bytes at a time."""
        self.piece = piece
        try:
            yield
        finally:
            self.piece = 0

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Every connection is cut, and new ones are refused."""
        self.refusing = True
        self.cut()
        try:
            yield
        finally:
            self.refusing = False

    def cut(self) -> None:
        for link in self.links:
            link.close()

    def cut_soon(self, random: random.Random) -> None:
        """Each connection after a few more bytes: most likely inside of a frame."""
        for link in self.links:
            link.budget = random.randint(1, 400)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            try:
                if self.refusing:
                    raise ConnectionRefusedError
                far = socket.create_connection(self._target, 5)
            except OSError:
                near.close()
                continue
            link = Link(self, near, far)
            with self._lock:
                self._links.add(link)
            if self.refusing:  # `shut` may have passed it over
                link.close()
