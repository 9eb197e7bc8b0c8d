"""A watcher's view: broadcasts that come, that are missing, that make no sense, and what the api says instead."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.daemons.client.events import Cursor, Event, Watch
from headrace.daemons.dispatch.events import SIGNALS, TOPIC, Signal
from headrace.daemons.dispatch.events import Event as Broadcast
from headrace.pipeline.errors import UserError
from headrace.pipeline.facts import Finished, Pruned, pack_fact
from headrace.pipeline.payload import pack


def told(epoch: int, *facts: tuple[int, str]) -> list[bytes]:
    """A broadcast of ends of runs."""
    packed = [(sequence, run, msgspec.Raw(pack_fact(Finished(1.0, "success")))) for sequence, run in facts]
    return [TOPIC, msgspec.msgpack.encode(Broadcast(1, epoch, packed))]


def progress(number: int, run: str = "r1") -> list[bytes]:
    signal = Signal(1, 1, number, run, "A", (2,), 1, "progress", pack([1, 10, "reading"]))
    return [SIGNALS, msgspec.msgpack.encode(signal)]


def watch(sequence: int = 5, **options: Any) -> Watch:
    made = Watch(Cursor(1, sequence), **options)
    made.behind = False
    return made


def cursors(events: list[Event]) -> list[str]:
    return [event.cursor for event in events]


class Router:
    """What the api answers: it takes the place of a conversation."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def ask(self, what: str, run: str = "", **argument: Any) -> Any:
        self.asked.append(argument)
        return self.answers.pop(0)
        yield  # a flow that never has to wait

    def read(self, watch: Watch) -> list[Event]:
        flow = watch.read(self)  # type: ignore[arg-type]
        with pytest.raises(StopIteration) as stop:
            next(flow)
        found: list[Event] = stop.value.value
        return found


def test_broadcasts_that_follow_each_other_are_passed_on() -> None:
    seen = watch()
    assert cursors(seen.hear(told(1, (6, "r1"), (7, "r2")))) == ["1-6", "1-7"]
    assert cursors(seen.hear(told(2, (7, "r2"), (8, "r3")))) == ["2-8"], "what was seen is not seen again"
    assert not seen.behind


def test_a_gap_is_read_from_the_api_and_nothing_behind_it_is_believed() -> None:
    seen = watch()
    assert seen.hear(told(1, (7, "r1"))) == [] and seen.behind
    assert seen.hear(told(1, (8, "r1"))) == []
    packed = pack_fact(Pruned("r0", 1.0))
    router = Router(
        {"epoch": 1, "facts": [[6, None, packed], [7, "r1", pack_fact(Finished(1.0, "failed"))]], "more": False}
    )
    assert [event.kind for event in router.read(seen)] == ["pruned", "finished"]
    assert router.asked == [{"limit": 1000, "after": 5, "epoch": 1}]
    assert cursors(seen.hear(told(1, (8, "r1")))) == ["1-8"]


def test_a_watcher_without_a_cursor_begins_with_what_comes_next() -> None:
    seen = Watch(None)
    router = Router({"epoch": 3, "reset": {"last": 70, "open": []}})
    assert router.read(seen) == [] and not seen.behind
    assert cursors(seen.hear(told(3, (71, "r1")))) == ["3-71"]


def test_a_cursor_that_cannot_be_known_is_answered_with_what_is_open() -> None:
    seen = Watch(Cursor(9, 9))
    (event,) = Router({"epoch": 3, "reset": {"last": 70, "open": [["r1", "running"]]}}).read(seen)
    assert (event.kind, event.cursor, event.fields) == ("reset", "3-70", {"open": [["r1", "running"]]})


def test_events_of_one_run_leave_the_others_out_and_the_cursor_goes_on() -> None:
    seen = watch(run="r2")
    assert cursors(seen.hear(told(1, (6, "r1"), (7, "r2"), (8, "r1")))) == ["1-7"]
    assert seen.cursor == Cursor(1, 8)


@pytest.mark.parametrize(
    "frames", [[], [b"facts"], [b"facts", b"\xc1"], [b"facts", b"\x93\x01\x01\x91\x93\x06\xc0\x01"]]
)
def test_a_broadcast_that_makes_no_sense_sends_us_to_the_api(frames: list[bytes]) -> None:
    seen = watch()
    assert seen.hear(frames) == [] and seen.behind


def test_signals_are_for_those_who_want_them() -> None:
    assert watch().hear(progress(1)) == []
    assert watch(signals=True, run="r2").hear(progress(1)) == []
    (event,) = watch(signals=True).hear(progress(4))
    assert (event.kind, event.cursor, event.run) == ("signal", "1-5", "r1")
    assert event.fields["body"] == [1, 10, "reading"] and event.fields["number"] == 4


@pytest.mark.parametrize("text", ["", "7", "1-", "-1", "a-b", "1-2-3", "1" * 50 + "-1"])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no cursor"):
        Cursor.parse(text)
