"""The Pipeliner daemon: a loop around the runs in its charge. It may die any time: another goes on from the facts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import zmq

from .. import __version__
from .addresses import Address, connect_address
from .charges import PORTION, Charges
from .loop import Link, Stopper, new_id, place, settle_down
from .protocol import Beat, Bye, Enqueue, Hello, Refuse, ToRouter
from .session import Session

BATCH = 250
"""Runs that are decided on before the Router is told: it has work for others while we go on."""


class Pipeliner:
    """`start` blocks until a signal or `stop`."""

    def __init__(
        self,
        api: Address = "tcp://127.0.0.1:5555",
        broadcast: Address = "tcp://127.0.0.1:5556",
        logger: logging.Logger | None = None,
        logger_name: str = "Pipeliner",
    ) -> None:
        self.api = connect_address(api)
        self.broadcast = connect_address(broadcast)
        self.logger = logger or logging.getLogger(logger_name)
        self._charges = Charges()
        self._session = Session(new_id(), self._hello, new_id)
        self._stopper = Stopper()

    def stop(self) -> None:
        """Ask the loop to end, from any thread."""
        self._stopper.stop()

    def start(self) -> None:
        self.logger.info("Pipeliner started")
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        link = Link(context, self.api)
        poller = zmq.Poller()
        poller.register(link.socket, zmq.POLLIN)
        poller.register(self._stopper.fileno(), zmq.POLLIN)
        try:
            with self._stopper.on_signals():
                self.logger.info("Entering main loop")
                settle_down()
                self._run(link, poller.poll)
                self._goodbye(link)
        finally:
            link.close(linger=1.0)
            context.term()
            self.logger.info("Pipeliner stopped")

    def _run(self, link: Link, poll: Callable[[int], object]) -> None:
        """Wait, drain, decide, send."""
        while not self._stopper.requested:
            now = time.monotonic()
            wait = self._session.next_deadline() - now
            poll(int(min(wait, 3600.0) * 1000) + 1 if wait > 0 else 0)
            self._turn(link, time.monotonic())

    def _turn(self, link: Link, now: float) -> None:
        for envelope in link.drain():
            for message in self._session.receive(envelope, now):
                if isinstance(message, Refuse):
                    self.logger.error("the Router refused us: %s", message.reason)
                self._charges.handle(message)
                if self._charges.touched >= BATCH:
                    self._say(link)
        if due := self._session.due(now, self._beat):
            link.send(due)
            self._charges.repeat()
        self._say(link)

    def _say(self, link: Link) -> None:
        """What the news so far lead to. Nothing while we have not joined: joining tells everything."""
        said = self._charges.flush()
        if self._session.joined:
            for some in portions(said):
                link.send(self._session.wrap(some))

    def _beat(self, now: float, seen: int) -> Beat:
        return Beat(now, seen, busy=len(self._charges))

    def _hello(self) -> Hello:
        held = self._charges.holding()
        self._charges.await_takes()
        return Hello("pipeliner", place(), release=__version__, runs=held)

    def _goodbye(self, link: Link) -> None:
        if self._session.joined:
            link.send(self._session.wrap([Bye("stopped")]))


def portions(messages: list[ToRouter]) -> Iterator[list[ToRouter]]:
    """In envelopes that are not too heavy; none of them is empty."""
    some: list[ToRouter] = []
    weight = 0
    for message in messages:
        own = sum([one.weight for one in message.ready]) if isinstance(message, Enqueue) else 0
        if some and weight + own > PORTION:
            yield some
            some, weight = [], 0
        some.append(message)
        weight += own
    if some:
        yield some
