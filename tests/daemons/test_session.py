"""The peer's side of membership, driven by hand."""

from itertools import count

import msgspec
import pytest

from headrace.daemons.protocol import (
    PROTOCOL,
    Again,
    Beat,
    FromRouter,
    Hello,
    Noted,
    Outbound,
    Pulse,
    Refuse,
    Welcome,
    decode_outbound,
    encode,
)
from headrace.daemons.session import Session, Standing


class Peer:
    """A session whose Router we play."""

    def __init__(self) -> None:
        names = count(1)
        self.session = Session("me", lambda: Hello("pipeliner", "host/1"), lambda: f"session{next(names)}")
        self.now = 0.0
        self.sent = 0

    def due(self) -> object:
        envelope = self.session.due(self.now, lambda now, seen: Beat(now, seen))
        return envelope and (envelope.session, envelope.number, envelope.messages[0])

    def hear(self, *messages: FromRouter, session: str = "session1", epoch: int = 1, skip: int = 0) -> list[FromRouter]:
        self.sent += 1 + skip
        return self.session.receive(Outbound(1, epoch, session, self.sent, list(messages)), self.now)

    def join(self) -> None:
        self.due()
        self.hear(Welcome())
        self.due()


def test_a_hello_says_which_router_was_heard_before_it() -> None:
    peer = Peer()
    epochs = []
    for session, epoch in [("session1", 3), ("session2", 4), ("an older one", 9)]:
        epochs.append(peer.due()[2].epoch)  # type: ignore[index]
        peer.sent = 0
        peer.hear(Again(), session=session, epoch=epoch)
    peer.now = 2.0
    epochs.append(peer.due()[2].epoch)  # type: ignore[index]
    assert epochs == [0, 3, 4, 4]


def test_it_says_hello_until_it_is_welcome() -> None:
    peer = Peer()
    session, number, message = peer.due()  # type: ignore[misc]
    assert (session, number) == ("session1", 1) and isinstance(message, Hello)
    assert peer.due() is None
    peer.now = 2.0
    assert peer.due()[0] == "session2"  # type: ignore[index]
    assert peer.hear(Welcome(), session="session1") == []  # an answer to the first one is too late
    peer.sent = 0
    peer.hear(Welcome(lease_time=5.0), session="session2")
    assert peer.session.joined and peer.session.lease_time == 5.0


def test_heartbeats_are_answered_and_renew_from_their_own_stamp() -> None:
    peer = Peer()
    peer.join()
    peer.now = 2.0
    _, number, beat = peer.due()  # type: ignore[misc]
    assert isinstance(beat, Beat) and beat.stamp == 2.0 and number == 3
    peer.now = 2.5
    peer.hear(Pulse(2.0))
    assert peer.session.renewed == 2.0


def test_a_gap_another_epoch_and_again_each_lead_to_a_new_session() -> None:
    for spoil in ({"skip": 1}, {"epoch": 2}, {}):
        peer = Peer()
        peer.join()
        messages: list[FromRouter] = [Noted([1])] if spoil else [Noted([1]), Again(), Noted([2])]
        passed = peer.hear(*messages, **spoil)  # type: ignore[arg-type]
        assert passed == ([] if spoil else [Noted([1])])
        assert peer.session.standing is Standing.GREETING
        session, number, message = peer.due()  # type: ignore[misc]
        assert (session, number) == ("session2", 1) and isinstance(message, Hello)


def test_a_silent_router_is_greeted_anew() -> None:
    peer = Peer()
    peer.join()
    for step in range(4):
        peer.now = 2.0 * (step + 1)
        last = peer.due()
    assert isinstance(last[2], Hello)  # type: ignore[index]


def test_a_refusal_is_told_and_tried_again_after_a_pause() -> None:
    peer = Peer()
    peer.due()
    assert peer.hear(Refuse("too old")) == [Refuse("too old")]
    peer.now = 2.0
    assert peer.due() is None
    peer.now = peer.session.next_deadline()
    assert isinstance(peer.due()[2], Hello)  # type: ignore[index]


def test_the_next_deadline_is_the_next_heartbeat_or_the_end_of_patience() -> None:
    peer = Peer()
    assert peer.session.next_deadline() == float("-inf")  # a Hello is due at once
    peer.join()
    assert peer.session.next_deadline() == 2.0
    for peer.now in (2.0, 4.0):
        peer.due()
    assert peer.session.next_deadline() == 6.0
    peer.now = 5.0
    peer.hear(Noted([1]))
    peer.now = 6.0
    peer.due()
    assert peer.session.next_deadline() == 8.0


def test_an_answer_to_a_heartbeat_that_was_never_sent_renews_nothing() -> None:
    peer = Peer()
    peer.join()
    for stamp in (99.0, float("nan")):
        assert peer.hear(Pulse(stamp)) == []
    assert peer.session.renewed == float("-inf")


def test_an_older_answer_that_comes_late_takes_nothing_back() -> None:
    peer = Peer()
    peer.join()
    peer.now = 3.0
    peer.hear(Pulse(2.0), Pulse(1.0))
    assert peer.session.renewed == 2.0


def test_asking_twice_for_a_new_session_makes_one() -> None:
    peer = Peer()
    peer.join()
    assert peer.session.joined
    peer.hear(Again())
    peer.hear(Again())
    assert peer.due()[0] == "session2"  # type: ignore[index]
    assert peer.due() is None


def test_a_welcome_cannot_ask_for_a_day_between_heartbeats() -> None:
    """Such a peer would wait for three days before it gave a Router up that is not there."""
    sane = encode(Outbound(PROTOCOL, 1, "s", 1, [Welcome(heartbeat=10.0)]))
    assert decode_outbound(sane).messages == [Welcome(heartbeat=10.0)]
    with pytest.raises(msgspec.ValidationError, match="10"):
        decode_outbound(encode(Outbound(PROTOCOL, 1, "s", 1, [Welcome(heartbeat=86400.0)])))
