"""The shape of a definition: who comes before whom, and an order in which everybody comes after their parents."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .definition import Definition
from .errors import DefinitionError

CYCLE_SHOWN = 8


def edges_of(definition: Definition) -> tuple[list[tuple[int, ...]], list[tuple[bool, ...]], list[list[int]]]:
    """Per node: its parents in edge order, whether each hands its value over, its children. Repeats are one edge."""
    count = len(definition.nodes)
    parents: list[dict[int, bool]] = [{} for _ in range(count)]
    children: list[list[int]] = [[] for _ in range(count)]
    for source, target, kind in definition.edges:
        if not (0 <= source < count and 0 <= target < count):
            raise DefinitionError(f"an edge from {source} to {target} leaves a pipeline of {count} jobs")
        known = parents[target]
        if source not in known:
            children[source].append(target)
            known[source] = kind == "value"
        elif kind == "value":
            known[source] = True
    return [tuple(one) for one in parents], [tuple(one.values()) for one in parents], children


def repeats_of(definition: Definition) -> dict[int, list[int]]:
    """Jobs that take a result twice, as positional arguments: their value edges with repeats."""
    edges = definition.edges
    if len(set(edges)) == len(edges):
        return {}
    given: dict[int, list[int]] = {}
    for source, target, kind in edges:
        if kind == "value" and definition.nodes[target].bind == "args":
            given.setdefault(target, []).append(source)
    return given


def order_of(parents: Sequence[Sequence[int]], children: Sequence[Sequence[int]], names: Sequence[str]) -> list[int]:
    """All nodes, parents first. Raises `DefinitionError` for a cycle."""
    waits = [len(one) for one in parents]
    order = [at for at, wait in enumerate(waits) if not wait]
    for at in order:
        for child in children[at]:
            waits[child] -= 1
            if not waits[child]:
                order.append(child)
    if len(order) < len(waits):
        raise DefinitionError(f"the jobs form a cycle: {' > '.join(_cycle(waits, parents, names))}")
    return order


def _cycle(waits: Sequence[int], parents: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """The names along one cycle: every node that still waits has a parent that still waits."""
    at = next(at for at, wait in enumerate(waits) if wait)
    seen: set[int] = set()
    trail: deque[int] = deque()
    while at not in seen:
        seen.add(at)
        trail.appendleft(at)
        at = next(p for p in parents[at] if waits[p])
    loop = [at]
    for one in trail:
        loop.append(one)
        if one == at:
            break
    shown = [names[one] for one in loop]
    return shown if len(shown) <= CYCLE_SHOWN else [*shown[:CYCLE_SHOWN], "..."]
