"""Which results an attempt reads: one `Input` per parent, in the order of the edges; never one per branch."""

from __future__ import annotations

from .board import Board
from .facts import Path
from .plan import Plan
from .scopes import CLOSES
from .states import BLOCKED, CANCELLED, CONTINUED, FAILED, LOST, SKIPPED, SUCCESS
from .task import Input

_KINDS = {SUCCESS: "success", CONTINUED: "failed", FAILED: "failed", LOST: "failed", SKIPPED: "skipped",
          BLOCKED: "skipped", CANCELLED: "skipped"}  # fmt: skip


def inputs_of(plan: Plan, board: Board, at: int, path: Path) -> tuple[Input, ...]:
    """What this instance reads, when it depends on where it stands or on how its parents ended."""
    if plan.is_hook(at):
        return plan.kit(at)[3] or ()
    if at in plan.groupers and (portions := board.portions.get((plan.groupers[at], path[:-1]))) is not None:
        return _portion(plan, portions[path[-1]])
    depth = len(path)
    inputs: list[Input] = []
    modes = dict(zip(plan.sources[at], plan.modes[plan.groupers.get(at, at)], strict=True))
    for parent in plan.read(at):
        if modes[parent] == CLOSES:
            inputs.append(_gathered(plan, board, at, parent, path))
        else:
            inputs.append(_single(plan, board, at, parent, path[: min(depth, len(plan.scope[parent]))]))
            if plan.nodes[parent].spread:
                above = plan.scope[parent]
                inputs[-1] = Input(plan.names[parent], path[: len(above)], element=path[len(above)])
    if plan.nodes[at].bind != "literal":
        inputs += [_single(plan, board, at, parent, above) for parent, above in board.grafted_above(at, path)]
    return tuple(inputs)


def _single(plan: Plan, board: Board, at: int, parent: int, path: Path) -> Input:
    state = board.state_of(parent, path)
    kind = _KINDS.get(SUCCESS if state is None else state, "skipped")
    chosen = board.chosen.get((parent, path))
    if chosen is not None and at not in chosen:
        kind = "skipped"
    return Input(plan.names[parent], path, kind=kind)


def _gathered(plan: Plan, board: Board, at: int, parent: int, path: Path) -> Input:
    """All branches below the gather. `keyed` names them when some have nothing to give."""
    if plan.nodes[parent].spread and len(plan.scope[parent]) == len(path):
        return Input(plan.names[parent], path, many=True, kind="elements")
    everything = [
        (where, board.gathered(block.state[position], parent, where, at))
        for where, block, position in board.instances(parent, path)
    ]
    kind = "elements" if plan.nodes[parent].spread else "success"
    if all(given for _, given in everything):
        return Input(plan.names[parent], path, many=True, kind=kind)
    return Input(plan.names[parent], path, True, None, kind, tuple(where for where, given in everything if given))


def _portion(plan: Plan, cells: list[tuple[int, Path]]) -> tuple[Input, ...]:
    """One group: neighbours of the same job are one input; elements of a list are one each."""
    inputs: list[Input] = []
    start = 0
    for end in range(1, len(cells) + 1):
        parent = cells[start][0]
        if plan.nodes[parent].spread:
            inputs.append(Input(plan.names[parent], cells[start][1][:-1], element=cells[start][1][-1]))
            start = end
        elif end == len(cells) or cells[end][0] != parent:
            paths = tuple(where for _, where in cells[start:end])
            inputs.append(Input(plan.names[parent], (), True, None, "success", paths))
            start = end
    return tuple(inputs)
