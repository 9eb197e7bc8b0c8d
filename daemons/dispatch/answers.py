"""Answers to questions that change nothing: from the journal, and from what the Router holds at the moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ...pipeline.errors import NotFound, UserError
from ...pipeline.facts import Path, RunError
from ...pipeline.payload import pack, unpack
from ...pipeline.task import Given, Want
from ..journal.archive import Archive, Kept, Summary
from ..protocol import Ask, Failed, Told
from .cluster import Cluster
from .items import Item
from .reasons import why_waiting
from .replies import not_found
from .runs import OpenRun
from .values import ValueReader

PAGE = 5000
PAGE_BYTES = 4 * 1024 * 1024
SHOWN = 10_000
"""Queued and running attempts listed in one answer."""

Body = dict[str, Any]


class Answers:
    def __init__(self, archive: Archive, cluster: Cluster, config: dict[str, Any], values: ValueReader) -> None:
        self._archive = archive
        self._cluster = cluster
        self._config = config
        self._values = values
        self._kinds: dict[str, Callable[[Ask], Body]] = {
            "config": lambda ask: {"config": self._config},
            "status": self._status,
            "runs": self._runs,
            "run": self._run,
            "facts": self._facts,
            "events": self._events,
            "definition": self._definition,
            "explain": self._explain,
        }

    def answer(self, ask: Ask) -> Told | Failed:
        try:
            return Told(ask.id, pack(self._kinds[ask.what](ask)))
        except NotFound as error:
            return not_found(ask.id, error)
        except UserError as error:
            return Failed(ask.id, "invalid", str(error))

    # Runs -------------------------------------------------------------------------------------------------------

    def _runs(self, ask: Ask) -> Body:
        limit = _whole(ask, "limit", 100, 1, PAGE)
        before = _text(ask, "before")
        last = self._archive.run(before) if before else None
        below = ask.argument.get("below") is True
        page = self._archive.runs(_text(ask, "state"), limit + 1, last.number if last else None, below)
        return {"runs": [_row(one) for one in page[:limit]], "more": len(page) > limit}

    def _run(self, ask: Ask) -> Body:
        one = self._summary(self._known(ask.run))
        open_run = self._cluster.runs.get(one.run)
        return {
            **_row(one),
            "key": one.key,
            "state": open_run.state if open_run else one.state,
            "error": _error(one.error),
            "round": one.round,
            "paused": one.paused,
            "parked": open_run.parked if open_run else "",
            "above": self._above(one),
            "below": self._below(one.run),
            **self._live(open_run),
        }

    def _above(self, one: Summary) -> list[Any] | None:
        """Of a sub-run: the run, job and branch that it is."""
        place = self._archive.accepted(one.run).parent if one.parent is not None else None
        return [place.run, place.job, list(place.path)] if place is not None else None

    def _below(self, run: str) -> list[list[Any]]:
        """The sub-runs of a run, by job and path: what each is there, its id and its state."""
        found: list[list[Any]] = []
        for one, accepted in self._archive.children(run, SHOWN):
            place, open_one = accepted.parent, self._cluster.runs.get(one.run)
            if place is not None:
                found.append([place.job, list(place.path), one.run, open_one.state if open_one else one.state])
        return sorted(found, key=lambda row: row[:2])

    def _live(self, run: OpenRun | None) -> Body:
        items = list(run.live.values())[:SHOWN] if run else []
        running = [item for item in items if item.leased or item.below]
        waiting = [item for item in items if not item.leased and not item.below]
        return {
            "queued": [[*item.key, why_waiting(self._cluster, item)] for item in waiting],
            "running": [_running(item) for item in running],
            "counts": {"live": len(run.live), "leased": run.leased} if run else {},
        }

    def _facts(self, ask: Ask) -> Body:
        after = _whole(ask, "after", 0, 0, 1 << 62)
        limit = _whole(ask, "limit", PAGE, 1, PAGE)
        run = self._known(ask.run) if ask.run else None
        found: Sequence[tuple[Any, ...]] = (
            self._archive.all_facts(after, limit) if run is None else self._archive.facts(run, after, limit)
        )
        page = _light(found)
        more = len(page) < len(found) or len(found) == limit
        return {"facts": [list(row) for row in page], "more": more, "epoch": self._cluster.epoch}

    def _events(self, ask: Ask) -> Body:
        """Facts of all runs behind a cursor. Without one, or with one that cannot be ours: where to go on from."""
        cluster = self._cluster
        limit = _whole(ask, "limit", PAGE, 1, PAGE)
        after, epoch = ask.argument.get("after"), _whole(ask, "epoch", cluster.epoch, 0, 1 << 62)
        last = self._archive.last()
        if after is None or epoch > cluster.epoch or _whole(ask, "after", 0, 0, 1 << 62) > last:
            open_runs = [[run.id, run.state] for run in list(cluster.runs.values())[:SHOWN]]
            return {"epoch": cluster.epoch, "reset": {"last": last, "open": open_runs}}
        found = self._archive.all_facts(_whole(ask, "after", 0, 0, 1 << 62), limit)
        page = _light(found)
        more = len(page) < len(found) or len(found) == limit
        return {"facts": [list(row) for row in page], "more": more, "epoch": cluster.epoch}

    def _definition(self, ask: Ask) -> Body:
        run = self._known(ask.run)
        definition, data = self._archive.definition(run), self._archive.data(run)
        ref = self._archive.accepted(run).data_ref
        return {"definition": definition, "data": data, "data_ref": ref, "title": self._summary(run).title}

    def _explain(self, ask: Ask) -> Body:
        run_id = self._known(ask.run)
        run = self._cluster.runs.get(run_id)
        if run is None:
            ended = f"run {run_id} has ended: {self._summary(run_id).state}"
            return {"text": ended, "queued": [], "running": []}
        return {"text": _explained(run), **self._live(run)}

    def _summary(self, run: str) -> Summary:
        summary = self._archive.run(run)
        if summary is None:
            raise NotFound("run", run)
        return summary

    def _known(self, prefix: str) -> str:
        """A run's id from its unique beginning."""
        if prefix in self._cluster.runs:
            return prefix
        found = self._archive.ids(prefix, 3) if prefix else []
        if not found:
            raise NotFound("run", prefix)
        if len(found) > 1 and prefix not in found:
            raise UserError(f"{prefix!r} is the beginning of several runs: {', '.join(found)}; write more of the id")
        return prefix if prefix in found else found[0]

    # The cluster ------------------------------------------------------------------------------------------------

    def _status(self, ask: Ask) -> Body:
        cluster = self._cluster
        now = cluster.now
        return {
            "router": {
                "epoch": cluster.epoch,
                "last_fact": cluster.last,
                "uptime": now - cluster.began_at,
                "open_runs": len(cluster.runs),
                "queued": cluster.queues.size,
                "running": sum(len(broker.leases) for broker in cluster.brokers.values()),
                "stalled": cluster.stalled,
                "at": time.time(),
                **cluster.counts,
            },
            "brokers": [
                {
                    "identity": broker.identity,
                    "place": broker.place,
                    "slots": broker.card.slots,
                    "workers": sorted(broker.card.workers),
                    "roles": broker.card.roles,
                    "running": len(broker.leases),
                    "draining": broker.draining,
                    "silent": now - broker.heard,
                }
                for broker in cluster.brokers.values()
            ],
            "pipeliners": [
                {"identity": one.identity, "place": one.place, "runs": len(one.runs), "silent": now - one.heard}
                for one in cluster.pipeliners.values()
            ],
            "queues": [
                {"shape": str(lane.shape), "role": lane.shape.role, "worker": lane.shape.worker, "queued": lane.size}
                for lane in cluster.queues.lanes.values()
                if lane.size
            ],
            "limits": {name: [cluster.queues.used[name], most] for name, most in cluster.queues.limits.items()},
            "rates": dict(cluster.counts),
            "paused": {"cluster": cluster.queues.switches.everything, "roles": sorted(cluster.queues.switches.roles)},
        }

    # Values -----------------------------------------------------------------------------------------------------

    def give(self, want: Want) -> Given:
        """A value that a worker or a client reads: a page of it, or why there is none."""
        try:
            return self._give(want)
        except UserError as error:
            return Given(missing=str(error))

    def _give(self, want: Want) -> Given:
        if want.kind == "value":
            return self._values.chunk(want.ref or "", want.offset)
        run = self._known(want.run)
        if want.kind == "definition":
            return _one(self._archive.definition(run), f"run {run} has no definition")
        if want.kind == "data":
            if (ref := self._archive.accepted(run).data_ref) is not None:
                return Given((((), "success", None, ref),))
            return _one(self._archive.data(run), f"run {run} has no data")
        if want.many:
            page = self._archive.results(run, want.job or None, want.path, want.offset)
            jobs = tuple(one.job for one in page.entries)
            return Given(tuple(_given(one) for one in page.entries), page.next, jobs=jobs)
        found = self._archive.result(run, want.job, want.path)
        if found is None:
            return Given(missing=f"job {want.job}{list(want.path) or ''} of run {run} has no result")
        return Given((_given(found),))


def _light(rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """The first of them, as many as one answer may carry: failures bring their tracebacks along."""
    weight = 0
    for count, row in enumerate(rows, 1):
        weight += len(row[-1])
        if weight > PAGE_BYTES:
            return rows[:count]
    return rows


def _one(value: bytes | None, otherwise: str) -> Given:
    return Given((((), "success", value, None),)) if value is not None else Given(missing=otherwise)


def _given(one: Kept) -> tuple[Path, str, bytes | None, str | None]:
    """A result; of an attempt that failed, the failure as the data that its dependants see."""
    value = one.value
    if value is None and one.ref is None and one.error is not None:
        value = pack(one.error.record())
    return one.path, one.kind, value, one.ref


def _row(one: Summary) -> Body:
    return {
        "id": one.run,
        "title": one.title,
        "state": one.state,
        "accepted_at": one.accepted,
        "finished_at": one.ended,
        "duration": one.duration,
        "verdict": one.verdict,
        "error_reason": one.error.reason if one.error else None,
        "parent": one.parent,
    }


def _running(item: Item) -> list[Any]:
    place = item.broker.place if item.broker else f"run {item.child}" if item.below else ""
    progress = unpack(item.signal) if item.signal else None
    return [*item.key, item.ready.attempt, place, item.granted, progress]


def _error(error: RunError | None) -> list[Any] | None:
    return [error.job, list(error.path), error.reason, error.traceback, error.kind] if error else None


def _explained(run: OpenRun) -> str:
    """What is to be said of the run itself."""
    lines = [f"run {run.id} is {run.state}" + (f" ({run.parked})" if run.parked else "")]
    if run.paused:
        lines.append("it is paused: nothing of it starts until it is resumed")
    if run.parent is not None:
        lines.append(f"it is job {run.parent.job}{list(run.parent.path) or ''} of run {run.parent.run}")
    if run.parked:
        lines.append("`headrace retry` has it taken up again")
    if run.awaits:
        lines.append(f"it waits for {', '.join(sorted(name.lstrip('~') for name in run.awaits))}")
    if run.state == "waiting" and run.options.not_before:
        lines.append(f"it does not start before {time.ctime(run.options.not_before)}")
    if run.active and run.owner is None and not run.parked:
        lines.append("no Pipeliner is connected to track it")
    return "\n".join(lines)


def _whole(ask: Ask, name: str, default: int, least: int, most: int) -> int:
    value = ask.argument.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"argument {name} has to be a whole number, not {value!r}")
    return min(max(value, least), most)


def _text(ask: Ask, name: str) -> str | None:
    value = ask.argument.get(name)
    if value is not None and not isinstance(value, str):
        raise UserError(f"argument {name} has to be text, not {value!r}")
    return value
