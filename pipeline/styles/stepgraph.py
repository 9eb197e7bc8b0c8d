"""The graph of a step: everything that it depends on, checked, and in the orders that users see.

What is wrong with it is said before anything runs: something in `depends_on` that is no step, two steps of one name,
steps that depend on each other in a circle. All walks are loops: depth costs no stack, and a step that many others
need is visited once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import DefinitionError
from .context import META
from .steps import Step, check_step, name_of

_SHOWN = 24


class NameTwice(DefinitionError, AssertionError):
    """Two steps of one name: neither a Context nor a plan could tell which is meant."""


class StepGraph:
    """The steps that a head needs, dependencies first, the head last."""

    def __init__(self, head: Step) -> None:
        self.head = head
        self._before: dict[int, tuple[Step, ...]] = {}
        self.steps: tuple[Step, ...] = tuple(self._walk())
        self._check_names()

    def before(self, step: Step) -> tuple[Step, ...]:
        """The steps that this one depends on itself, in order; one may stand there twice."""
        return self._before[id(step)]

    def depth_first(self) -> list[str]:
        """Every step after those that it depends on."""
        return [name_of(step) for step in self.steps[:-1]]

    def breadth_first(self) -> list[str]:
        """The steps before the head, then those before each of them in turn."""
        found: dict[int, Step] = {}
        seen: set[int] = set()
        waiting = [self.head]
        while waiting:
            step = waiting.pop()
            if id(step) not in seen:
                seen.add(id(step))
                found.update((id(one), one) for one in self.before(step) if id(one) not in found)
                waiting.extend(reversed(self.before(step)))
        return [name_of(step) for step in found.values()]

    def plan_order(self) -> list[Step]:
        """The order of a plan: that of `breadth_first` backwards, each step where it stands there last.

        That one is written out with repetitions: a step's dependencies, then the same for each of them. Going
        backwards, whatever a step adds the second time is there already.
        """
        order: dict[int, Step] = {}
        seen = {id(self.head)}
        path: list[tuple[Step, Iterator[Step]]] = [(self.head, reversed(self.before(self.head)))]
        while path:
            step, left = path[-1]
            one = next(left, None)
            if one is None:
                order.update((id(each), each) for each in reversed(self.before(step)) if id(each) not in order)
                path.pop()
            elif id(one) not in seen:
                seen.add(id(one))
                path.append((one, reversed(self.before(one))))
        return [*order.values(), self.head]

    def _walk(self) -> Iterator[Step]:
        """Each step once, after those that it depends on."""
        done: set[int] = set()
        path: list[tuple[Step, Iterator[Step]]] = []
        under_way: dict[int, Step] = {}
        following: Step | None = self.head
        while following is not None or path:
            if following is not None:
                if id(following) in under_way:
                    raise _circle([*under_way.values()], following)
                under_way[id(following)] = following
                path.append((following, iter(self._read(following))))
            step, left = path[-1]
            following = next((one for one in left if id(one) not in done), None)
            if following is None:
                path.pop()
                del under_way[id(step)]
                done.add(id(step))
                yield step

    def _read(self, step: Step) -> tuple[Step, ...]:
        """Its dependencies as they are now: they may have been changed by hand."""
        given = step.dependencies
        several = (given,) if isinstance(given, Step) else given
        if not isinstance(several, list | tuple):
            check_step(step, several)
        for one in several:
            check_step(step, one)
        self._before[id(step)] = tuple(several)
        return self._before[id(step)]

    def _check_names(self) -> None:
        counts = Counter(name_of(step) for step in self.steps)
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise NameTwice(
                f"Dependency(ies) {twice} appear more than once in the dependency graph but correspond to different "
                "objects (they may get different inputs and return different results). Use Step(name_alias) to fix it."
            )
        for step in self.steps:
            if name_of(step) == META and step.ctx is not None:
                raise DefinitionError(
                    f"a step with a Context cannot be called {META!r}, where the Context's own data is"
                )


def heads(steps: Iterable[Any]) -> list[Any]:
    """Without the steps that others of them need. What is no step is left as it is."""
    several = list(steps)
    waiting = [one for one in several if isinstance(one, Step)]
    needed: set[int] = set()
    while waiting:
        before = waiting.pop().dependencies
        for one in before if isinstance(before, list | tuple) else [before]:
            if isinstance(one, Step) and id(one) not in needed:
                needed.add(id(one))
                waiting.append(one)
    return [one for one in several if id(one) not in needed]


def _circle(path: list[Step], again: Step) -> DefinitionError:
    at = next(place for place, step in enumerate(path) if step is again)
    names = [name_of(step) for step in (*path[at:], again)]
    if len(names) > _SHOWN:
        half = _SHOWN // 2
        names = [*names[:half], f"... ({len(names) - 2 * half} more) ...", *names[-half:]]
    return DefinitionError(f"steps depend on each other in a circle: {' > '.join(names)}")
