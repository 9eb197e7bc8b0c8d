"""The proof: what the journal, the store and the system say when all is over, against what was promised.

lost       an acknowledged run that has not ended, or not as it had to, or with another result
twice      an instance with more than one committed success, an attempt with more than one end, a run finished twice
too early  an instance that ended before one that it had to wait for
unsaved    a committed success that the store was never told of
damaged    what the doctor says about the journal
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from load import Order, Place

from headrace.daemons.journal.archive import Archive
from headrace.daemons.journal.checkup import verify
from headrace.pipeline.facts import Fact, Finished, Returned, unpack_fact
from headrace.pipeline.payload import unpack

Ledger = dict[str, list[tuple[int, Fact]]]
SHOWN = 20


def prove(data: Path, marks: Path | None, orders: Iterable[Order]) -> list[str]:
    """Everything that is not as it should be, in words."""
    report = verify(data)
    problems = [f"damaged: {problem}" for problem in report.problems]
    archive = Archive(data / "journal.db")
    try:
        ledger = _ledger(archive)
        saved = _saved(marks)
        for order in orders:
            problems += _judge(order, ledger.get(order.run, []), saved, archive)
        problems += _twice(ledger)
    finally:
        archive.close()
    return problems[:SHOWN]


def executions(marks: Path) -> tuple[int, int]:
    """(instances that were saved, saves beyond the first of each)."""
    lines = [line.split() for line in marks.read_text().splitlines()] if marks.exists() else []
    count = Counter(tuple(words[:3]) for words in lines)
    return len(count), sum(count.values()) - len(count)


def _ledger(archive: Archive) -> Ledger:
    """All facts by run."""
    ledger: Ledger = {}
    after = 0
    while page := archive.all_facts(after):
        for sequence, run, body in page:
            if run is not None:
                ledger.setdefault(run, []).append((sequence, unpack_fact(body)))
        after = page[-1][0]
    return ledger


def _saved(marks: Path | None) -> set[tuple[str, str, str]] | None:
    if marks is None:
        return None
    lines = [line.split() for line in marks.read_text().splitlines()] if marks.exists() else []
    return {(run, job, path) for run, job, path, _ in lines}


def _judge(order: Order, facts: list[tuple[int, Fact]], saved: Any, archive: Archive) -> Iterator[str]:
    run = order.run
    ends = [fact.verdict for _, fact in facts if isinstance(fact, Finished)]
    if ends != [order.verdict]:
        yield f"lost: run {run} was acknowledged and should be {order.verdict}; the journal says {ends or 'nothing'}"
        return
    if not order.pipeline.finished:
        yield f"lost: run {run} has ended, and its client was never told"
    done: dict[Place, int] = {
        (fact.job, fact.path): sequence
        for sequence, fact in facts
        if isinstance(fact, Returned) and fact.kind == "success"
    }
    if done.keys() != order.places:
        yield f"lost: run {run} has {sorted(done)}, and not {sorted(order.places)}"
    deaths = sum(isinstance(fact, Returned) and fact.kind == "died" for _, fact in facts)
    if order.deaths not in (None, deaths):
        yield f"lost: {deaths} processes have died of run {run}, and not {order.deaths}"
    for before, after in order.order:
        if done.get(before, 0) > done.get(after, 1 << 62):
            yield f"too early: {after} of run {run} ended before {before}"
    for job, wanted in order.results.items():
        kept = archive.result(run, job)
        if kept is None or kept.value is None or unpack(kept.value) != wanted:
            yield f"lost: job {job} of run {run} is {kept}, and not {wanted}"
    for job, path in done if saved is not None else ():
        if (run, job, ".".join(map(str, path)) or "-") not in saved:
            yield f"unsaved: {job}{path} of run {run} was committed, and the store was never told"


def _twice(ledger: Ledger) -> Iterator[str]:
    for run, facts in ledger.items():
        successes = Counter[Any]()
        attempts = Counter[Any]()
        finished = 0
        for _, fact in facts:
            finished += isinstance(fact, Finished)
            if isinstance(fact, Returned):
                attempts[fact.job, fact.path, fact.round, fact.attempt] += 1
                successes[fact.job, fact.path, fact.round] += fact.kind == "success"
        yield from (f"twice: {place} of run {run} succeeded {n} times" for place, n in successes.items() if n > 1)
        yield from (f"twice: attempt {place} of run {run} ended {n} times" for place, n in attempts.items() if n > 1)
        if finished > 1:
            yield f"twice: run {run} finished {finished} times"
