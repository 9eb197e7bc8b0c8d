"""The doors of the wire: whatever a stranger sends to the ports of real daemons is answered or dropped and counted."""

from __future__ import annotations

import json
import pickle
import random
import socket
import struct
import time
import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import psutil
import pytest
import zmq

from headrace import Job, Pipeline
from headrace.daemons.protocol import (
    PROTOCOL,
    Again,
    Ask,
    Beat,
    BrokerCard,
    Conclude,
    Control,
    Credit,
    Endings,
    Enqueue,
    Failed,
    Fetched,
    FetchValue,
    Follow,
    Halt,
    HandedBack,
    Held,
    Hello,
    Inbound,
    Outbound,
    Outcomes,
    Refuse,
    Submission,
    Submit,
    Submitted,
    Told,
    ToRouter,
    Welcome,
    decode_outbound,
    encode,
)
from headrace.pipeline.task import Outcome, Ready, Want

PATIENCE = 60_000
"""Milliseconds for an answer."""


class Stranger:
    """A socket of its own, and nobody's manners."""

    def __init__(self, address: str) -> None:
        self.name = uuid.uuid4().hex
        self.session = "s"
        self._number = 0
        self._unread: deque[Any] = deque()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def throw(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def say(self, *messages: ToRouter, version: int = PROTOCOL) -> None:
        self._number += 1
        self.throw(encode(Inbound(version, self.name, self.session, self._number, list(messages))))

    def hear(self) -> Outbound:
        assert self.socket.poll(PATIENCE), "no answer"
        return decode_outbound(self.socket.recv_multipart()[-1])

    def answer(self, kind: type) -> Any:
        """The next message of this kind; others are passed over. One envelope may hold several: none of it is lost."""
        while True:
            while self._unread:
                if isinstance(message := self._unread.popleft(), kind):
                    return message
            self._unread.extend(self.hear().messages)

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def stranger(serving: Any) -> Iterator[Stranger]:
    """After whatever it does the daemons serve on."""
    stranger = Stranger(serving.api)
    try:
        yield stranger
    finally:
        stranger.close()
        serving.serves()


def counted(serving: Any, what: str = "malformed") -> int:
    with serving.manager() as manager:
        return int(manager.cluster()["router"][what])


def processor_time(serving: Any) -> float:
    """Of the Router: what it takes by the clock on the wall is also up to what else this machine has to do."""
    return float(sum(psutil.Process(serving.processes["router"].pid).cpu_times()[:2]))


# What is no message -----------------------------------------------------------------------------------------------


def envelope(*messages: Any, version: Any = PROTOCOL, sender: Any = "stranger", number: Any = 1) -> bytes:
    return msgspec.msgpack.encode([version, sender, "s", number, list(messages)])


def submission(options: Any) -> list[Any]:
    return ["submit", "id", [["r", b"", options]]]


RUBBISH: dict[str, list[bytes]] = {
    "an empty frame": [b""],
    "random bytes": [random.Random(1).randbytes(1000)],
    "a text": [b"hello, is this the Router?"],
    "a number": [msgspec.msgpack.encode(5)],
    "what pypelinin's clients send": [json.dumps({"command": "get job"}).encode()],
    "a pickle": [pickle.dumps(time.sleep)],
    "a map where the envelope's list belongs": [msgspec.msgpack.encode({"version": 1})],
    "a list where a map belongs": [envelope(submission([["title", "t"]]))],
    "a map where a list belongs": [envelope({"0": "beat"})],
    "a text where a number belongs": [envelope(["beat", "soon"])],
    "a number where a text belongs": [envelope(["follow", 17, []])],
    "a message of no known kind": [envelope(["open sesame"])],
    "a message without its fields": [envelope(["submit"])],
    "an option with a wrong value": [envelope(submission({"on_duplicate": "explode"}))],
    "a priority beyond all bounds": [envelope(submission({"priority": 1 << 63}))],
    "a time that is no number": [envelope(submission({"not_before": float("nan")}))],
    "a run without a name": [envelope(["submit", "id", [["", b""]]])],
    "a negative lease": [envelope(["handed-back", [-1]])],
    "a sender with a name of a megabyte": [envelope(sender="x" * (1 << 20))],
    "an older version": [envelope(version=0)],
    "a version from the future": [envelope(version=99)],
    "many frames": [envelope(), envelope(), envelope()],
    "ten megabytes of text": [b"spam " * (2 << 20)],
    "lists nested 100,000 deep": [b"\x91" * 100_000],
    "maps nested 100,000 deep": [b"\x95\x01\xa1a\xa1s\x01\x91\x94\xa3ask\xa1i\xa4runs\xa0" + b"\x81\xa1a" * 100_000],
    "a good message, cut off": [envelope(submission({}))[:-3]],
    "a good message, and more behind it": [envelope() + b"\x00"],
}


@pytest.mark.parametrize("name", RUBBISH)
def test_what_is_no_message_is_answered_and_counted(serving: Any, stranger: Stranger, name: str) -> None:
    before = counted(serving)
    stranger.throw(*RUBBISH[name])
    failed = stranger.answer(Failed)
    assert failed.code == "invalid"
    assert "not a message of Headrace" in failed.reason and len(failed.reason) <= 500
    assert counted(serving) == before + 1


def test_fields_that_nobody_knows_are_passed_over(serving: Any, stranger: Stranger) -> None:
    """A neighbour version may append some."""
    stranger.throw(envelope([*["ask", "id", "config", "", {}], "a field of tomorrow"]))
    assert stranger.answer(Told).id == "id"


@pytest.mark.parametrize("door", ["api", "broadcast"])
@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        random.Random(2).randbytes(100_000),
        b"\xff" + bytes(8) + b"\x7f",
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + bytes(48) + b"\x06" + struct.pack(">Q", 1 << 62),
        b"",
    ],
    ids=["HTTP", "TLS", "random bytes", "half a greeting", "a frame of four exabytes", "silence"],
)
def test_raw_bytes_at_a_port_harm_nobody(serving: Any, door: str, rubbish: bytes) -> None:
    address = getattr(serving, door)
    held = []
    for _ in range(20):
        host, port = address.removeprefix("tcp://").split(":")
        connection = socket.create_connection((host, int(port)), 60)
        held.append(connection)
        try:
            connection.sendall(rubbish)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was thrown out before it had finished
    serving.serves()
    for connection in held:
        connection.close()


def test_a_subscription_of_a_megabyte_is_cut_off(serving: Any) -> None:
    """Watchers may choose what they hear, and may not fill the Router's memory with it."""
    host, port = serving.broadcast.removeprefix("tcp://").split(":")
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB"
    topic = b"\x01" + b"x" * (1 << 20)
    with socket.create_connection((host, int(port)), 60) as watcher:
        watcher.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48))
        watcher.sendall(b"\x04" + bytes([len(ready)]) + ready)
        try:
            watcher.sendall(b"\x02" + struct.pack(">Q", len(topic)) + topic)
            while watcher.recv(1000):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was cut off before it had finished
    serving.serves()


# Messages that come from nowhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Outcomes([Outcome(1 << 40, "success", b"\x01")]),
        Credit(1000, 1000, 0),
        HandedBack([1, 2, 3]),
        Enqueue("nobody's", 1, 0, 1, [Ready("job", (), 1, "nothing", b"")]),
        Halt("nobody's", 1, 1, [("job", ())]),
        Conclude("nobody's", 1, 1, "success"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_who_never_said_hello_is_asked_to_and_moves_nothing(serving: Any, stranger: Stranger, message: Any) -> None:
    with serving.manager() as manager:
        before = manager.cluster()["router"]
        stranger.say(message)
        stranger.answer(Again)
        after = manager.cluster()["router"]
    assert {key: after[key] for key in ("returned", "queued", "running")} == {
        key: before[key] for key in ("returned", "queued", "running")
    }


def test_a_pipeliner_cannot_speak_for_a_run_that_is_not_its_own(serving: Any, stranger: Stranger) -> None:
    with serving.manager() as manager:
        (serving.folder / "go").unlink(missing_ok=True)
        pipeline = Pipeline({Job("wait_for"): Job("nothing")}, data={"folder": str(serving.folder)})
        run = manager.start(pipeline)
        stranger.say(Hello("pipeliner", "stranger/1"))
        stranger.answer(Welcome)
        for take in (0, 1, (1 << 32) + 1, (1 << 32) + 2):
            stranger.say(Conclude(run, take, 10, "failed"), Halt(run, take, 10, [("wait_for", ())]))
        stranger.say(Ask("id", "runs"))
        assert stranger.answer(Told).id == "id", "all of that has been heard"
        (serving.folder / "go").touch()
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error


def test_an_outcome_without_its_lease_is_refused_and_counted(serving: Any, stranger: Stranger) -> None:
    before = counted(serving, "refused outcomes")
    (serving.folder / "go").unlink(missing_ok=True)
    with serving.manager() as manager:
        pipeline = Pipeline({Job("wait_for"): Job("nap", {"seconds": 0.0})}, data={"folder": str(serving.folder)})
        manager.start(pipeline)
        stranger.say(Hello("broker", "stranger/1", card=BrokerCard(0)))
        stranger.answer(Welcome)
        stranger.say(Outcomes([Outcome((1 << 40) + number, "success", b"\xa4fake") for number in range(200)]))
        serving.until(lambda: counted(serving, "refused outcomes") == before + 200, what="each of them is counted")
        (serving.folder / "go").touch()
        run = manager.wait(pipeline, 60)
        assert run.results["wait_for"] is None and isinstance(run.results["nap"], int)
        assert counted(serving, "refused outcomes") == before + 200


def test_clients_do_not_join(stranger: Stranger) -> None:
    stranger.say(Hello("client", "stranger/1"))
    assert "does not join" in stranger.answer(Refuse).reason


def test_a_peer_of_another_protocol_is_refused_with_what_is_spoken(stranger: Stranger) -> None:
    stranger.say(Hello("broker", "stranger/1", protocol=99, card=BrokerCard(1)))
    reason = stranger.answer(Refuse).reason
    assert "speaks protocol 1" in reason and "99" in reason


def test_a_hello_that_claims_a_hundred_thousand_leases_is_answered_soon(serving: Any, stranger: Stranger) -> None:
    held = tuple(Held((1 << 40) + number, "nobody's", f"job{number % 10}", (number,), 1) for number in range(100_000))
    before = processor_time(serving)
    stranger.say(Hello("broker", "stranger/1", card=BrokerCard(1), held=held))
    stranger.answer(Welcome)
    assert processor_time(serving) - before < 10
    with serving.manager() as manager:
        manager.cluster()
    stranger.say(Beat(1.0))


def test_hello_again_and_again_is_one_member(serving: Any, stranger: Stranger) -> None:
    for number in range(50):
        stranger.session, stranger._number = f"session {number}", 0
        stranger.say(Hello("broker", "stranger/50", card=BrokerCard(1)))
        stranger.answer(Welcome)
    with serving.manager() as manager:
        assert [one["place"] for one in manager.cluster()["brokers"]].count("stranger/50") == 1


def test_a_stolen_identity_costs_a_moment_and_no_job(serving: Any, stranger: Stranger) -> None:
    """Who may connect may pretend. The real Broker notices, says its state again, and goes on."""
    with serving.manager() as manager:
        (broker,) = [one for one in manager.cluster()["brokers"] if one["workers"]]
        jobs = [Job("nap", {"seconds": 0.1}, name=f"nap{number}") for number in range(20)]
        pipeline = Pipeline(dict.fromkeys(jobs))
        manager.start(pipeline)
        stranger.name = broker["identity"]
        stranger.say(Hello("broker", "stranger/1", card=BrokerCard(2, ("nothing",))))
        stranger.answer(Welcome)
        manager.wait(pipeline, 60)
        assert not pipeline.failed, pipeline.error


# Requests that mean nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Ask("id", "run", "nobody's"), "not-found"),
        (Ask("id", "facts", ""), None),
        (Ask("id", "runs", argument={"limit": "many"}), "invalid"),
        (Ask("id", "runs", argument={"limit": -5}), None),
        (Ask("id", "runs", argument={"before": "nobody's"}), None),
        (Ask("id", "facts", argument={"after": (1 << 63) - 1}), None),
        (Ask("id", "explain", "%"), "not-found"),
        (Ask("id", "run", "'; DROP TABLE facts; --"), "not-found"),
        (Control("id", "cancel", "nobody's"), "not-found"),
        (Control("id", "prune", argument="yesterday"), "conflict"),
        (Control("id", "prune", argument="nan"), "conflict"),
        (Control("id", "prune", "nobody's"), "not-found"),
        (Control("id", "retry", "nobody's"), "not-found"),
    ],
    ids=str,
)
def test_a_request_that_means_nothing_has_an_answer(stranger: Stranger, request_: Any, code: str | None) -> None:
    stranger.say(request_)
    if code is None:
        assert stranger.answer(Told).id == "id"
    else:
        failed = stranger.answer(Failed)
        assert (failed.id, failed.code) == ("id", code), failed.reason


@pytest.mark.parametrize(
    "ref",
    ["", "/etc/passwd", "../../../etc/passwd", "../a/b/c", "a/../../b", "a/b/c/d", "x\0/y/z/1", "values.id", "-/-/-/-"],
)
def test_no_reference_leads_out_of_the_values_folder(stranger: Stranger, ref: str) -> None:
    stranger.say(FetchValue("id", Want("r", "value", ref=ref)))
    given = stranger.answer(Fetched).given
    assert not given.values and given.missing


def test_a_definition_that_is_none_fails_its_run_and_no_other(serving: Any, stranger: Stranger) -> None:
    bad = {"garbage": b"\xc1", "deep": b"\x91" * 100_000, "empty": b"", "a list": b"\x90", "a map": b"\x80"}
    submissions = [Submission(f"{number:032x}", definition) for number, definition in enumerate(bad.values(), 1)]
    stranger.say(Submit("id", submissions))
    assert all(receipt.ok for receipt in stranger.answer(Submitted).receipts)
    ends: dict[str, str] = {}
    while len(ends) < len(bad):
        ends |= {end.run: end.verdict for end in stranger.answer(Endings).ends}
    assert [ends[f"{number:032x}"] for number in range(1, 5)] == ["failed"] * 4
    with serving.manager() as manager:
        status = manager.status(f"{1:032x}")
        assert status.state == "failed" and "no definition" in status.error.reason
        assert status.results == {}
    shown = serving.command("show", f"{1:032x}")
    assert "cannot be read" in shown.stderr and "Traceback" not in shown.stderr


def test_following_a_hundred_thousand_runs_that_are_not_there_is_one_answer(stranger: Stranger) -> None:
    stranger.say(Follow("id", [f"{number:032x}" for number in range(1 << 60, (1 << 60) + 100_000)]))
    assert len(stranger.answer(Endings).unknown) == 100_000


def test_who_does_not_read_its_answers_slows_only_itself(serving: Any, stranger: Stranger) -> None:
    with serving.manager(timeout=60) as manager:
        for number in range(20_000):
            stranger.say(Ask(f"{number}", "status"))
        assert manager.cluster()["brokers"], "somebody else is answered"


def test_the_router_is_as_small_as_before(serving: Any) -> None:
    """Last of this file: nothing of all that is kept."""
    assert psutil.Process(serving.processes["router"].pid).memory_info().rss < 300 << 20
