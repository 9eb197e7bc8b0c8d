"""The asyncio shell of a client: it carries flows through while others run.

There is no task behind it. The event loop calls it when the socket has something, or when the core's next deadline has
come; it exchanges whatever there is without waiting, and wakes the flows whose keys were touched.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from ..addresses import Address
from ..protocol import RunEnd
from .blocking import converse
from .conversation import Flow, T, Wait


class AsyncClient:
    """It belongs to the event loop of its first use."""

    def __init__(self, api: Address, ended: Callable[[RunEnd], None], *, timeout: float = 10.0) -> None:
        self.conversation, self._wire = converse(api, ended, timeout)
        self._waiters: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def run(self, flow: Flow[T]) -> T:
        """Carry this flow through and return what it returns."""
        self._attach()
        try:
            while True:
                await self._until(next(flow))
                if self._closed:
                    raise RuntimeError("this manager is closed")
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def _attach(self) -> None:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("this manager is closed")
        if self._loop is None:
            self._loop = loop
            loop.add_reader(self._wire.socket.FD, self._exchange)
        elif self._loop is not loop:
            raise RuntimeError("this manager belongs to another event loop: make one per loop")

    async def _until(self, wait: Wait) -> None:
        left = None if wait.until is None else wait.until - self.conversation.clock()
        if left is not None and left <= 0:
            self._exchange()
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = None if left is None else loop.call_later(left, _resolve, future)
        self._waiters[wait.key].add(future)
        self._exchange()
        try:
            await future
        finally:
            if timer:
                timer.cancel()
            self._leave(wait.key, future)

    def _leave(self, key: str, future: asyncio.Future[None]) -> None:
        waiting = self._waiters[key]
        waiting.discard(future)
        if not waiting:
            del self._waiters[key]

    def _exchange(self) -> None:
        """The socket tells of a change only once: exchange until there is nothing left to read or to send."""
        while not self._closed:
            self._wake(self._wire.exchange())
            if not self._wire.is_ready:
                break
        self._set_timer()

    def _wake(self, keys: Iterable[str]) -> None:
        for key in keys:
            for future in self._waiters.pop(key, ()):
                _resolve(future)

    def _set_timer(self) -> None:
        """One timer, for the core's next deadline; it may come early, never late."""
        deadline = None if self._closed else self.conversation.requests.next_deadline()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and deadline < float("inf") and self._loop:
            left = max(0.0, deadline - self.conversation.clock())
            self._timer = self._loop.call_later(left, self._exchange)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._set_timer()
        if self._loop and not self._loop.is_closed():
            self._loop.remove_reader(self._wire.socket.FD)
        self._wake(list(self._waiters))
        self._wire.close()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
