"""The life of an item, as a table."""

from __future__ import annotations

import pytest

from headrace.daemons.dispatch.items import STEPS, Item, State
from headrace.daemons.dispatch.members import BrokerMember
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import BrokerCard
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.errors import ProtocolError
from headrace.pipeline.task import Needs, Ready

EVENTS = sorted({event for _, event in STEPS})


def item(state: State = State.HELD, **ready: object) -> Item:
    run = OpenRun("r1", 1, RunOptions(), 0.0, 0.0)
    made = Item(run, Ready("A", (2, 0), 3, "W", b"task", **ready), 7.0)  # type: ignore[arg-type]
    made.state = state
    return made


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", EVENTS)
def test_an_item_takes_the_steps_of_the_table_and_no_others(state: State, event: str) -> None:
    one = item(state)
    if (state, event) in STEPS:
        one.step(event)
        assert one.state is STEPS[state, event]
    else:
        with pytest.raises(ProtocolError, match=rf"A\[2, 0\] #3 of r1: {state.value}> cannot {event}"):
            one.step(event)
        assert one.state is state


def test_every_state_is_reached_and_nothing_leaves_the_end() -> None:
    assert set(STEPS.values()) | {State.HELD} == set(State)
    assert not [state for state, _ in STEPS if state is State.ENDED]


def test_an_item_tells_its_story_in_one_line() -> None:
    one = item(State.LEASED)
    one.lease, one.broker = 0x10000000007, BrokerMember("b", "host/b", "s", BrokerCard(1), 0.0)
    assert repr(one) == "<A[2, 0] #3 of r1: leased lease 10000000007 on host/b>"
    assert one.key == ("A", (2, 0)) and one.leased


def test_an_item_without_a_queue_timeout_waits_for_ever() -> None:
    assert item().patience is None and item(needs=Needs()).patience is None
    assert item(needs=Needs(queue_timeout=2.0)).patience == 2.0
