"""How the jobs of a run are doing, for people: one state per job, however many instances it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .board import Board
from .plan import Plan
from .states import ABSENT, NAMES, OPEN, worst


@dataclass(frozen=True, slots=True)
class JobDetail:
    """A job as people want to see it. Queued may mean running: only the Router knows."""

    name: str
    worker: str
    state: str
    instances: dict[str, int]
    """How many instances are in which state."""
    attempts: int
    """The number of the last attempt of any instance."""
    reason: str | None
    """Why it failed or was skipped; of several instances the first."""
    hook: bool = False


def details_of(plan: Plan, board: Board, attempts: Mapping[int, int], reasons: Mapping[int, str]) -> list[JobDetail]:
    """Every job in the order of the definition, then grafted ones and hooks that were called."""
    details: dict[str, JobDetail] = {}
    for at in (*plan.jobs(), *plan.every_hook()):
        hook = plan.is_hook(at)
        if hook and board.state[at] == ABSENT:
            continue
        detail = _detail(plan, board, at, attempts.get(at, 1), reasons.get(at), hook)
        known = details.get(detail.name)
        details[detail.name] = detail if known is None else _merged(known, detail)
    return list(details.values())


def waits_for(plan: Plan, board: Board, name: str) -> list[str]:
    """The jobs that this one waits for, in the order of its edges: those before it, gates looked through, that have
    not ended."""
    found: dict[str, None] = {}
    seen: set[int] = set()
    before = [parent for at in plan.jobs() if plan.names[at] == name for parent in _before(plan, at)]
    while before:
        at = before.pop(0)
        if at in seen:
            continue
        seen.add(at)
        if plan.nodes[at].kind == "gate":
            before = [*_before(plan, at), *before]
        elif _may_grow(plan, board, at) or any(code < OPEN for code in board.tally(at)):
            found[plan.names[at]] = None
    return list(found)


def _before(plan: Plan, at: int) -> list[int]:
    """What comes right before a node, by its edges and by grafts."""
    return [*plan.sources[at], *plan.behind.get(plan.groupers.get(at, at), ())]


def tally(board: Board, at: int) -> dict[str, int]:
    """How many instances of a node are in which state, by the names that people know."""
    named: dict[str, int] = {}
    for code, count in board.tally(at).items():
        named[NAMES[code]] = named.get(NAMES[code], 0) + count
    return named


def _detail(plan: Plan, board: Board, at: int, attempts: int, reason: str | None, hook: bool) -> JobDetail:
    instances = tally(board, at)
    begun = attempts > 1 or any(instances.get(state) for state in ("success", "failed", "lost"))
    more = {"waiting": 1} if _may_grow(plan, board, at) else {}
    return JobDetail(
        name=plan.names[at],
        worker=plan.nodes[at].worker_name,
        state=worst({**more, **instances}),
        instances=instances,
        attempts=attempts if begun else 0,
        reason=reason,
        hook=hook,
    )


def _may_grow(plan: Plan, board: Board, at: int) -> bool:
    """May a job of branches still get instances?"""
    if plan.is_single(at):
        return False
    return any(code < OPEN for opener in plan.scope[at] for code in board.tally(opener))


def _merged(one: JobDetail, other: JobDetail) -> JobDetail:
    """Jobs of one name that were grafted at several places."""
    states = {*one.instances, *other.instances}
    return replace(
        one,
        instances={state: one.instances.get(state, 0) + other.instances.get(state, 0) for state in states},
        state=worst({one.state: 1, other.state: 1}),
        attempts=max(one.attempts, other.attempts),
        reason=one.reason or other.reason,
    )
