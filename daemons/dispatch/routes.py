"""Routes: where each peer is, under which session, and how many envelopes it was sent.

A peer is known by the identity in its envelopes, never by the routing id of its connection. What cannot be sent (the
peer is gone, or its pipe is full because it does not read) is dropped: the gap in the numbers tells the peer, who then
says its whole state again. So a slow peer slows only itself, and nothing is kept for it here.

Numbers begin with a session. A session that is taken up in the middle (its route was forgotten, or an envelope of an
older session came late and took its place) goes on with numbers that its peer cannot expect: it must not take what
follows for a continuation of what it has.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field

import zmq
from msgspec.structs import replace

from ..protocol import PROTOCOL, Drop, Endings, FromRouter, Inbound, News, Noted, Outbound, Run, Take, Told, encode

logger = logging.getLogger(__name__)

IDLE = 300.0
"""Routes of peers that have said nothing for so long are forgotten."""
LAZY = 0.02
"""Seconds that a message nobody waits for may wait for company: every envelope wakes a process."""
HEAVY = 8 * 1024 * 1024
"""Envelopes above this are sent in parts: beyond `MAX_FRAME` the other side closes the connection."""
PATIENT = (Noted, Drop)
PACE: dict[type, float] = {Take: 0.004, Endings: 0.002}
"""Seconds between such messages to one peer. The first new run and the first end go at once; when many come one after
the other they travel together, and everybody behind them is woken once for all of them."""
LARGE = 256 * 1024
"""From here on it is cheaper not to copy a frame: giving memory back later, on another thread, has its price too."""
UNREAD = 64 * 1024 * 1024
"""Bytes of large answers that wait for one peer: the pipe counts messages, and whoever asks and never reads could fill
the memory with it. What comes beyond is dropped, as for a full pipe, and can be asked for again."""
MIDWAY = 1 << 40
"""Where the numbers of a session go on that was taken up in the middle."""
LEFT = 4
"""Sessions of a peer that are remembered after it has left them."""


@dataclass(slots=True)
class Route:
    address: bytes
    session: str
    heard: float
    received: int = 0
    whole: bool = True
    """Nothing is missing so far. After a gap nothing counts until the session begins anew: on a wire that doubles and
    reorders what comes next may be older than what came before."""
    sent: int = 0
    paced_at: float = float("-inf")
    """When the last message left that keeps a pace."""
    lazy: list[FromRouter] = field(default_factory=list)
    left: tuple[str, ...] = ()
    """Sessions before this one."""
    unread: deque[tuple[zmq.MessageTracker, int]] = field(default_factory=deque)
    """Large answers that the connection has not taken yet, and their sizes."""
    unread_bytes: int = 0

    def has_room(self, size: int) -> bool:
        """May an answer of this size wait for the peer?"""
        while self.unread and self.unread[0][0].done:
            self.unread_bytes -= self.unread.popleft()[1]
        return not self.unread or self.unread_bytes + size <= UNREAD

    def wait_for(self, tracker: zmq.MessageTracker, size: int) -> None:
        self.unread.append((tracker, size))
        self.unread_bytes += size


class Routes:
    def __init__(self, socket: zmq.Socket[bytes], epoch: int) -> None:
        self.undelivered = 0
        self.unreachable: list[str] = []
        """Peers whose connection turned out to be gone."""
        self._socket = socket
        self._epoch = epoch
        self._routes: dict[str, Route] = {}
        self._lazy: dict[str, float] = {}
        """By peer: until when its messages wait for company."""
        self._lazy_until = float("inf")

    def __len__(self) -> int:
        return len(self._routes)

    def arrived(self, address: bytes, envelope: Inbound, now: float) -> bool:
        """Learn where the sender is. False when an envelope is missing before this one, or was before another."""
        route = self._routes.get(envelope.sender)
        begins = envelope.number == 1
        if route is None or envelope.session != route.session:
            left = (*route.left, route.session)[-LEFT:] if route else ()
            begins = begins and envelope.session not in left
            route = Route(address, envelope.session, now, sent=0 if begins else MIDWAY, left=left)
            self._routes[envelope.sender] = route
        follows = envelope.number == route.received + 1 and (begins or route.received > 0)
        route.address, route.heard, route.received = address, now, envelope.number
        route.whole = route.whole and follows
        return route.whole

    def send(self, peer: str, messages: list[FromRouter], now: float) -> None:
        """In order; what may wait for company waits."""
        route = self._routes.get(peer)
        if route is None:
            return
        until = _waits_until(messages, route, now)
        if until <= now:
            self._send(peer, route, messages, now)
            return
        route.lazy += messages
        self._lazy[peer] = min(until, self._lazy.get(peer, until))
        self._lazy_until = min(until, self._lazy_until)

    def take_unreachable(self) -> list[str]:
        gone, self.unreachable = self.unreachable, []
        return gone

    def next_deadline(self) -> float:
        return self._lazy_until

    def send_lazy(self, now: float) -> None:
        """What has waited long enough for company goes alone."""
        if now < self._lazy_until:
            return
        for peer in [name for name, until in self._lazy.items() if until <= now]:
            route = self._routes.get(peer)
            if route is not None and route.lazy:
                self._send(peer, route, [], now)
            self._lazy.pop(peer, None)
        self._lazy_until = min(self._lazy.values(), default=float("inf"))

    def _send(self, peer: str, route: Route, messages: list[FromRouter], now: float) -> None:
        if route.lazy:
            messages = route.lazy + messages
            route.lazy = []
            self._lazy.pop(peer, None)
        frame = encode(Outbound(PROTOCOL, self._epoch, route.session, route.sent + 1, messages))
        if len(frame) > HEAVY and (parts := halves(messages)):
            for part in parts:
                self._send(peer, route, part, now)
            return
        route.sent += 1
        if any(type(message) in PACE for message in messages):
            route.paced_at = now
        try:
            if len(frame) < LARGE:
                self._socket.send_multipart((route.address, frame), zmq.NOBLOCK)
            else:
                self._send_large(route, frame, any(type(message) is Told for message in messages))
        except zmq.Again:
            self.undelivered += 1
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.undelivered += 1
            self.unreachable.append(peer)
            self._routes.pop(peer, None)
            logger.debug("peer %s is not connected any more", peer)

    def _send_large(self, route: Route, frame: bytes, counts: bool) -> None:
        """Without a copy. Answers to questions count against what may wait for a peer that does not read."""
        if not counts:
            self._socket.send_multipart((route.address, frame), zmq.NOBLOCK, copy=False)
        elif route.has_room(len(frame)):
            sent = self._socket.send_multipart((route.address, frame), zmq.NOBLOCK, copy=False, track=True)
            if sent is not None:
                route.wait_for(sent, len(frame))
        else:
            self.undelivered += 1

    def forget(self, peer: str) -> None:
        self._routes.pop(peer, None)

    def forget_idle(self, now: float) -> None:
        for peer in [name for name, route in self._routes.items() if now - route.heard > IDLE]:
            del self._routes[peer]


def _waits_until(messages: list[FromRouter], route: Route, now: float) -> float:
    """Until when all of these may wait for company."""
    until = now + LAZY
    for message in messages:
        if not isinstance(message, PATIENT):
            until = min(until, route.paced_at + PACE.get(type(message), 0.0))
            if until <= now:
                break
    return until


def halves(messages: list[FromRouter]) -> tuple[list[FromRouter], list[FromRouter]] | None:
    """The same said in two envelopes; None when it cannot be."""
    middle = len(messages) // 2
    if middle:
        return messages[:middle], messages[middle:]
    match messages[0]:
        case Run(headers, assignments) if middle := len(assignments) // 2:
            first, second = assignments[:middle], assignments[middle:]
            runs = {one.run for one in first}, {one.run for one in second}
            return (
                [Run([header for header in headers if header.run in runs[0]], first)],
                [Run([header for header in headers if header.run in runs[1]], second)],
            )
        case Endings(id, ends, unknown) if middle := len(ends) // 2:
            return [Endings(id, ends[:middle], unknown)], [Endings(id, ends[middle:])]
        case News(run, take, control, facts, more) if middle := len(facts) // 2:
            return [News(run, take, control, facts[:middle], True)], [News(run, take, control, facts[middle:], more)]
        case Take(facts=facts) as whole if facts:
            alone = replace(whole, facts=[], more=True)
            return [alone], [News(whole.run, whole.take, whole.control, facts, whole.more)]
    return None
