"""A graph of jobs: every form in which users write one becomes jobs and edges, checked.

A graph is written as a dict "from: to" or as a list of such pairs. "From" is a job or several, "to" a job, several,
or nothing (`None`, `[]`, `()`); several on both sides mean every pair. Jobs are told apart by name. Whatever cannot
be a pipeline is refused here, with the value or the path that is wrong. All walks are loops: depth costs no stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .checks import show
from .errors import DefinitionError
from .job import Job

Edge = tuple[int, int | None]
Sources = Iterable[Job]
Targets = Iterable[Job | None]
NOT_A_JOB = "Only `Job` objects are accepted"
NO_ORDER = "The pipeline graph have cycles or do not have a starter job"
_PATH_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Graph:
    """Jobs in order of first appearance, edges as positions (None: to nowhere), jobs that nothing comes before."""

    jobs: tuple[Job, ...]
    edges: tuple[Edge, ...]
    starters: tuple[int, ...]

    @classmethod
    def of(cls, given: Any) -> Graph:
        jobs, edges = _collect(_pairs(given))
        return cls(jobs, edges, _check_order(jobs, edges))


def joined(jobs: Sequence[Job], edges: Sequence[tuple[str, str | None]], where: str) -> Graph:
    """A graph from jobs and edges between their names; a job in no edge stands alone."""
    from .checks import unknown

    positions = {job.name: position for position, job in enumerate(jobs)}
    if len(positions) < len(jobs):
        raise DefinitionError(f"{where}: two jobs are named {_twice(job.name for job in jobs)!r}")
    placed: list[Edge] = []
    linked: set[int] = set()
    for edge in edges:
        for name in edge:
            if name is not None and name not in positions:
                raise unknown(where, name, positions, "job in an edge")
        source, target = positions[edge[0]], None if edge[1] is None else positions[edge[1]]
        placed.append((source, target))
        linked.update((source,) if target is None else (source, target))
    placed.extend((position, None) for position in range(len(jobs)) if position not in linked)
    return Graph(tuple(jobs), tuple(placed), _check_order(jobs, placed))


def topological(count: int, edges: Iterable[Edge]) -> list[int]:
    """Positions in an order in which every edge points forward; those on or behind a cycle are left out."""
    followers: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        if target is not None:
            followers[source].append(target)
            waiting[target] += 1
    order = [position for position in range(count) if not waiting[position]]
    for position in order:
        for target in followers[position]:
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    return order


def _pairs(given: Any) -> Iterator[tuple[Sources, Targets]]:
    if isinstance(given, Mapping):
        items: Iterable[Any] = given.items()
    elif isinstance(given, list | tuple):
        items = map(_pair, given)
    else:
        raise DefinitionError(
            f"a pipeline's graph must be a dict such as {{Job('A'): Job('B')}} or a list of pairs, not {show(given)}"
        )
    for key, value in items:
        yield _sources(key), _targets(value)


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise DefinitionError(f"{NOT_A_JOB} in pairs (from, to): {show(item)} is no such pair")
    return item[0], item[1]


def _sources(key: Any) -> Sources:
    if type(key) is Job:
        return (key,)
    if not isinstance(key, Iterable) or isinstance(key, str | bytes):
        raise _not_a_job(key, "as a key")
    several = tuple(key)
    for one in several:
        if type(one) is not Job:
            raise _not_a_job(one, f"in the key {show(key)}")
    # A set has no order of its own, and pipelines have to come out the same in every process.
    return sorted(several, key=lambda job: job.name) if isinstance(key, set | frozenset) else several


def _targets(value: Any) -> Targets:
    if value is None or type(value) is Job:
        return (value,)
    if not isinstance(value, list | tuple):
        raise _not_a_job(value, "as a value (a job, a list or tuple of jobs, or None)")
    for one in value:
        if one is not None and type(one) is not Job:
            raise _not_a_job(one, f"in the value {show(value)}")
    return value or (None,)


def _not_a_job(value: Any, where: str) -> DefinitionError:
    return DefinitionError(f"{NOT_A_JOB}: {show(value)} of type {type(value).__name__} stands {where}")


def _collect(pairs: Iterable[tuple[Sources, Targets]]) -> tuple[tuple[Job, ...], tuple[Edge, ...]]:
    positions: dict[str, int] = {}
    jobs: list[Job] = []
    edges: list[Edge] = []

    def place(job: Job) -> int:
        position = positions.setdefault(job.name, len(jobs))
        if position == len(jobs):
            jobs.append(job)
        elif jobs[position] is not job:
            jobs[position] = _united(jobs[position], job)
        return position

    for sources, targets in pairs:
        starts = [place(job) for job in sources]
        ends = [None if job is None else place(job) for job in targets] if starts else ()
        edges.extend((start, end) for start in starts for end in ends)
    return tuple(jobs), tuple(edges)


def _united(one: Job, other: Job) -> Job:
    """Two places with one name: the fuller one counts, and two that differ are refused."""
    if one.bare and other.bare:
        return one if one.worker is not None else other
    full, second = (other, one) if one.bare else (one, other)
    if not second.bare and (different := _difference(one, other)):
        raise DefinitionError(
            f"two different jobs are named {one.name!r}: {different}; write the options once and Job({one.name!r}) "
            "elsewhere, or give one of them another name=..."
        )
    if full.worker is None and second.worker is not None and full.worker_name == second.worker_name:
        full = full.bound(None, None)
        full.worker = second.worker
    return full


def _difference(one: Job, other: Job) -> str | None:
    """The first option in which two jobs differ, in words; None when there is none."""
    if one.worker_name != other.worker_name:
        return f"worker is {one.worker_name!r} in one and {other.worker_name!r} in the other"
    for option in sorted({*one.options, *other.options}):
        if one.options.get(option) != other.options.get(option):
            return f"{option} is {_said(one, option)} in one and {_said(other, option)} in the other"
    if one.kind != other.kind:
        return f"kind is {one.kind!r} in one and {other.kind!r} in the other"
    if one.data is not other.data and one.data != other.data:
        return f"data is {show(one.data)} in one and {show(other.data)} in the other"
    return None


def _said(job: Job, option: str) -> str:
    return show(job.options[option]) if option in job.options else "not given"


def _check_order(jobs: Sequence[Job], edges: Sequence[Edge]) -> tuple[int, ...]:
    """The starters. Raises when there are none, or when some jobs wait for each other."""
    if not edges:
        raise DefinitionError(f"{NO_ORDER}: there is no job in it")
    order = topological(len(jobs), edges)
    if len(order) < len(jobs):
        path = _path_into_cycle(len(jobs), edges, order)
        raise DefinitionError(f"{NO_ORDER}: {_elided([jobs[position].name for position in path])}")
    behind = {target for _, target in edges}
    return tuple(position for position in range(len(jobs)) if position not in behind)


def _path_into_cycle(count: int, edges: Iterable[Edge], order: Iterable[int]) -> list[int]:
    """A path that ends where it has been before: from a starter where one leads there, else the cycle alone."""
    free = set(order)
    before: dict[int, int] = {}
    followers: dict[int, list[int]] = {}
    behind: set[int] = set()
    for source, target in edges:
        if target is None:
            continue
        followers.setdefault(source, []).append(target)
        behind.add(target)
        if source not in free and target not in free:
            before.setdefault(target, source)
    # Whoever is not free has someone before it who is not free either: going back must come round.
    at, seen = min(position for position in range(count) if position not in free), set()
    while at not in seen:
        seen.add(at)
        at = before[at]
    cycle = [at]
    while before[cycle[-1]] != at:
        cycle.append(before[cycle[-1]])
    cycle.reverse()
    lead = _lead(followers, [position for position in range(count) if position not in behind], set(cycle))
    turn = cycle.index(lead[-1]) if lead else cycle.index(min(cycle))
    return [*lead[:-1], *cycle[turn:], *cycle[:turn], cycle[turn]]


def _lead(followers: Mapping[int, Sequence[int]], starters: Iterable[int], goal: set[int]) -> list[int]:
    """A shortest path from a starter to one of `goal`; empty when there is none."""
    came: dict[int, int | None] = dict.fromkeys(starters)
    queue = deque(came)
    while queue:
        at = queue.popleft()
        if at in goal:
            path = [at]
            while (previous := came[path[-1]]) is not None:
                path.append(previous)
            return path[::-1]
        for target in followers.get(at, ()):
            if target not in came:
                came[target] = at
                queue.append(target)
    return []


def _elided(names: Sequence[str]) -> str:
    if len(names) > _PATH_SHOWN:
        half = _PATH_SHOWN // 2
        names = [*names[:half], f"... ({len(names) - 2 * half} more) ...", *names[-half:]]
    return " > ".join(names)


def _twice(names: Iterable[Hashable]) -> Hashable:
    seen: set[Hashable] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
