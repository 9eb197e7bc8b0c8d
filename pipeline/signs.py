"""What a result says besides its value: whether that can be honoured, and what it does to the board.

A sign that cannot be honoured is a failure of its job, without retry: the same worker would say the same again.
"""

from __future__ import annotations

from .board import Board
from .errors import DefinitionError
from .facts import Path, Signs
from .graft import Grafting
from .plan import Plan

MAX_BRANCHES = 1_000_000
"""A list with more elements than this is refused: it would be a mistake, and take everybody's memory."""
NOTHING = Signs()


def problem_of(plan: Plan, board: Board, at: int, path: Path, signs: Signs) -> str | None:
    """Why these signs cannot be honoured."""
    if signs.invalid is not None or signs.skip is not None:
        return signs.invalid
    if plan.nodes[at].spread and (signs.spread is None or signs.spread < 0):
        return "its result is not a list, and it spreads"
    if signs.spread is not None and signs.spread > MAX_BRANCHES and plan.nodes[at].spread:
        return f"its list has {signs.spread} elements, and {MAX_BRANCHES} is the most that can be spread"
    missing = [key for key in plan.report.get(at, ()) if key not in signs.keys]
    if missing:
        return f"its result has no {missing[0]!r}, by which a gather after it groups"
    if signs.chosen is not None and (stranger := _stranger(plan, at, signs.chosen)) is not None:
        children = sorted(plan.children_of(at))
        return f"it chose {stranger!r}, which does not come right after it; what does: {children}"
    return None if signs.graft is None else _graft_problem(plan, at, path, signs.graft)


def _stranger(plan: Plan, at: int, chosen: tuple[str, ...]) -> str | None:
    children = plan.children_of(at)
    return next((name for name in chosen if name not in children), None)


def _graft_problem(plan: Plan, at: int, path: Path, packed: bytes) -> str | None:
    if plan.is_hook(at):
        return "a hook cannot graft: its run is over"
    try:
        Grafting(plan, at, path, packed)
    except DefinitionError as error:
        return f"its graft cannot be: {error}"
    return None


def carry_out(plan: Plan, board: Board, at: int, path: Path, signs: Signs) -> Plan:
    """Note what follows from a result, before its end is carried on. Returns the plan, which a graft makes another."""
    if signs.skip is not None:
        return plan
    if signs.chosen is not None:
        children = plan.children_of(at)
        board.chosen[at, path] = frozenset(children[name] for name in signs.chosen)
    if at in plan.report:
        board.keys[at, path] = {key: signs.keys[key] for key in plan.report[at]}
    if plan.nodes[at].spread and signs.spread is not None:
        board.lengths[at, path] = signs.spread
    if signs.graft is None:
        return plan
    if not plan.forked:
        plan = plan.fork()
        board.own(plan)
    Grafting(plan, at, path, signs.graft).carry_out(plan, board)
    return plan
