"""What the Router counts of a Broker: its credit, its role slots, its resources."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.daemons.dispatch.items import Item
from headrace.daemons.dispatch.members import BrokerMember
from headrace.daemons.dispatch.queues import Lane, Shape
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import BrokerCard
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.task import Needs, Ready


def member(*granted: int, **card: Any) -> BrokerMember:
    broker = BrokerMember("b", "host/b", "s", BrokerCard(4, ("W",), **card), 0.0, workers=frozenset({"W"}))
    broker.granted.extend(granted)
    return broker


@pytest.mark.parametrize(
    ("granted", "credit", "left"),
    [
        ((), (2, 3, 0), (2, 3)),
        ((5, 6), (2, 3, 6), (2, 3)),
        ((5, 6, 7), (2, 3, 5), (0, 3)),
        ((5, 6, 7), (2, 3, 4), (0, 2)),
        ((5, 6, 7), (1, 1, 4), (0, 0)),
    ],
)
def test_leases_that_a_credit_does_not_know_of_count_against_it(
    granted: tuple[int, ...], credit: tuple[int, int, int], left: tuple[int, int]
) -> None:
    broker = member(*granted)
    broker.credit(*credit)
    assert (broker.free, broker.prefetch) == left


def test_a_new_session_begins_without_credit_and_keeps_what_is_leased() -> None:
    broker, run = member(5), OpenRun("r1", 1, RunOptions(), 0.0, 0.0)
    broker.credit(3, 3, 0)
    broker.leases[5] = Item(run, Ready("A", (), 1, "W", b"", needs=Needs("shell", {"gpu": 1.0})), 0.0)
    broker.leases[6] = Item(run, Ready("B", (), 1, "W", b""), 0.0)
    for roles, used in (({"shell": 2}, {"shell": 1}), (None, {}), ({"shell": 1}, {"shell": 1})):
        broker.rejoin("t", BrokerCard(1, ("W",), roles), 9.0)
        assert (broker.roles_used, broker.resources_used) == (used, {"gpu": 1.0})
    assert (broker.session, broker.heard, broker.free, broker.prefetch, broker.card.slots) == ("t", 9.0, 0, 0, 1)
    assert not broker.granted and list(broker.leases) == [5, 6]


@pytest.mark.parametrize(
    ("shape", "serves"),
    [
        (Shape("W"), True),
        (Shape("V"), False),
        (Shape("W", "shell"), True),
        (Shape("W", "encode"), False),
        (Shape("W", None, (("gpu", 2.0),)), True),
        (Shape("W", None, (("gpu", 2.5),)), False),
        (Shape("W", None, (("arm", 1.0),)), False),
    ],
)
def test_a_broker_serves_what_it_has_worker_role_and_resources_for(shape: Shape, serves: bool) -> None:
    assert member(roles={"shell": 1}, resources={"gpu": 2.0}).serves(Lane(shape)) is serves


def test_a_broker_without_roles_of_its_own_serves_every_role_as_often_as_it_has_slots() -> None:
    broker, lane = member(), Lane(Shape("W", "shell"))
    broker.occupy(lane, 1)
    assert broker.serves(lane) and broker.has_room(lane)


def test_role_slots_and_resources_run_out_and_come_back() -> None:
    broker = member(roles={"shell": 1}, resources={"gpu": 1.0})
    shell, gpu = Lane(Shape("W", "shell")), Lane(Shape("W", None, (("gpu", 0.5),)))
    for lane, most in ((shell, 1), (gpu, 2)):
        for _ in range(most):
            assert broker.has_room(lane)
            broker.occupy(lane, 1)
        assert not broker.has_room(lane)
        broker.occupy(lane, -1)
        assert broker.has_room(lane)
