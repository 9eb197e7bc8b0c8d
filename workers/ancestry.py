"""Ancestry: what lies above a job in the graph of its run, and which results of it a branch may see.

A worker process learns the shape of a run only when some code asks for a result that did not come with the attempt.
Below a spread a job has one instance per branch, told apart by index paths with one number per scope around them. Two
jobs share as many of these numbers as the beginnings of their scopes agree: an ancestor further out is seen as it is,
one whose branches were gathered on the way as the list of all of them, and a job that was spread as the one element
that the branch was made for.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..pipeline.plan import Plan
from ..pipeline.task import Input


class Ancestry:
    """One run's graph, read upwards. Raises `DefinitionError` for bytes that are no definition."""

    def __init__(self, packed: bytes) -> None:
        self._plan = Plan.load(packed)

    def __contains__(self, job: str) -> bool:
        return job in self._plan.index

    def above(self, job: str) -> Iterator[str]:
        """Names of all ancestors, nearest first; none of a job that the graph does not know."""
        plan = self._plan
        place = plan.index.get(job)
        if place is None:
            return
        seen = {place}
        level = [place]
        while level:
            level = list(dict.fromkeys(above for place in level for above in plan.parents[place] if above not in seen))
            seen.update(level)
            yield from (plan.names[place] for place in level if self._works(place))

    def everything(self) -> Iterator[str]:
        """Names of all jobs, the last ones first: what a hook has above it."""
        yield from (self._plan.names[place] for place in reversed(self._plan.order) if self._works(place))

    def branches(self, job: str) -> bool:
        """Whether the job has an instance per branch."""
        return bool(self._plan.scope[self._plan.index[job]])

    def seen_from(self, ancestor: str, job: str, path: tuple[int, ...]) -> Input:
        """What an instance of `job` sees of an ancestor."""
        plan = self._plan
        place = plan.index[ancestor]
        theirs = plan.scope[place]
        ours = plan.scope[plan.index[job]] if job in plan.index else ()
        shared = 0
        for one, other in zip(theirs, ours[: len(path)], strict=False):
            if one != other:
                break
            shared += 1
        many = shared < len(theirs)
        inside = not many and ours[shared : shared + 1] == (place,) and shared < len(path)
        return Input(ancestor, path[:shared], many, path[shared] if inside else None)

    def _works(self, place: int) -> bool:
        return self._plan.nodes[place].kind != "gate"
