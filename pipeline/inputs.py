"""Which results an attempt reads: one `Input` per parent, in the order of the edges; never one per branch."""

from __future__ import annotations

from collections.abc import Sequence

from .board import Board
from .branches import gives
from .cells import Cell
from .facts import Path
from .kits import read_by
from .plan import Plan
from .scopes import CLOSES
from .states import CONTINUED, FAILED, LOST, SUCCESS
from .task import Input

ELEMENTS = "elements"
"""The kind of an input that is made of lists, to be laid end to end: a gather right after a spread."""
_KINDS = {SUCCESS: "success", CONTINUED: "failed", FAILED: "failed", LOST: "failed"}


def inputs_of(plan: Plan, board: Board, at: int, path: Path) -> tuple[Input, ...]:
    """What this instance reads, when that depends on its branch or on how its parents ended."""
    if plan.is_hook(at):
        return plan.kit(at)[3] or ()
    opener = plan.groupers.get(at)
    if opener is not None:
        return _portion(plan, board.portions[opener, path[:-1]][path[-1]])
    modes = dict(zip(plan.sources[at], plan.modes[at], strict=True))
    inputs = [
        (_gathered if modes[parent] == CLOSES else _single)(plan, board, at, parent, path)
        for parent in read_by(plan, at)
    ]
    if plan.nodes[at].bind != "literal":
        inputs += [_single(plan, board, at, *cell) for cell in board.grafted_above(at, path)]
    return tuple(inputs)


def _single(plan: Plan, board: Board, at: int, parent: int, path: Path) -> Input:
    """The parent in the same branch or around it; of a spread the element that the branch is for."""
    depth = len(plan.scope[parent])
    above = path[:depth]
    found = board.place(parent, above)
    kind = "skipped" if found is None else _KINDS.get(found[0].state[found[1]], "skipped")
    chosen = board.chosen.get((parent, above))
    if chosen is not None and at not in chosen:
        kind = "skipped"
    inside = plan.nodes[parent].spread and len(path) > depth
    return Input(plan.names[parent], above, element=path[depth] if inside else None, kind=kind)


def _gathered(plan: Plan, board: Board, at: int, parent: int, path: Path) -> Input:
    """All branches below the gather. `keyed` names them when some have nothing to give."""
    name, spread = plan.names[parent], plan.nodes[parent].spread
    kind = ELEMENTS if spread else "success"
    giving: list[Path] = []
    whole = True
    for where, block, position in board.instances(parent, path):
        if gives(board, block.state[position], parent, where, at):
            giving.append(where)
        else:
            whole = False
    return Input(name, path, True, None, kind, None if whole else tuple(giving))


def _portion(plan: Plan, cells: Sequence[Cell]) -> tuple[Input, ...]:
    """One group. Instances of one job are one input; else every item is one, so that they make one list."""
    parents = {parent for parent, _ in cells}
    if len(parents) == 1 and not plan.nodes[cells[0][0]].spread:
        return (Input(plan.names[cells[0][0]], (), True, None, "success", tuple(where for _, where in cells)),)
    return tuple(
        Input(plan.names[parent], where[:-1], element=where[-1])
        if plan.nodes[parent].spread
        else Input(plan.names[parent], where)
        for parent, where in cells
    )
