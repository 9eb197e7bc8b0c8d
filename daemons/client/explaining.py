"""Why something is not running: what the Router holds back and why, and what the facts say of everything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...pipeline.details import JobDetail
from ...pipeline.errors import NotFound
from .conversation import Conversation, Flow
from .reading import Explanation, Snapshot, read_snapshot

MOST = 50
"""Lines about the jobs of a run; of more there is a number."""
ENDED = frozenset({"success", "failed", "skipped", "cancelled", "lost"})


def read_explanation(conversation: Conversation, run: str, job: str | None) -> Flow[Explanation]:
    """Of one job, or of all that have not ended."""
    told = yield from conversation.ask("explain", run)
    snapshot = yield from read_snapshot(conversation, run)
    details = {one.name: one for one in snapshot.progress.job_details()}
    if job is not None and job not in details:
        raise NotFound("job", job, f"run {snapshot.id} has {', '.join(list(details)[:10])}")
    chosen = details if job is None else {job: details[job]}
    waiting = {name: snapshot.progress.waits_for(name) for name, one in chosen.items() if one.state == "waiting"}
    lines = list(_lines(told, chosen, waiting, snapshot, of_one=job is not None))
    more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
    text = "\n".join([told["text"], *lines[:MOST], *more])
    return Explanation.of({**told, "text": text, "waiting": [[name, *found] for name, found in waiting.items()]})


def _lines(
    told: dict[str, Any],
    chosen: dict[str, JobDetail],
    waiting: dict[str, list[str]],
    snapshot: Snapshot,
    *,
    of_one: bool,
) -> Iterator[str]:
    states = snapshot.states()
    for name, path, _, place, *_ in told["running"]:
        if name in chosen:
            yield f"{_at(name, path)} runs on {place}"
    for name, path, why in told["queued"]:
        if name in chosen:
            yield f"{_at(name, path)} waits: {why}"
    for name, missing in waiting.items():
        if missing:
            yield f"{name} waits for {', '.join(f'{one} ({states[one]})' for one in missing)}"
        elif states[name] == "waiting":
            yield f"{name} waits: everything before it has ended, it is about to be queued"
    if of_one:
        for name, one in chosen.items():
            if one.state in ENDED:
                yield f"{name} has ended: {one.state}" + (f", {one.reason}" if one.reason else "")


def _at(name: str, path: list[int]) -> str:
    return f"{name}{list(path) or ''}"
