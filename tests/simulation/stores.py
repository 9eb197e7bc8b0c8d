"""What worker processes write besides their outcomes: a user's store that honours fences, and the values folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .processes import Execution

Instance = tuple[str, int, str, tuple[int, ...]]


class Stores:
    def __init__(self, removed: Callable[[str], None]) -> None:
        self.removed = removed
        self.down_until = {"users": 0.0, "values": 0.0}
        self.saved: dict[Instance, str] = {}
        """By instance: the fence under which its result was saved last."""
        self.values: dict[str, bytes] = {}

    def save(self, execution: Execution) -> bool:
        """Compare-and-set on the fence. False: a newer attempt has saved."""
        fence = execution.assignment.fence
        if self.saved.get(execution.instance, "") > fence:
            return False
        self.saved[execution.instance] = fence
        return True

    def write(self, execution: Execution, value: bytes) -> str:
        """A large value, synced; its reference."""
        one = execution.assignment
        path = ".".join(map(str, one.path)) or "-"
        ref = f"{one.run}/{one.job}/{path}/{one.fence}"
        self.values[ref] = value
        return ref

    def remove_run(self, run: str) -> None:
        """The Router removes what is left of a pruned run."""
        self.removed(run)
        self.values = {ref: value for ref, value in self.values.items() if not ref.startswith(f"{run}/")}
