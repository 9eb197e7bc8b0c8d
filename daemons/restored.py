"""Open runs as the journal stands for them, made into what the Router's machine works with after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..pipeline.facts import Verdict
from .archive import Archive
from .cluster import Known
from .runs import OpenRun
from .standing import Standing


def known_runs(archive: Archive, runs: Iterable[str]) -> dict[str, Known]:
    """What the journal has of these runs, and what is left of those that were pruned."""
    wanted = list(runs)
    found: dict[str, Known] = {}
    for one in archive.tombstones(wanted):
        found[one.run] = Known(one.run, _verdict(one.verdict), at=one.ended)
    for summary in archive.known(wanted):
        error, duration, at = summary.error, summary.duration or 0.0, summary.ended or 0.0
        found[summary.run] = Known(summary.run, _verdict(summary.verdict), error, duration, at)
    return found


def _verdict(text: str | None) -> Verdict | None:
    match text:
        case "success" | "failed" | "cancelled":
            return text
    return None


def restored(standings: Iterable[Standing], now: float, wall: float) -> Iterator[OpenRun]:
    """The time between the epochs is the difference of wall clocks, and never negative."""
    for one in standings:
        began = one.started_at if one.started_at is not None else one.accepted_at
        yield OpenRun(
            one.id,
            one.number,
            one.options,
            one.accepted_at,
            now - max(0.0, wall - began),
            data=one.data,
            has_data=one.data_size is not None,
            active=one.active,
            last=one.last,
            control=one.control,
            round=one.round,
            paused=one.paused,
            cancelled=one.cancelled,
            ending=one.ending,
        )
