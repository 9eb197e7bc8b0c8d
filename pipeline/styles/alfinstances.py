"""Which task every Instance stands for, and whether anything would wait for itself.

A task begins when what is before it has ended, and ends when everything in it has; an Instance ends when its task does.
One that is put before its own task, or inside of it, would wait for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .alfparser import Expression
from .alfsource import nearest, shortened


@dataclass(slots=True)
class Step:
    """A task or an instance in the order of the script. `title` of an instance is that of its task."""

    expression: Expression
    title: str
    instance: bool = False
    serial: bool = False
    children: list[int] = field(default_factory=list)


class Steps:
    """All of a script; the first one is the whole."""

    def __init__(self, root: Step) -> None:
        self._steps = [root]

    def add(self, parent: int, step: Step) -> int:
        self._steps.append(step)
        number = len(self._steps) - 1
        self._steps[parent].children.append(number)
        return number

    def check(self) -> None:
        """Raises an `AlfscriptError` at the first instance that cannot be."""
        if any(step.instance for step in self._steps):
            self._check_order(self._targets())

    def _targets(self) -> dict[int, int]:
        """The task of each instance."""
        titles: dict[str, list[int]] = {}
        for number, step in enumerate(self._steps):
            if number and not step.instance:
                titles.setdefault(step.title, []).append(number)
        targets: dict[int, int] = {}
        for number, step in enumerate(self._steps):
            if step.instance:
                targets[number] = self._target(step, titles)
        return targets

    def _target(self, step: Step, titles: dict[str, list[int]]) -> int:
        found = titles.get(step.title, [])
        if len(found) == 1:
            return found[0]
        if found:
            lines = ", ".join(str(self._line(one)) for one in found[:5])
            title = shortened(step.title)
            raise step.expression.error(f"{len(found)} tasks are called {title!r} (lines {lines}): which one is meant?")
        near = nearest(step.title, titles)
        hint = f"; did you mean {near!r}?" if near else ""
        raise step.expression.error(f"there is no task {shortened(step.title)!r}{hint}")

    def _line(self, number: int) -> int:
        expression = self._steps[number].expression
        return expression.source.place(expression.at)[0]

    def _check_order(self, targets: dict[int, int]) -> None:
        """What has to end before what, walked until a way comes back to itself. Ends are 2n + 1, beginnings 2n."""
        before = self._edges(targets)
        state = bytearray(len(before))
        for first in range(len(before)):
            if state[first]:
                continue
            stack = [(first, iter(before[first]))]
            state[first] = 1
            while stack:
                at, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    state[at] = 2
                    stack.pop()
                elif state[following] == 1:
                    raise self._circle([one for one, _ in stack], following)
                elif not state[following]:
                    state[following] = 1
                    stack.append((following, iter(before[following])))

    def _edges(self, targets: dict[int, int]) -> list[list[int]]:
        before: list[list[int]] = [[] for _ in range(2 * len(self._steps))]
        for number, step in enumerate(self._steps):
            before[2 * number + 1].append(2 * number)
            if number in targets:
                before[2 * number + 1].append(2 * targets[number] + 1)
            previous: int | None = None
            for child in step.children:
                after = 2 * number if previous is None or not step.serial else 2 * previous + 1
                before[2 * child].append(after)
                before[2 * number + 1].append(2 * child + 1)
                previous = child
        return before

    def _circle(self, way: list[int], back: int) -> Exception:
        circle = [at // 2 for at in way[way.index(back) :]]
        instances = [number for number in circle if self._steps[number].instance]
        step = self._steps[(instances or circle)[0]]
        titles = dict.fromkeys(self._steps[number].title for number in circle if not self._steps[number].instance)
        names = ", ".join(repr(shortened(title)) for title in list(titles)[:5])
        return step.expression.error(f"this Instance makes tasks wait for themselves: {names}")
