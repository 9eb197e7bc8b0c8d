"""Sub-runs: jobs whose worker is another pipeline. Such a job is a run of its own, the *child*, whose end is its end.

    ready ──(inputs are bound: `PREPARE`, on a Broker)──> the child runs ──(`COLLECT`, on a Broker)──> the job returned

The child's id follows from where it stands: run, round, job and path. So whoever asks for it twice finds the same one,
and what became of an attempt is read from the facts of both runs: there is nothing else to keep.

What is put together from user data (the child's data from the results before it, the job's result from the child's) is
made by a worker process, as an attempt of the job; neither Router nor Pipeliner reads any of it.

Another attempt is another round of the same child: what succeeded in it is kept. So is it in a new round of the run
above, as long as everything before the job was kept too: `since` names the round in which its inputs were made.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from .definition import Count, Node, RunOptions
from .facts import Ended, Failure, Path, RunError, Verdict

SUBRUN = "!pipeline"
"""The worker name of attempts that are runs of their own."""
PREPARE = "!prepare"
"""The worker that makes a child's data: every Broker has it,"""
COLLECT = "!collect"
"""and the one that makes a job's result of the results of its child."""
STEPS = frozenset({PREPARE, COLLECT})
ITEM, ITEMS = "item", "items"
"""The names under which a child's data holds what has none: a value that is no map, and a list."""
OVERDUE = "deadline exceeded"
"""The reason of a run that its deadline has ended."""

_PLAIN = RunOptions()


class SubRun(msgspec.Struct, frozen=True, array_like=True):
    """What the Router has to know to open the child."""

    definition: bytes
    data: bytes | None = None
    options: RunOptions = _PLAIN
    """Those of the pipeline inside."""
    bound: bool = False
    """Its data has to be prepared: `data` is not all of it."""
    since: Count = 0
    """The round in which the inputs of the job were made: the child may have been opened then."""


def child_id(run: str, since: int, job: str, path: Path) -> str:
    """The id of the run that this instance is."""
    seed = repr((run, since, job, tuple(path))).encode("utf-8", "surrogatepass")
    return blake2b(seed, digest_size=16).hexdigest()


def child_options(inside: RunOptions, title: str, priority: int, timeout: float | None) -> RunOptions:
    """The options of the child: its own, under what flows down to it. The job's `timeout` is a deadline for it."""
    limits = [limit for limit in (timeout, inside.deadline) if limit is not None]
    return RunOptions(
        title=inside.title or title,
        priority=max(-(2**31), min(2**31, inside.priority + priority)),
        deadline=min(limits, default=None),
        max_active=inside.max_active,
    )


def outcome_of(verdict: Verdict, error: RunError | None, deadline: float | None) -> tuple[Ended, Failure]:
    """How the job ends whose child has ended, and not well."""
    if verdict == "cancelled" and error is not None and error.reason == OVERDUE:
        limit = "" if deadline is None else f" of {deadline:g} s"
        return "timeout", Failure("JobTimeout", f"its run took longer than its time{limit}")
    if verdict == "cancelled":
        why = f": {error.reason}" if error is not None else ""
        return "failed", Failure("SubRunCancelled", f"its run was cancelled{why}")
    if error is None:
        return "failed", Failure("SubRunFailed", "its run has failed")
    where = f"its job {error.job!r}{list(error.path) if error.path else ''} failed: " if error.job is not None else ""
    return "failed", Failure("SubRunFailed", f"{where}{error.reason}", error.traceback)


def is_bound(node: Node, hook: bool) -> bool:
    """Is there something to put into the data of the child? A `store` job hands on its own data and nothing else."""
    return hook or node.bind not in ("store", "literal")


def bind_data(bind: str, own: Any, value: Any) -> Any:
    """The child's data: its own, with what `bind` gives over it, under names."""
    given = dict(own) if isinstance(own, dict) else {} if own is None else {"data": own}
    if isinstance(value, dict):
        return {**given, **value}
    return {**given, (ITEM if bind == "item" else ITEMS): value}
