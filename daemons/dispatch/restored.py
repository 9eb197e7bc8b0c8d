"""Open runs as the journal stands for them, made into what the Router's machine works with after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...pipeline.errors import NotFound
from ...pipeline.facts import Returned, Verdict, unpack_fact
from ..journal.archive import Archive
from ..journal.standing import INLINE_DATA, Standing
from .cluster import Known
from .runs import OpenRun


def known_runs(archive: Archive, runs: Iterable[str]) -> dict[str, Known]:
    """What the journal has of these runs, and what is left of those that were pruned."""
    wanted = list(runs)
    found: dict[str, Known] = {}
    with archive.snapshot():
        for one in archive.tombstones(wanted):
            found[one.run] = Known(one.run, _verdict(one.verdict), at=one.ended)
        for summary in archive.known(wanted):
            error, duration, at = summary.error, summary.duration or 0.0, summary.ended or 0.0
            digest = archive.accepted(summary.run).digest
            found[summary.run] = Known(summary.run, _verdict(summary.verdict), error, duration, at, digest=digest)
    return found


FoundBelow = tuple[OpenRun | None, Known | None]


def found_below(archive: Archive, children: Iterable[str], now: float, wall: float) -> dict[str, FoundBelow]:
    """What there is of sub-runs: the end of each, and (unless it was pruned) how it would go on."""
    wanted = list(children)
    found: dict[str, FoundBelow] = dict.fromkeys(wanted, (None, None))
    with archive.snapshot():
        known = known_runs(archive, wanted)
        there = {one.run for one in archive.known(known)}
        for child, end in known.items():
            found[child] = (ended_run(archive, child, now, wall) if child in there else None), end
    return found


def _verdict(text: str | None) -> Verdict | None:
    match text:
        case "success" | "failed" | "cancelled":
            return text
    return None


def restored(standings: Iterable[Standing], now: float, wall: float) -> Iterator[OpenRun]:
    return (_open_run(one, now, wall) for one in standings)


def ended_run(archive: Archive, run: str, now: float, wall: float) -> OpenRun | None:
    """A run that has ended, as it would stand if it went on. None: it has not ended."""
    summary = archive.run(run)
    if summary is None:
        raise NotFound("run", run)
    standing = Standing(run, summary.number)
    for sequence, packed in archive.facts(run):
        fact = unpack_fact(packed)
        standing.last = sequence
        if not isinstance(fact, Returned):
            standing.apply(fact)
    if standing.finished is None:
        return None
    data = archive.data(run)
    standing.data_size = None if data is None else len(data)
    standing.data = data if data is not None and len(data) <= INLINE_DATA else None
    return _open_run(standing, now, wall)


def _open_run(one: Standing, now: float, wall: float) -> OpenRun:
    """The time between the epochs is the difference of wall clocks, and never negative."""
    began = one.started_at if one.started_at is not None else one.accepted_at
    return OpenRun(
        one.id,
        one.number,
        one.options,
        one.accepted_at,
        now - max(0.0, wall - began),
        data=one.data,
        has_data=one.data_size is not None or one.data_ref is not None,
        active=one.active or one.cancelled is not None or one.round > 0,
        last=one.last,
        control=one.control,
        round=one.round,
        paused=one.paused,
        cancelled=one.cancelled,
        ending=one.ending,
        parked=one.parked,
        shortened=one.shortened,
        digest=one.digest,
        data_ref=one.data_ref,
        parent=one.parent,
    )
