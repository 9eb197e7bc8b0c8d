"""Messages that rest on facts wait until those are on disk."""

from __future__ import annotations

from headrace.daemons.dispatch.effects import Forget, Load, Record, RouterEffect, Send
from headrace.daemons.dispatch.outbox import Outbox
from headrace.daemons.protocol import Again, Noted
from headrace.pipeline.facts import Released


def record(number: int, answer: tuple[str, bytes, bytes] | None = None) -> Record:
    return Record(number, "r1", Released(0.0), answer=answer)


RESTS = Send("a", Noted([1]))
FREE = Send("a", Again(), rests=False)


def test_without_facts_everything_goes_at_once() -> None:
    outbox = Outbox()
    effects: list[RouterEffect] = [FREE, RESTS, Forget("a")]
    assert outbox.put(effects) == ([], [FREE, RESTS, Forget("a")])
    assert outbox.batch == 0 and not outbox.pending


def test_what_rests_on_facts_waits_for_them_and_the_rest_does_not() -> None:
    outbox = Outbox()
    first = record(1)
    assert outbox.put([first, RESTS, FREE]) == ([first], [FREE])
    assert outbox.batch == 1 and outbox.pending == {1: [first]}
    assert outbox.committed(1) == ([first], [RESTS])
    assert not outbox.pending


def test_what_is_decided_after_a_fact_waits_for_it_though_it_makes_none() -> None:
    outbox = Outbox()
    outbox.put([record(1)])
    load = Load("r1", 1, 0, True)
    assert outbox.put([load]) == ([], [])
    assert outbox.committed(1)[1] == [load]
    assert outbox.put([RESTS]) == ([], [RESTS])


def test_batches_that_reach_the_disk_together_free_their_messages_in_order() -> None:
    outbox = Outbox()
    sends = [Send("a", Noted([number])) for number in range(4)]
    for number in range(3):
        outbox.put([record(number), sends[number]])
    outbox.put([sends[3]])
    records, freed = outbox.committed(2)
    assert [one.sequence for one in records] == [0, 1] and freed == sends[:2]
    assert outbox.committed(3)[1] == sends[2:]


def test_a_request_whose_fact_is_on_its_way_to_the_disk_is_answered_from_here() -> None:
    outbox = Outbox()
    outbox.put([record(1), record(2, ("ask", b"digest", b"cancelling"))])
    assert outbox.answer("ask") == (b"digest", b"cancelling")
    assert outbox.answer("other") is None
    outbox.committed(1)
    assert outbox.answer("ask") is None
