"""Making a failing scenario smaller: fewer faults, actions, runs and jobs, plainer jobs, as long as the same promise is
broken. Less of one thing moves everything that comes after it, so every smaller scenario is tried in several courses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from headrace.pipeline.definition import Definition, Node, RunOptions
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.plan import Plan

from .scenario import Behaviour, RunSpec, Scenario
from .violation import Violation
from .world import World

COURSES = 6


def shrink(scenario: Scenario, promise: str, seconds: float) -> tuple[Scenario, World, Violation]:
    """The smallest that was found in the time, with its history."""
    end = time.monotonic() + seconds
    world, found = _live(scenario)
    assert found is not None, "the same scenario takes the same course"
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(scenario):
            for salt in range(COURSES):
                if time.monotonic() > end:
                    return scenario, world, found
                tried = replace(candidate, salt=salt)
                other, broken = _live(tried)
                if broken is not None and broken.promise == promise:
                    scenario, world, found, smaller = tried, other, broken, True
                    break
            if smaller:
                break
    return scenario, world, found


def _live(scenario: Scenario) -> tuple[World, Violation | None]:
    world = World(scenario, tracing=True)
    try:
        world.run()
    except Violation as violation:
        return world, violation
    return world, None


def _candidates(scenario: Scenario) -> Iterator[Scenario]:
    """The largest cuts first."""
    if scenario.faults:
        yield _timed(replace(scenario, faults=()))
    for run in scenario.runs:
        yield _without_run(scenario, run.id)
    for at in range(len(scenario.faults)):
        yield _timed(replace(scenario, faults=scenario.faults[:at] + scenario.faults[at + 1 :]))
    for at, action in enumerate(scenario.actions):
        if action.verb != "submit":
            yield _timed(replace(scenario, actions=scenario.actions[:at] + scenario.actions[at + 1 :]))
    for at, run in enumerate(scenario.runs):
        for other in _smaller_runs(run):
            yield replace(scenario, runs=(*scenario.runs[:at], other, *scenario.runs[at + 1 :]))


def _timed(scenario: Scenario) -> Scenario:
    """It gets calm when the last thing has happened."""
    ends = [fault.ends for fault in scenario.faults]
    ends += [action.at + action.resume_after for action in scenario.actions]
    return replace(scenario, calm_at=max(ends, default=0.0))


def _without_run(scenario: Scenario, run: str) -> Scenario:
    runs = tuple(one for one in scenario.runs if one.id != run)
    actions = [replace(one, runs=tuple(name for name in one.runs if name != run)) for one in scenario.actions]
    return _timed(replace(scenario, runs=runs, actions=tuple(one for one in actions if one.runs)))


def _smaller_runs(run: RunSpec) -> Iterator[RunSpec]:
    definition = run.definition
    for at in range(len(definition.nodes)):
        if (smaller := _without_node(definition, at)) is not None:
            yield replace(run, definition=smaller)
    if definition.hooks:
        yield replace(run, definition=_made(definition.nodes, definition.edges, definition, hooks=False))
    if run.options != RunOptions():
        yield replace(run, options=RunOptions())
    for at, node in enumerate(definition.nodes):
        kept = ("name", "worker", "kind", "bind", "spread", "gather")
        plain = Node(**{name: getattr(node, name) for name in kept})
        if plain != node:
            nodes = (*definition.nodes[:at], plain, *definition.nodes[at + 1 :])
            yield replace(run, definition=_made(nodes, definition.edges, definition, hooks=True))
    for name, behaviour in run.behaviours.items():
        dull = Behaviour(duration=behaviour.duration, lengths=behaviour.lengths)
        if dull != behaviour:
            yield replace(run, behaviours={**run.behaviours, name: dull})


def _without_node(definition: Definition, gone: int) -> Definition | None:
    if len(definition.nodes) < 2:
        return None
    nodes = definition.nodes[:gone] + definition.nodes[gone + 1 :]
    edges = tuple(
        (source - (source > gone), target - (target > gone), kind)
        for source, target, kind in definition.edges
        if gone not in (source, target)
    )
    smaller = _made(nodes, edges, definition, hooks=True)
    try:
        Plan(smaller)
    except DefinitionError:
        return None
    return smaller


def _made(
    nodes: tuple[Node, ...], edges: tuple[tuple[int, int, str], ...], like: Definition, hooks: bool
) -> Definition:
    return Definition(nodes=nodes, edges=edges, on_error=like.on_error, hooks=like.hooks if hooks else {})  # type: ignore[arg-type]
