"""What a failure means, and for whom: for the run, or for the innermost group around the job that says so.

A group is a small run: its own policy is its members' unless they have one. When it fails as a whole, that is a failure
of what is around it, under the policy there. Hooks belong to the run or to a group, and stand outside of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .definition import Definition, OnError
from .errors import DefinitionError

WHOLE_RUN = -1


class Hooks(NamedTuple):
    """The hooks of a run or of a group, by the way of ending; several of one kind run one after the other."""

    success: tuple[int, ...] = ()
    failure: tuple[int, ...] = ()
    always: tuple[int, ...] = ()

    def of(self, verdict: str) -> tuple[tuple[int, ...], ...]:
        """Those that run after this end. A cancelled run has neither succeeded nor failed."""
        first = {"success": self.success, "failed": self.failure}.get(verdict, ())
        return tuple(chain for chain in (first, self.always) if chain)


class GroupPlan(NamedTuple):
    title: str
    members: frozenset[int]
    hooks: Hooks
    policy: OnError
    """What the failure of the whole group means for what is around it."""
    domain: int
    """The group around it, or the whole run."""
    around: tuple[int, ...] = ()
    """All groups that it is in, the innermost first."""


class Policies(NamedTuple):
    policy: list[OnError]
    """Per node: what its failure means,"""
    domain: list[int]
    """and for whom: a group, or the whole run."""
    groups: list[GroupPlan]
    groups_of: dict[int, list[int]]
    """Per member: its groups, the innermost first."""


def policies_of(definition: Definition, size: int, hooks: Sequence[Hooks], titles: Sequence[str]) -> Policies:
    """`size`: how many nodes the plan has, gates of its own and hooks included."""
    run = definition.on_error
    own = [node.on_error for node in definition.nodes]
    own += [None] * (size - len(own))
    policy, domain = [one or run for one in own], [WHOLE_RUN] * size
    members = [frozenset(group.members) for group in definition.groups]
    given = [group.on_error for group in definition.groups]
    inside_out = sorted(range(len(members)), key=lambda g: len(members[g]))
    groups_of: dict[int, list[int]] = {}
    for g in inside_out:
        for member in members[g]:
            groups_of.setdefault(member, []).append(g)
    for member, around in groups_of.items():
        if own[member] is None:
            policy[member], domain[member] = _first(around, given, run)
    groups = []
    for g, inside in enumerate(members):
        several = groups_of[min(inside)] if inside else [g]
        outer = tuple(other for other in several[several.index(g) + 1 :] if members[other] >= inside)
        groups.append(GroupPlan(titles[g], inside, hooks[g], *_first(outer, given, run), outer))
    return Policies(policy, domain, groups, groups_of)


def titles_of(definition: Definition) -> list[str]:
    """The groups' titles, made different; members are checked on the way."""
    titles: list[str] = []
    for at, group in enumerate(definition.groups):
        if any(not 0 <= member < len(definition.nodes) for member in group.members):
            raise DefinitionError(f"group {group.title!r} names a job that is not there")
        titles.append(group.title if group.title not in titles else f"{group.title}#{at}")
    return titles


def _first(around: Sequence[int], given: Sequence[OnError | None], run: OnError) -> tuple[OnError, int]:
    for g in around:
        policy = given[g]
        if policy is not None:
            return policy, g
    return run, WHOLE_RUN
