"""State diagrams, drawn from the tables that the machines go by: a diagram here cannot say anything else than the code.

The text is Mermaid's, which most places that show Markdown draw, and which can be read as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from typing import TypeVar

from headrace.daemons import session
from headrace.daemons.dispatch import items
from headrace.daemons.slots import slot
from headrace.pipeline import states

S = TypeVar("S", bound=Hashable)

INSTANCE = {
    states.WAITING: "waiting",
    states.READY: "ready",
    states.HANDED: "handed out",
    states.SUCCESS: "success",
    states.CONTINUED: "failed, as data",
    states.SKIPPED: "skipped",
    states.BLOCKED: "skipped, for a parent failed",
    states.FAILED: "failed",
    states.LOST: "lost",
    states.CANCELLED: "cancelled",
}


def diagram(steps: Mapping[tuple[S, str], S], label: Callable[[S], str]) -> str:
    """All steps of a table; events that lead from one state to the same other one share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), target in steps.items():
        arrows.setdefault((label(state), label(target)), []).append(event)
    names = dict.fromkeys(name for pair in arrows for name in pair)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{name}" as {_word(name)}' for name in names if name != _word(name)]
    lines += [f"    {_word(one)} --> {_word(other)}: {', '.join(events)}" for (one, other), events in arrows.items()]
    return "\n".join([*lines, "```"])


def _word(name: str) -> str:
    return name.replace(",", "").replace(" ", "_")


def _value(state: Enum) -> str:
    return str(state.value)


def item_diagram() -> str:
    return diagram(items.STEPS, _value)


def slot_diagram() -> str:
    return diagram(slot.STEPS, _value)


def instance_diagram() -> str:
    return diagram(states.STEPS, INSTANCE.__getitem__)


def run_diagram() -> str:
    return diagram(states.RUN_STEPS, str)


def session_diagram() -> str:
    return diagram(session.STEPS, _value)


DIAGRAMS = {
    "item states": item_diagram,
    "slot states": slot_diagram,
    "session states": session_diagram,
    "instance states": instance_diagram,
    "run states": run_diagram,
}
"""By the name of the part that a page asks for."""
