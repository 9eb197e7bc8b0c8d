"""What is told of a run's looks into the cache."""

from __future__ import annotations

from headrace.pipeline.cachenotes import SHOWN, CacheNotes
from headrace.pipeline.facts import CacheNote, Returned, pack_fact, unpack_fact


def returned(job: str, path: tuple[int, ...] = (), attempt: int = 1, note: CacheNote | None = None) -> Returned:
    return Returned(job, path, attempt, "success", cache=note)


def test_the_last_attempt_of_an_instance_counts_and_those_without_a_note_do_not() -> None:
    facts = [
        returned("a", (), 1, CacheNote("miss", "k", "first")),
        returned("b"),
        returned("a", (), 2, CacheNote("hit", "k", "second")),
        object(),
    ]
    notes = CacheNotes.of(facts)
    assert notes.report() == "a: from the cache: second"
    assert notes.report("a").entries == [
        {"job": "a", "path": [], "attempt": 2, "kind": "hit", "key": "k", "reason": "second"}
    ]
    assert notes.report("b").entries == []
    assert notes.report("b") == "job 'b' has not looked into the cache: it has no cache='content', or has not run"


def test_every_kind_has_its_words() -> None:
    kinds = ("hit", "miss", "refused", "damaged")
    notes = CacheNotes.of(returned(kind, (1,), 1, CacheNote(kind, "", "why")) for kind in kinds)
    assert notes.report().splitlines() == [
        "damaged [1]: not in the cache: why",
        "hit [1]: from the cache: why",
        "miss [1]: not in the cache: why",
        "refused [1]: cannot be kept: why",
    ]


def test_of_very_many_instances_the_others_are_counted() -> None:
    facts = [returned("a", (number,), 1, CacheNote("miss" if number % 2 else "hit")) for number in range(SHOWN + 11)]
    report = CacheNotes.of(facts).report()
    assert len(report.splitlines()) == SHOWN + 1 and len(report.entries) == SHOWN + 11
    assert report.splitlines()[-1] == "and 6 more from the cache, 5 more not in the cache"


def test_a_sub_runs_notes_stand_under_its_job() -> None:
    above, below = CacheNotes(), CacheNotes.of([returned("a", (2,), 1, CacheNote("hit", "k", "why"))])
    above.include(below, "sub")
    assert above.report() == "sub/a [2]: from the cache: why"


def test_a_fact_that_was_written_before_there_was_a_cache_can_be_read() -> None:
    note = CacheNote("hit", "key", "why")
    assert unpack_fact(pack_fact(returned("a", note=note))) == returned("a", note=note)
    import msgpack

    old = msgpack.packb(msgpack.unpackb(pack_fact(returned("a")))[:-1])
    assert unpack_fact(old) == returned("a")
