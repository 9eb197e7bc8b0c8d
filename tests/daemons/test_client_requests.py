"""The pure core of a client: given frames and the time, it says what to send and who may stop waiting."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.daemons.client.following import UNKNOWN
from headrace.daemons.client.requests import FOLLOW_CHUNK, FRAME_WEIGHT, NEWS, Requests
from headrace.daemons.dispatch.replies import not_found
from headrace.daemons.protocol import (
    PROTOCOL,
    Again,
    Ask,
    Beat,
    Control,
    Done,
    Endings,
    Failed,
    Follow,
    FromRouter,
    Noted,
    Outbound,
    Pulse,
    Receipt,
    Refuse,
    RunEnd,
    Submission,
    Submit,
    Submitted,
    Told,
    ToRouter,
    decode_inbound,
    encode,
)
from headrace.pipeline.errors import Busy, NotFound, Refused, Unreachable


class Peer:
    """A client core and the Router's end of its wire; time passes only when a test says so."""

    def __init__(self, timeout: float = 10.0) -> None:
        ids = count(1)
        self.ends: list[RunEnd] = []
        self.requests = Requests(
            "me", "s1", "tcp://there:1", new_id=lambda: f"id{next(ids)}", ended=self.ends.append, timeout=timeout
        )
        self.now = 100.0
        self.epoch = 1
        self.number = 0

    def sent(self) -> list[ToRouter]:
        """What the client sends now, as the Router reads it."""
        messages: list[ToRouter] = []
        while (frame := self.requests.frame(self.now)) is not None:
            messages += decode_inbound(frame).messages
        self.requests.validate()
        return messages

    def tell(self, *messages: FromRouter, session: str = "s1") -> list[str]:
        self.number += 1
        frame = encode(Outbound(PROTOCOL, self.epoch, session, self.number, list(messages)))
        touched = self.requests.feed(frame, self.now)
        self.requests.validate()
        return touched

    def restart(self) -> None:
        self.epoch += 1
        self.number = 0

    def sleep(self, seconds: float) -> list[ToRouter]:
        """Let time pass in the steps that the core asks for; everything that it sends meanwhile."""
        until = self.now + seconds
        messages: list[ToRouter] = []
        while (due := self.requests.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.requests.tick(self.now)
            messages += self.sent()
        self.now = until
        return messages

    def follow(self, *runs: str) -> None:
        """Submit these runs and have them accepted."""
        submit = Submit(f"submit-{runs[0]}", [Submission(run, b"") for run in runs])
        self.requests.ask(submit, self.now)
        self.sent()
        self.tell(Submitted(submit.id, [Receipt(run) for run in runs]))
        self.requests.take(submit.id)


def ends(*runs: str) -> Endings:
    return Endings("", [RunEnd(run, "success", 1.5, 7.0) for run in runs])


def only(messages: Iterable[ToRouter], kind: type) -> list[ToRouter]:
    return [message for message in messages if isinstance(message, kind)]


# Requests -------------------------------------------------------------------------------------------------------------


def test_a_request_goes_out_once_and_its_answer_is_handed_out_once() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    assert peer.sent() == [Ask("q", "status")]
    assert peer.sent() == []
    assert peer.tell(Told("q", b"\x80")) == ["q"]
    assert peer.requests.take("q") == Told("q", b"\x80")
    assert peer.requests.take("q") is None
    assert peer.requests.next_deadline() is None


def test_an_envelope_says_who_sends_it_and_its_number() -> None:
    peer = Peer()
    for number in (1, 2):
        peer.requests.ask(Ask(f"q{number}", "status"), peer.now)
        frame = peer.requests.frame(peer.now)
        assert frame is not None
        envelope = decode_inbound(frame)
        assert (envelope.version, envelope.sender, envelope.session, envelope.number) == (PROTOCOL, "me", "s1", number)


def test_an_unanswered_request_is_repeated_every_second_under_its_id_and_ends_unreachable() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    peer.sent()
    assert peer.sleep(9.5) == [Ask("q", "status")] * 9
    assert peer.sleep(0.5) == []
    answer = peer.requests.take("q")
    assert isinstance(answer, Unreachable)
    assert "tcp://there:1" in str(answer) and "10 s" in str(answer)
    assert peer.requests.next_deadline() is None


def test_what_could_not_be_sent_is_not_repeated_but_its_deadline_counts() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    assert peer.requests.next_deadline() == 110.0
    assert peer.requests.tick(110.0) == ["q"]
    assert isinstance(peer.requests.take("q"), Unreachable)
    assert peer.sent() == []


def test_a_router_that_is_alive_and_at_work_is_not_pestered() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    peer.sent()
    peer.now += 0.1
    peer.tell(Noted([]))
    assert peer.sleep(2.8) == []
    assert peer.sleep(0.2) == [Ask("q", "status")]


def test_a_restarted_router_hears_at_once_of_what_is_not_answered() -> None:
    peer = Peer()
    peer.tell(Noted([]))
    for name in ("q", "r"):
        peer.requests.ask(Ask(name, "status"), peer.now)
    peer.sent()
    peer.restart()
    peer.tell(Told("r", b"\x80"))
    assert peer.sent() == [Ask("q", "status")]
    assert isinstance(peer.requests.take("r"), Told)


def test_a_late_second_answer_is_ignored() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    peer.sent()
    peer.tell(Told("q", b"\x80"))
    peer.requests.take("q")
    assert peer.tell(Told("q", b"\x81"), Done("never asked")) == []
    assert peer.requests.take("q") is None


def test_busy_is_waited_out_and_then_asked_again() -> None:
    peer = Peer()
    peer.requests.ask(Control("c", "cancel", "r"), peer.now)
    peer.sent()
    assert peer.tell(Failed("c", "busy", "disk", retry_after=3.0)) == []
    assert peer.sleep(2.9) == []
    assert peer.sleep(0.2) == [Control("c", "cancel", "r")]
    peer.tell(Done("c", "cancelling"))
    assert peer.requests.take("c") == Done("c", "cancelling")


def test_repeated_busy_without_a_time_backs_off_and_ends_as_busy() -> None:
    peer = Peer()
    peer.requests.ask(Control("c", "cancel", "r"), peer.now)
    peer.sent()
    asked: list[float] = []
    while peer.requests.next_deadline() is not None:
        peer.tell(Failed("c", "busy", "200000 runs are open"))
        before = peer.now
        due = peer.requests.next_deadline()
        assert due is not None
        peer.now = due
        peer.requests.tick(peer.now)
        if peer.sent():
            asked.append(peer.now - before)
    assert asked == sorted(asked) and len(asked) < 15
    answer = peer.requests.take("c")
    assert isinstance(answer, Busy) and "200000 runs are open" in str(answer)


def test_refusals_become_the_error_that_fits() -> None:
    peer = Peer()
    for name, code in (("a", "not-found"), ("b", "conflict"), ("c", "invalid")):
        peer.requests.ask(Control(name, "cancel", "r7"), peer.now)
        peer.sent()
        peer.tell(Failed(name, code, f"no: {code}"))
    missing, conflict, invalid = (peer.requests.take(name) for name in "abc")
    assert isinstance(missing, NotFound) and missing.name == "r7" and "no: not-found" in str(missing)
    assert isinstance(conflict, Refused) and conflict.code == "conflict" and str(conflict) == "no: conflict"
    assert isinstance(invalid, Refused) and invalid.code == "invalid"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (("run", "r7", ""), "there is no run 'r7'"),
        (("Broker", "nobody/1", "connected are a/1, b/2"), "there is no Broker 'nobody/1'; connected are a/1, b/2"),
        (("job", "zz", "run r7 has one, two"), "there is no job 'zz'; run r7 has one, two"),
    ],
)
def test_what_is_missing_is_said_once(told: tuple[str, str, str], reason: str) -> None:
    peer = Peer()
    peer.requests.ask(Control("a", "cancel", "r7"), peer.now)
    peer.sent()
    peer.tell(not_found("a", NotFound(*told)))
    missing = peer.requests.take("a")
    assert isinstance(missing, NotFound)
    assert (missing.what, missing.name, missing.hint, str(missing)) == (*told, reason)


def test_a_refused_peer_ends_every_request_with_the_reason() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    peer.sent()
    assert peer.tell(Refuse("protocol 1 is too old")) == ["q"]
    answer = peer.requests.take("q")
    assert isinstance(answer, Refused) and "too old" in str(answer)


def test_a_forgotten_request_is_neither_sent_nor_repeated_nor_answered() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    peer.requests.forget("q")
    assert peer.sent() == []
    peer.requests.ask(Ask("r", "status"), peer.now)
    peer.sent()
    peer.requests.forget("r")
    assert peer.sleep(20) == []
    assert peer.tell(Told("r", b"\x80")) == []
    assert peer.requests.next_deadline() is None


@pytest.mark.parametrize("frame", [b"", b"garbage", b"\x95\x01", b"\xc1" * 40, b"\x91" * 5000, encode(Noted([]))])  # type: ignore[arg-type]
def test_a_malformed_frame_is_counted_and_changes_nothing(frame: bytes) -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    peer.sent()
    assert peer.requests.feed(frame, peer.now) == []
    assert peer.requests.malformed == 1
    peer.tell(Told("q", b"\x80"))
    assert isinstance(peer.requests.take("q"), Told)


def test_an_envelope_of_another_session_is_not_read() -> None:
    peer = Peer()
    peer.requests.ask(Ask("q", "status"), peer.now)
    peer.sent()
    assert peer.tell(Told("q", b"\x80"), session="older") == []
    assert peer.requests.take("q") is None


def test_large_submissions_travel_in_envelopes_of_their_own() -> None:
    peer = Peer()
    for name in ("a", "b"):
        peer.requests.ask(Submit(name, [Submission(name, b"x" * FRAME_WEIGHT)]), peer.now)
    peer.requests.ask(Ask("q", "status"), peer.now)
    frames = [peer.requests.frame(peer.now) for _ in range(3)]
    sizes = [len(decode_inbound(frame).messages) for frame in frames if frame is not None]
    assert sizes == [1, 1, 1]


# Following ------------------------------------------------------------------------------------------------------------


def test_the_end_of_a_submitted_run_is_told_once() -> None:
    peer = Peer()
    peer.follow("r1", "r2")
    assert peer.tell(ends("r1")) == ["r1", NEWS]
    assert peer.tell(ends("r1")) == []
    assert [end.run for end in peer.ends] == ["r1"]
    assert list(peer.requests.following.runs) == ["r2"]


def test_an_end_that_comes_with_its_acknowledgement_is_not_lost() -> None:
    peer = Peer()
    peer.requests.ask(Submit("s", [Submission("r1", b"")]), peer.now)
    peer.sent()
    assert peer.tell(Submitted("s", [Receipt("r1")]), ends("r1")) == ["s", "r1", NEWS]
    assert [end.run for end in peer.ends] == ["r1"]


def test_a_client_beats_only_while_it_follows_a_run() -> None:
    peer = Peer()
    assert peer.requests.next_deadline() is None
    peer.follow("r1")
    peer.now += 2.0
    peer.requests.tick(peer.now)
    assert peer.sent() == [Beat(102.0, seen=1)]
    peer.tell(Pulse(102.0), ends("r1"))
    assert peer.sleep(10) == []


@pytest.mark.parametrize("news", ["restart", "gap", "again"])
def test_whenever_something_may_be_missed_open_runs_are_followed_again(news: str) -> None:
    peer = Peer()
    peer.follow("r1", "r2", "r3")
    peer.tell(ends("r2"))
    if news == "restart":
        peer.restart()
    if news == "gap":
        peer.number += 1
    peer.tell(Again() if news == "again" else Pulse(1.0))
    (follow,) = only(peer.sent(), Follow)
    assert isinstance(follow, Follow) and follow.runs == ["r1", "r3"]
    peer.tell(Endings(follow.id, [RunEnd("r1", "failed", 1.0, 2.0)]))
    assert [end.run for end in peer.ends] == ["r2", "r1"]
    peer.tell(ends("r3"))
    assert peer.sleep(30) == []


def test_a_follow_without_answer_is_repeated_for_as_long_as_it_takes() -> None:
    peer = Peer()
    peer.follow("r1")
    peer.requests.follow(["r2"])
    peer.sent()
    assert len(only(peer.sleep(40), Follow)) == 40


def test_following_again_replaces_a_follow_that_is_under_way() -> None:
    peer = Peer()
    peer.follow("r1")
    peer.tell(Again())
    peer.tell(Again())
    assert len(only(peer.sent(), Follow)) == 1


def test_a_submission_that_is_not_acknowledged_is_not_asked_after() -> None:
    peer = Peer()
    peer.follow("r1")
    peer.requests.ask(Submit("s", [Submission("r2", b"")]), peer.now)
    peer.sent()
    peer.restart()
    peer.tell(Pulse(1.0))
    again = peer.sent()
    assert [one.runs for one in again if isinstance(one, Follow)] == [["r1"]]
    assert len(only(again, Submit)) == 1


def test_a_run_that_was_there_already_is_asked_after_under_the_id_that_counts() -> None:
    peer = Peer()
    peer.requests.ask(Submit("s", [Submission("mine", b""), Submission("other", b"")]), peer.now)
    peer.sent()
    peer.tell(Submitted("s", [Receipt("theirs", existed=True), Receipt("x", ok=False, existed=True, reason="key")]))
    (follow,) = only(peer.sent(), Follow)
    assert isinstance(follow, Follow) and follow.runs == ["theirs"]
    assert list(peer.requests.following.runs) == ["theirs"]


def test_a_run_that_is_followed_before_its_submission_is_acknowledged_is_no_unknown_one() -> None:
    """The Router hears of the wish to follow it before it takes the run: it was busy."""
    peer = Peer()
    submit = Submit("ask", [Submission("r1", b"d")])
    peer.requests.ask(submit, peer.now)
    peer.requests.follow(["r1"])
    (follow,) = only(peer.sent(), Follow)
    assert isinstance(follow, Follow)
    peer.tell(Failed("ask", "busy", "too many runs", 0.1), Endings(follow.id, [], unknown=["r1"]))
    assert not peer.ends
    peer.tell(Submitted("ask", [Receipt("r1")]))
    peer.tell(Endings("", [RunEnd("r1", "success", 1.0, 2.0)]))
    assert [end.verdict for end in peer.ends] == ["success"]


def test_a_run_that_is_followed_is_asked_after_when_its_submission_was_given_up() -> None:
    """It may have been taken: only its acknowledgement was lost."""
    peer = Peer()
    peer.requests.ask(Submit("ask", [Submission("r1", b"d")]), peer.now)
    peer.requests.follow(["r1"])
    peer.sent()
    peer.requests.forget("ask")
    (follow,) = only(peer.sent(), Follow)
    assert isinstance(follow, Follow) and follow.runs == ["r1"]
    peer.tell(Endings(follow.id, [RunEnd("r1", "success", 1.0, 2.0)]))
    assert [end.verdict for end in peer.ends] == ["success"]


def test_a_submission_that_got_no_answer_is_not_followed_any_more() -> None:
    peer = Peer()
    peer.requests.ask(Submit("s", [Submission("r1", b"")]), peer.now)
    peer.sleep(11)
    assert isinstance(peer.requests.take("s"), Unreachable)
    assert not peer.requests.following.runs and peer.requests.next_deadline() is None


def test_a_run_that_the_router_does_not_know_ends_with_that_reason() -> None:
    peer = Peer()
    peer.follow("r1")
    peer.tell(Again())
    (follow,) = only(peer.sent(), Follow)
    assert isinstance(follow, Follow)
    peer.tell(Endings(follow.id, [], unknown=["r1", "never followed"]))
    (end,) = peer.ends
    assert end.run == "r1" and end.error is not None and end.error.kind == UNKNOWN


def test_a_hundred_thousand_runs_are_followed_in_chunks() -> None:
    peer = Peer()
    runs = [f"r{number}" for number in range(25_000)]
    peer.requests.follow(runs)
    follows = only(peer.sent(), Follow)
    assert [len(one.runs) for one in follows if isinstance(one, Follow)] == [FOLLOW_CHUNK, FOLLOW_CHUNK, 5000]


def test_a_router_that_answers_no_beat_is_silent_after_the_timeout_and_not_before() -> None:
    peer = Peer(timeout=6.0)
    peer.follow("r1")
    peer.sleep(5.9)
    assert peer.requests.following.silences == 0
    peer.sleep(2.2)
    assert peer.requests.following.silences == 1
    peer.tell(Pulse(1.0))
    peer.sleep(4.0)
    assert peer.requests.following.silences == 1


def test_time_without_anybody_listening_is_not_silence() -> None:
    peer = Peer()
    peer.follow("r1")
    for _ in range(20):
        peer.now += 3600.0
        peer.requests.tick(peer.now)
        assert len(only(peer.sent(), Beat)) == 1
        peer.tell(Pulse(peer.now))
    assert peer.requests.following.silences == 0


# Whatever comes, in whatever order ------------------------------------------------------------------------------------

RUNS = ["r0", "r1", "r2", "r3"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from(RUNS)),
        st.tuples(st.just("deliver"), st.booleans()),
        st.tuples(st.just("end"), st.sampled_from(RUNS)),
        st.tuples(st.just("restart"), st.none()),
        st.tuples(st.just("sleep"), st.floats(0.1, 4.0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_over_a_wire_that_loses_anything_every_acknowledged_run_is_seen_to_end_once(
    steps: list[tuple[str, object]],
) -> None:
    """A Router that commits, loses envelopes both ways and restarts; at last the wire is good and all runs end."""
    peer = Peer(timeout=60.0)
    committed: dict[str, bool] = {}
    followers: set[str] = set()
    submitted: set[str] = set()

    def router(messages: list[ToRouter], *, lossy: bool) -> None:
        replies: list[FromRouter] = []
        for message in messages:
            match message:
                case Submit():
                    receipts = [Receipt(one.run, existed=one.run in committed) for one in message.submissions]
                    for one in message.submissions:
                        committed.setdefault(one.run, False)
                        followers.add(one.run)
                    replies.append(Submitted(message.id, receipts))
                case Follow():
                    followers.update(message.runs)
                    over = [run for run in message.runs if committed.get(run)]
                    missing = [run for run in message.runs if run not in committed]
                    told = [RunEnd(run, "success", 1.0, 1.0) for run in over]
                    replies.append(Endings(message.id, told, missing))
                case Beat():
                    replies.append(Pulse(message.stamp))
        if replies and lossy:
            peer.number += 1
        elif replies:
            peer.tell(*replies)

    def end(run: str, *, lossy: bool = False) -> None:
        if committed.get(run) is False:
            committed[run] = True
            if run in followers and not lossy:
                peer.tell(ends(run))
            elif run in followers:
                peer.number += 1

    for kind, what in steps:
        if kind == "submit" and what not in submitted:
            submitted.add(str(what))
            peer.requests.ask(Submit(f"s-{what}", [Submission(str(what), b"")]), peer.now)
        elif kind == "deliver":
            router(peer.sent(), lossy=bool(what))
        elif kind == "end":
            end(str(what), lossy=True)
        elif kind == "restart":
            peer.restart()
            followers.clear()
        elif kind == "sleep":
            peer.sleep(float(str(what)))
    for _ in range(40):
        peer.now += 1.0
        peer.requests.tick(peer.now)
        router(peer.sent(), lossy=False)
    for run in RUNS:
        end(run)
    acknowledged = {run for run in submitted if isinstance(peer.requests.take(f"s-{run}"), Submitted)}
    assert sorted(one.run for one in peer.ends) == sorted(acknowledged)
    assert not peer.requests.following.runs
