"""The two shells of a client, against the Router's end of the wire that a test speaks itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import zmq

from headrace.daemons.client.asynchronous import AsyncClient
from headrace.daemons.client.blocking import Client
from headrace.daemons.client.conversation import Flow
from headrace.daemons.client.requests import NEWS
from headrace.daemons.protocol import (
    PROTOCOL,
    Ask,
    Beat,
    Done,
    Endings,
    Failed,
    Follow,
    FromRouter,
    Inbound,
    Outbound,
    Pulse,
    RunEnd,
    Told,
    ToRouter,
    decode_inbound,
    encode,
)
from headrace.pipeline.errors import ConfigError, HeadraceError, NotFound, Unreachable
from headrace.pipeline.payload import pack

Script = Callable[[ToRouter], list[FromRouter]]


class Doorway:
    """A ROUTER socket in a thread: every message is answered by the script of the test."""

    def __init__(self, script: Script, address: str = "tcp://127.0.0.1:*", epoch: int = 1) -> None:
        self.script = script
        self.heard: list[ToRouter] = []
        self.epoch = epoch
        self._numbers: dict[bytes, int] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(address)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not self._socket.poll(20):
                continue
            address, frame = self._socket.recv_multipart()
            envelope = decode_inbound(frame)
            self.heard += envelope.messages
            replies = [reply for message in envelope.messages for reply in self.script(message)]
            if replies:
                self._send(address, envelope, replies)
        self._socket.close()
        self._context.term()  # the address is free after that

    def _send(self, address: bytes, envelope: Inbound, replies: list[FromRouter]) -> None:
        number = self._numbers[address] = self._numbers.get(address, 0) + 1
        outbound = Outbound(PROTOCOL, self.epoch, envelope.session, number, replies)
        self._socket.send_multipart([address, encode(outbound)])

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def polite(message: ToRouter) -> list[FromRouter]:
    """Answer whatever is asked with its own name; runs end when they are followed."""
    match message:
        case Ask():
            return [Told(message.id, pack({"what": message.what}))]
        case Follow():
            return [Endings(message.id, [RunEnd(run, "success", 0.5, 1.0) for run in message.runs])]
        case Beat():
            return [Pulse(message.stamp)]
    return [Done(getattr(message, "id", ""))]


@pytest.fixture
def address() -> Iterator[str]:
    """One that is ours even while nobody listens there, as no port is. The path is short, as a socket needs it."""
    with TemporaryDirectory(prefix="hr-") as folder:
        yield f"ipc://{folder}/api"


@pytest.fixture
def doorway() -> Iterator[Doorway]:
    opened = Doorway(polite)
    yield opened
    opened.close()


def ignore(_: RunEnd) -> None:
    """Nobody here keeps a book."""


class Blocking:
    """Both shells behind one face, so that every test runs over both."""

    def __init__(self, address: str, timeout: float = 60.0, poll_time: float = 0.05) -> None:
        self.client = Client(address, ignore, timeout=timeout, poll_time=poll_time)
        self.conversation = self.client.conversation

    def run(self, flow: Flow[Any]) -> Any:
        return self.client.run(flow)

    def close(self) -> None:
        self.client.close()


class Awaiting:
    def __init__(self, address: str, timeout: float = 60.0) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = AsyncClient(address, ignore, timeout=timeout)
        self.conversation = self.client.conversation

    def run(self, flow: Flow[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(self.client.run(flow), 120))

    def gather(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*work)

        return self.loop.run_until_complete(asyncio.wait_for(together(), 120))

    def close(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


Shell = Blocking | Awaiting


@pytest.fixture(params=[Blocking, Awaiting])
def shell(request: pytest.FixtureRequest, doorway: Doorway) -> Iterator[Shell]:
    made = request.param(doorway.address)
    yield made
    made.close()


@pytest.fixture
def awaiting(doorway: Doorway) -> Iterator[Awaiting]:
    made = Awaiting(doorway.address)
    yield made
    made.close()


def test_a_question_is_answered(shell: Shell) -> None:
    assert shell.run(shell.conversation.ask("status")) == {"what": "status"}


@pytest.mark.parametrize("kind", [Blocking, Awaiting])
def test_many_questions_in_a_row_are_answered_without_waiting_for_a_clock(kind: type[Shell], doorway: Doorway) -> None:
    """The next moment of any clock is the repeat of the question, after a second."""
    shell = Blocking(doorway.address, poll_time=600.0) if kind is Blocking else Awaiting(doorway.address)
    try:
        began = time.monotonic()
        for _ in range(250):
            shell.run(shell.conversation.ask("config"))
        assert time.monotonic() - began < 200, "an answer that is there has to end the wait for it"
    finally:
        shell.close()


def test_a_stream_of_questions_settles_in_order(shell: Shell) -> None:
    settled: list[str] = []
    questions = [Ask(f"q{number}", "status") for number in range(500)]
    shell.run(shell.conversation.stream(questions, lambda message, _: settled.append(message.id)))
    assert settled == [message.id for message in questions]


def test_an_error_comes_out_where_the_flow_was_run(shell: Shell, doorway: Doorway) -> None:
    doorway.script = lambda message: [Failed(getattr(message, "id", ""), "not-found", "no such run")]
    with pytest.raises(NotFound, match="r9"):
        shell.run(shell.conversation.ask("run", "r9"))


def test_the_end_of_a_followed_run_ends_the_wait_for_it(shell: Shell) -> None:
    requests = shell.conversation.requests
    requests.follow(["r1"])
    assert shell.run(shell.conversation.listen("r1", lambda: not requests.following.runs, None)) is True


def test_a_wait_ends_at_its_moment(shell: Shell, doorway: Doorway) -> None:
    doorway.script = lambda message: [Pulse(0.0)] if isinstance(message, Beat) else []
    shell.conversation.requests.follow(["r1"])
    until = shell.conversation.clock() + 0.2
    assert shell.run(shell.conversation.listen(NEWS, lambda: False, until)) is False
    assert shell.conversation.clock() >= until


@pytest.mark.parametrize("kind", [Blocking, Awaiting])
def test_without_a_router_there_is_a_clear_error_after_the_deadline(kind: type[Shell]) -> None:
    shell = kind("tcp://127.0.0.1:9", timeout=0.3)
    try:
        with pytest.raises(Unreachable, match=r"tcp://127\.0\.0\.1:9 within 0\.3 s.*headrace up"):
            shell.run(shell.conversation.ask("status"))
    finally:
        shell.close()


@pytest.mark.parametrize("kind", [Blocking, Awaiting])
def test_a_router_that_falls_silent_ends_a_wait_with_a_clear_error(kind: type[Shell], doorway: Doorway) -> None:
    doorway.script = lambda message: [Endings(message.id, [])] if isinstance(message, Follow) else []
    shell = kind(doorway.address, timeout=1.0)
    try:
        shell.conversation.requests.follow(["r1"])
        with pytest.raises(Unreachable):
            shell.run(shell.conversation.listen("r1", lambda: False, None))
    finally:
        shell.close()


@pytest.mark.parametrize("kind", [Blocking, Awaiting])
def test_a_request_survives_a_restart_of_the_router(kind: type[Shell], address: str) -> None:
    asked = threading.Event()

    def deaf(_: ToRouter) -> list[FromRouter]:
        asked.set()
        return []

    first = Doorway(deaf, address)
    shell = kind(first.address)
    second: list[Doorway] = []

    def restart() -> None:
        asked.wait(60)
        first.close()
        second.append(Doorway(polite, address, epoch=2))

    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        assert shell.run(shell.conversation.ask("status")) == {"what": "status"}
    finally:
        restarting.join()
        shell.close()
        second[0].close()


@pytest.mark.parametrize("kind", [Blocking, Awaiting])
def test_a_router_that_starts_later_than_the_client_is_found(kind: type[Shell], address: str) -> None:
    """A question is repeated every second: so often it may have been asked again before its answer came."""
    shell = kind(address)
    late: list[Doorway] = []
    began: list[float] = []

    def start() -> None:
        began.append(time.monotonic())
        late.append(Doorway(polite, address))

    starting = threading.Timer(0.3, start)
    starting.start()
    try:
        assert shell.run(shell.conversation.ask("status")) == {"what": "status"}
        again = int(time.monotonic() - began[0])
        asked = sum(isinstance(message, Ask) for message in late[0].heard)
        assert 1 <= asked <= 1 + again, "nothing old is delivered late"
    finally:
        starting.join()
        shell.close()
        late[0].close()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("address", ["localhost", "http://localhost:1", "tcp://x", 5555, ("a", "b")])
def test_an_address_that_is_none_is_refused_at_once(kind: Any, address: Any) -> None:
    with pytest.raises(ConfigError):
        kind(address, ignore)


def test_after_close_every_operation_says_so(shell: Shell) -> None:
    shell.run(shell.conversation.ask("status"))
    shell.close()
    flow = shell.conversation.ask("status")
    if isinstance(shell, Awaiting):
        shell.loop = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="closed"):
        shell.run(flow)


# Threads --------------------------------------------------------------------------------------------------------------


def test_a_thread_that_waits_does_not_keep_others_from_asking(doorway: Doorway) -> None:
    """With turns of ten minutes a question would wait for the end of one, and this test for its own."""
    shell = Blocking(doorway.address, poll_time=600.0)
    over = threading.Event()
    requests = shell.conversation.requests
    waiting = threading.Thread(
        target=lambda: shell.run(shell.conversation.listen(NEWS, over.is_set, shell.conversation.clock() + 600))
    )
    waiting.start()
    for _ in range(300):
        shell.run(shell.conversation.ask("status"))
    over.set()
    shell.run(shell.conversation.ask("status"))  # whose turn it is looks whether it is over
    waiting.join()
    shell.close()
    assert not requests.following.runs


def test_threads_get_each_their_own_answers(doorway: Doorway) -> None:
    doorway.script = lambda message: [Told(message.id, pack({"run": message.run}))] if isinstance(message, Ask) else []
    shell = Blocking(doorway.address)
    wrong: list[object] = []

    def ask(name: str) -> None:
        for number in range(50):
            run = f"{name}-{number}"
            try:
                told = shell.run(shell.conversation.ask("run", run))
            except HeadraceError as error:
                told = {"run": error}
            if told != {"run": run}:
                wrong.append(told)

    threads = [threading.Thread(target=ask, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shell.close()
    assert wrong == []


# asyncio --------------------------------------------------------------------------------------------------------------


def test_a_thousand_questions_at_once_are_answered(awaiting: Awaiting) -> None:
    conversation = awaiting.conversation
    answers = awaiting.gather(*(awaiting.client.run(conversation.ask("status")) for _ in range(1000)))
    assert answers == [{"what": "status"}] * 1000


def test_a_cancelled_question_leaves_nothing_behind(awaiting: Awaiting, doorway: Doorway) -> None:
    doorway.script = lambda _: []

    async def ask_and_leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(awaiting.client.run(awaiting.conversation.ask("status")), 0.05)

    awaiting.loop.run_until_complete(ask_and_leave())
    awaiting.conversation.requests.validate()
    assert awaiting.conversation.requests.next_deadline() is None


def test_close_ends_whoever_waits(awaiting: Awaiting, doorway: Doorway) -> None:
    doorway.script = lambda _: []

    async def close_meanwhile() -> None:
        asking = asyncio.ensure_future(awaiting.client.run(awaiting.conversation.ask("status")))
        await asyncio.sleep(0)
        await awaiting.client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await asking

    awaiting.loop.run_until_complete(close_meanwhile())


def test_a_second_event_loop_is_refused(awaiting: Awaiting) -> None:
    awaiting.run(awaiting.conversation.ask("status"))
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(awaiting.client.run(awaiting.conversation.ask("status")))
