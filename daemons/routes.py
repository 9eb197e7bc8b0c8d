"""Routes: where each peer is, under which session, and how many envelopes it was sent.

A peer is known by the identity in its envelopes, never by the routing id of its connection. What cannot be sent (the
peer is gone, or its pipe is full because it does not read) is dropped: the gap in the numbers tells the peer, who then
says its whole state again. So a slow peer slows only itself, and nothing is kept for it here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import zmq

from .protocol import PROTOCOL, FromRouter, Inbound, Outbound, encode

logger = logging.getLogger(__name__)

IDLE = 300.0
"""Routes of peers that have said nothing for so long are forgotten."""


@dataclass(slots=True)
class Route:
    address: bytes
    session: str
    heard: float
    received: int = 0
    sent: int = 0


class Routes:
    def __init__(self, socket: zmq.Socket[bytes], epoch: int) -> None:
        self.undelivered = 0
        self._socket = socket
        self._epoch = epoch
        self._routes: dict[str, Route] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def arrived(self, address: bytes, envelope: Inbound, now: float) -> bool:
        """Learn where the sender is. False when an envelope is missing before this one."""
        route = self._routes.get(envelope.sender)
        if route is None or envelope.session != route.session:
            route = self._routes[envelope.sender] = Route(address, envelope.session, now)
        whole = envelope.number == route.received + 1
        route.address, route.heard, route.received = address, now, envelope.number
        return whole

    def send(self, peer: str, messages: list[FromRouter]) -> None:
        route = self._routes.get(peer)
        if route is None:
            return
        route.sent += 1
        frame = encode(Outbound(PROTOCOL, self._epoch, route.session, route.sent, messages))
        try:
            self._socket.send_multipart((route.address, frame), zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self.undelivered += 1
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.undelivered += 1
            del self._routes[peer]
            logger.debug("peer %s is not connected any more", peer)

    def forget(self, peer: str) -> None:
        self._routes.pop(peer, None)

    def forget_idle(self, now: float) -> None:
        for peer in [name for name, route in self._routes.items() if now - route.heard > IDLE]:
            del self._routes[peer]
