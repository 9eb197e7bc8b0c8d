"""Routes, on a real socket: what is sent arrives in envelopes that the other side takes, numbered without a gap."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import zmq

from headrace.daemons.dispatch.routes import HEAVY, LAZY, PACE, UNREAD, Routes
from headrace.daemons.protocol import (
    PROTOCOL,
    Bye,
    Drop,
    Endings,
    Inbound,
    News,
    Noted,
    Outbound,
    Run,
    RunEnd,
    Take,
    Told,
    decode_inbound,
    decode_outbound,
    encode,
)
from headrace.pipeline.facts import RunError
from headrace.pipeline.task import Assignment, RunHeader

BIG = b"x" * (1 << 20)


class Peer:
    """A Router's socket, and the one peer that is connected to it."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router, self.dealer = self.context.socket(zmq.ROUTER), self.context.socket(zmq.DEALER)
        self.router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.router.bind("inproc://router")
        self.dealer.connect("inproc://router")
        self.routes = Routes(self.router, 7)

    def says(self, *, session: str = "s", number: int = 1) -> bool:
        self.dealer.send(encode(Inbound(PROTOCOL, "peer", session, number, [Bye()])))
        address, frame = self.router.recv_multipart()
        return self.routes.arrived(address, decode_inbound(frame), 0.0)

    def hears(self) -> Iterator[Outbound]:
        while self.dealer.poll(0):
            frame = self.dealer.recv()
            assert len(frame) < 2 * HEAVY
            yield decode_outbound(frame)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.context.destroy(linger=0)


def told(peer: Peer, *messages: Any) -> list[Any]:
    """What arrives when this is sent in one turn."""
    peer.says()
    peer.routes.send("peer", list(messages), 0.0)
    envelopes = list(peer.hears())
    assert [envelope.number for envelope in envelopes] == list(range(1, len(envelopes) + 1))
    assert len(envelopes) > 1
    return [message for envelope in envelopes for message in envelope.messages]


def test_many_heavy_messages_go_in_several_envelopes(peer: Peer) -> None:
    messages = [Told(str(number), BIG) for number in range(40)]
    assert told(peer, *messages) == messages


def test_heavy_assignments_keep_their_order_and_their_headers(peer: Peer) -> None:
    assignments = [Assignment(number, f"run{number % 3}", "job", (number,), 1, "W", BIG) for number in range(30)]
    parts = told(peer, Run([RunHeader(f"run{number}", b"data") for number in range(3)], assignments))
    assert [one.lease for part in parts for one in part.assignments] == list(range(30))
    for part in parts:
        assert {header.run for header in part.headers} == {one.run for one in part.assignments}


def test_a_take_with_heavy_facts_is_the_take_and_news_that_say_when_they_are_all(peer: Peer) -> None:
    facts = [(number, msgspec.Raw(msgspec.msgpack.encode("x" * (1 << 20)))) for number in range(20)]
    take, *news = told(peer, Take("run", 3, 1, b"definition", facts, more=False))
    assert isinstance(take, Take) and take.definition == b"definition" and take.more
    assert all(isinstance(one, News) and (one.run, one.take, one.control) == ("run", 3, 1) for one in news)
    assert [sequence for one in news for sequence, _ in one.facts] == list(range(20))
    assert [one.more for one in news] == [True] * (len(news) - 1) + [False]


def test_heavy_ends_come_in_parts_and_what_is_unknown_once(peer: Peer) -> None:
    ends = [RunEnd(f"r{number}", "failed", 1.0, 1.0, RunError("job", (), "x" * (1 << 20))) for number in range(20)]
    parts = told(peer, Endings("id", ends, ["nobody's"]))
    assert [end.run for part in parts for end in part.ends] == [end.run for end in ends]
    assert [part.unknown for part in parts] == [["nobody's"]] + [[]] * (len(parts) - 1)


def test_one_message_that_cannot_be_parted_goes_as_it_is(peer: Peer) -> None:
    peer.says()
    peer.routes.send("peer", [Told("id", BIG * 12)], 0.0)
    assert peer.dealer.poll(60_000)
    assert decode_outbound(peer.dealer.recv()).messages == [Told("id", BIG * 12)]


def test_what_nobody_waits_for_waits_for_company(peer: Peer) -> None:
    peer.says()
    peer.routes.send("peer", [Noted([1])], 0.0)
    peer.routes.send("peer", [Noted([2]), Drop("r", 1)], 0.0)
    peer.routes.send_lazy(LAZY / 2)
    assert not list(peer.hears())
    peer.routes.send("peer", [Told("id", b"")], 0.0)
    (envelope,) = peer.hears()
    assert envelope.messages == [Noted([1]), Noted([2]), Drop("r", 1), Told("id", b"")]
    peer.routes.send("peer", [Noted([3])], 1.0)
    peer.routes.send_lazy(1.0 + LAZY)
    (envelope,) = peer.hears()
    assert envelope.messages == [Noted([3])] and envelope.number == 2


def test_the_first_new_run_goes_at_once_and_those_right_after_it_go_together(peer: Peer) -> None:
    peer.says()
    first, second, third, last = (Take(run, 1, 0, b"definition", []) for run in "abcd")
    pace = PACE[Take]
    peer.routes.send("peer", [first], 1.0)
    peer.routes.send("peer", [second], 1.0 + pace / 4)
    peer.routes.send("peer", [third, Drop("z", 1)], 1.0 + pace / 2)
    peer.routes.send_lazy(1.0 + pace / 2)
    assert [envelope.messages for envelope in peer.hears()] == [[first]]
    assert peer.routes.next_deadline() == 1.0 + pace
    peer.routes.send_lazy(1.0 + pace)
    assert [envelope.messages for envelope in peer.hears()] == [[second, third, Drop("z", 1)]]
    peer.routes.send("peer", [last], 1.0 + 3 * pace)
    assert [envelope.messages for envelope in peer.hears()] == [[last]]


def test_what_cannot_wait_takes_along_what_keeps_a_pace_in_the_order_of_sending(peer: Peer) -> None:
    peer.says()
    ends = [Endings("", [RunEnd(run, "success", 1.0, 1.0)]) for run in "ab"]
    peer.routes.send("peer", [ends[0]], 1.0)
    peer.routes.send("peer", [ends[1]], 1.0)
    peer.routes.send("peer", [Told("id", b"")], 1.0)
    assert [envelope.messages for envelope in peer.hears()] == [[ends[0]], [ends[1], Told("id", b"")]]
    peer.routes.send_lazy(2.0)
    assert not list(peer.hears()) and peer.routes.next_deadline() == float("inf")


def test_a_gap_in_what_comes_is_seen_and_a_new_session_begins_anew(peer: Peer) -> None:
    assert peer.says() and peer.says(number=2)
    assert not peer.says(number=4)
    assert peer.says(session="t")
    peer.routes.send("peer", [Told("id", b"")], 0.0)
    (envelope,) = peer.hears()
    assert (envelope.session, envelope.number, envelope.epoch) == ("t", 1, 7)


def test_after_a_gap_nothing_counts_until_the_session_begins_anew(peer: Peer) -> None:
    """A wire that doubles and reorders may bring after the gap what is older than what came before it."""
    assert peer.says() and not peer.says(number=3)
    assert not any(peer.says(number=number) for number in (2, 3, 4))
    assert not peer.says(), "begun anew is a session of another name"
    assert peer.says(session="t") and peer.says(session="t", number=2)
    assert not peer.says(session="t", number=2) and not peer.says(session="t", number=3)


def test_peers_that_say_nothing_for_long_are_forgotten(peer: Peer) -> None:
    peer.says()
    peer.routes.forget_idle(10.0)
    assert len(peer.routes) == 1
    peer.routes.forget_idle(1000.0)
    assert len(peer.routes) == 0
    peer.routes.send("peer", [Told("id", b"")], 1000.0)
    assert not list(peer.hears())


def test_a_peer_that_is_gone_is_forgotten_when_something_is_sent_to_it() -> None:
    peer = Peer()
    try:
        peer.says()
        peer.dealer.close(linger=0)
        deadline = time.monotonic() + 60
        while len(peer.routes) and time.monotonic() < deadline:  # the pipe is taken down by a thread of zmq
            peer.routes.send("peer", [Told("id", BIG * 10), Told("id", BIG * 10)], 0.0)
        assert len(peer.routes) == 0 and peer.routes.undelivered >= 1
    finally:
        peer.context.destroy(linger=0)


def test_large_answers_that_nobody_reads_are_bounded_by_bytes(peer: Peer) -> None:
    """The pipe takes ten thousand messages: of this size that would be gigabytes."""
    peer.says()
    asked = 2 * UNREAD // len(BIG)
    for number in range(asked):
        peer.routes.send("peer", [Told(f"{number}", BIG)], 0.0)
    assert 0 < asked - peer.routes.undelivered <= UNREAD // len(BIG)
    heard = len(list(peer.hears()))
    assert heard == asked - peer.routes.undelivered
    deadline = time.monotonic() + 60
    before = peer.routes.undelivered
    peer.routes.send("peer", [Told("again", BIG)], 0.0)
    while peer.routes.undelivered > before and time.monotonic() < deadline:
        before = peer.routes.undelivered
        peer.routes.send("peer", [Told("again", BIG)], 0.0)
    assert peer.routes.undelivered == before, "who reads again has room again"
