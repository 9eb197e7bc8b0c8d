"""Scopes: which branches a job runs in, worked out from the graph alone.

A spread job opens a scope: whatever comes after it runs once per element of its list. The scope of a job is the chain
of openers above it that nothing has closed yet, outermost first; its instances have one index per opener. A gather
closes scopes; one that groups (by key, in windows) opens a new one for its groups. Two jobs of the same scope pair by
index, a job of an outer scope is there for every branch below, and branches that have nothing to do with each other
do not meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .definition import Definition, GatherRule, Node
from .errors import DefinitionError

Scope = tuple[int, ...]
DOWN, OPENS, CLOSES, UP = 0, 1, 2, 3
"""How an edge reaches its target: the same branch or all branches below; by opening them; by closing them; or, from a
grafted job, out of its branch."""


class Place(NamedTuple):
    """Where a node stands. `inner` is the scope of its instances; a node that groups is decided in `scope`."""

    scope: Scope
    inner: Scope
    modes: tuple[int, ...]
    """One per parent."""


def opens(node: Node) -> bool:
    return node.spread


def rule_of(node: Node) -> GatherRule | None:
    """`bind='gather'` alone gathers everything."""
    if node.gather is None and node.bind == "gather":
        return GatherRule()
    return node.gather


def groups(node: Node) -> bool:
    return node.gather is not None and (node.gather.by is not None or node.gather.size is not None)


def needs_scopes(nodes: Sequence[Node]) -> bool:
    return any(node.spread or groups(node) for node in nodes)


def work_out(
    nodes: Sequence[Node], parents: Sequence[Sequence[int]], order: Sequence[int], openers: dict[int, int]
) -> list[Place]:
    """The place of every node. `openers`: for a node that groups, the number that stands for its groups in a scope."""
    places: dict[int, Place] = {}
    for at in order:
        places[at] = place(at, nodes, parents[at], places, openers)
    return [places[at] for at in range(len(nodes))]


def place(
    at: int, nodes: Sequence[Node], parents: Sequence[int], places: Mapping[int, Place], openers: dict[int, int]
) -> Place:
    """The place of one node, when those of its parents are known."""
    node = nodes[at]
    reaching = [places[p].inner + ((p,) if opens(nodes[p]) else ()) for p in parents]
    rule = rule_of(node)
    scope = _joined(node, nodes, parents, reaching, openers) if rule is None else _closed(node, rule, reaching)
    modes = tuple(
        _mode(node, nodes, p, reach, scope, rule, len(places[p].inner), openers)
        for p, reach in zip(parents, reaching, strict=True)
    )
    return Place(scope, (*scope, openers[at]) if at in openers else scope, modes)


def _joined(
    node: Node, nodes: Sequence[Node], parents: Sequence[int], reaching: list[Scope], openers: dict[int, int]
) -> Scope:
    longest = max(reaching, key=len, default=())
    for parent, reach in zip(parents, reaching, strict=True):
        if longest[: len(reach)] != reach:
            other = parents[reaching.index(longest)]
            raise DefinitionError(
                f"job {node.name!r} joins two kinds of branches that have nothing to do with each other: "
                f"{_story(nodes, other, longest, openers)}, and {_story(nodes, parent, reach, openers)}; "
                f"gather one of them first, with a job between that has gather=Gather()"
            )
    return longest


def _closed(node: Node, rule: GatherRule, reaching: list[Scope]) -> Scope:
    if rule.level is None:
        return ()
    longest = max(reaching, key=len, default=())
    if rule.level > len(longest):
        raise DefinitionError(
            f"job {node.name!r} gathers {rule.level} levels of branches, but {len(longest)} are open there: "
            f"use Gather() to close whatever is open"
        )
    return longest[: len(longest) - rule.level]


def _mode(
    node: Node,
    nodes: Sequence[Node],
    parent: int,
    reach: Scope,
    scope: Scope,
    rule: GatherRule | None,
    depth: int,
    openers: dict[int, int],
) -> int:
    """`depth` is that of the parent's instances: less than its reach when the parent opens a scope itself."""
    if rule is not None and len(reach) > len(scope):
        if reach[: len(scope)] != scope:
            raise DefinitionError(
                f"job {node.name!r} gathers one level, but not the same branches: "
                f"{_story(nodes, parent, reach, openers)}; gather those on their own first, or all with Gather()"
            )
        if rule.by is not None and nodes[parent].spread:
            raise DefinitionError(
                f"job {node.name!r} gathers by {rule.by!r} right after job {nodes[parent].name!r}, which spreads: "
                f"put a job between them whose results have the key"
            )
        return CLOSES
    if scope[: len(reach)] != reach:
        raise DefinitionError(
            f"job {node.name!r} gathers one level, but not the same branches: {_story(nodes, parent, reach, openers)}; "
            f"gather those on their own first, or all with Gather()"
        )
    return OPENS if len(reach) > depth else DOWN


def _story(nodes: Sequence[Node], parent: int, reach: Scope, openers: dict[int, int]) -> str:
    names = {number: at for at, number in openers.items()}
    chain = " > ".join(repr(nodes[names.get(one, one)].name) for one in reach)
    through = f" (through {nodes[parent].name!r})" if not reach or parent != reach[-1] else ""
    return f"one per element of {chain}{through}" if reach else f"{nodes[parent].name!r}, which is in no branch"


def check_levels(definition: Definition) -> None:
    """Raises `DefinitionError` when levels are gathered in a pipeline that has no branches at all."""
    if needs_scopes(definition.nodes):
        return
    for node in definition.nodes:
        if node.gather is not None:
            _closed(node, node.gather, [])


def check_scopes(definition: Definition) -> None:
    """Raises `DefinitionError` saying what to gather, when branches meet that cannot."""
    from .plan import Plan

    Plan.of(definition)
