"""The settings of a step: its attributes, less those that say where it stands."""

from __future__ import annotations

from typing import Any

from .steps import OWN, Step


def settings_of(step: Step) -> dict[str, Any]:
    found = {name: value for name, value in vars(step).items() if name not in OWN}
    for cls in type(step).__mro__:
        slots = vars(cls).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(step, slot):
                found[slot] = getattr(step, slot)
    return found
