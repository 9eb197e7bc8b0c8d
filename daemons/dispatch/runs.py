"""An open run, as the Router sees it: who tracks it, what of it is queued or leased, who waits for its end.

The Router knows nothing of a run's shape. What it knows beyond this is in the journal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...pipeline.definition import RunOptions
from ...pipeline.facts import Parent, RunError, Verdict
from .items import Item, Key
from .queues import RunQueue


@dataclass(slots=True, eq=False)
class OpenRun:
    id: str
    number: int
    """The sequence of its `Accepted`: earlier runs have lower numbers."""
    options: RunOptions
    accepted_at: float
    """Wall time."""
    started: float
    """Monotonic time of this epoch, possibly before its beginning: what deadlines and durations count from."""
    data: bytes | None = None
    """The run's data when it is small; a worker asks for a large one."""
    has_data: bool = False
    definition: bytes | None = None
    """Kept from acceptance until the first Take only."""
    active: bool = True
    awaits: set[str] = field(default_factory=set)
    last: int = 0
    """The last fact of this run."""
    owner: str | None = None
    take: int = 0
    loading: bool = False
    """A Take is being read from the journal; facts that come meanwhile stand in `backlog`."""
    backlog: list[tuple[int, bytes]] = field(default_factory=list)
    control: int = 0
    round: int = 0
    paused: bool = False
    cancelled: str | None = None
    ending: tuple[Verdict, RunError | None] | None = None
    live: dict[Key, Item] = field(default_factory=dict)
    """Everything held, queued or leased."""
    leased: int = 0
    halted: set[Key] = field(default_factory=set)
    """What was to be stopped and may run on a Broker that has not come back after a restart."""
    late_hooks: dict[Item, None] = field(default_factory=dict)
    """Hooks of groups that wait until everything that the cancel stops is dead."""
    unseen: dict[Key, int] = field(default_factory=dict)
    """Instances that ended by facts the owner has not acknowledged, with their sequence."""
    queues: dict[RunQueue, None] = field(default_factory=dict)
    """The queues that were made for it, to be dropped with it."""
    followers: set[str] = field(default_factory=set)
    confirmed: bool = False
    """The owner has said something about it under this take: reading it did not kill it."""
    takes_lost: int = 0
    """Pipeliners that died between being given this run and saying something about it."""
    parked: str = ""
    """Why no Pipeliner is given this run any more."""
    shortened: bool = False
    """The end of its hooks was asked for."""
    digest: bytes = b""
    """Of everything that was submitted."""
    data_ref: str | None = None
    """Where its data stands, when that is a large value which was made for it."""
    parent: Parent | None = None
    """The attempt of another run that this one is."""
    above: OpenRun | None = None
    """That run,"""
    below: dict[str, OpenRun] = field(default_factory=dict)
    """and the other way round: open runs that are jobs of this one."""

    @property
    def state(self) -> str:
        if not self.active:
            return "waiting"
        return "cancelling" if self.cancelled is not None else "running"

    def has_jobs(self) -> bool:
        """Is anything queued or leased that is no hook?"""
        return any(not item.ready.hook for item in self.live.values())

    def belongs_to(self, above: OpenRun) -> None:
        """It is a part of that run, and comes when that would: what was begun first is finished first."""
        self.above = above
        self.accepted_at = above.accepted_at
        above.below[self.id] = self

    def acknowledge(self, seen: int) -> None:
        """The owner has seen every fact up to `seen`: their instances need no guard any more."""
        unseen = self.unseen
        while unseen:
            key = next(iter(unseen))
            if unseen[key] > seen:
                return
            del unseen[key]

    def being_stopped(self) -> bool:
        """Something that came back after a restart is being stopped, as its owner wished before it was back."""
        return any(key in self.live for key in self.halted)

    def blocked(self) -> bool:
        """No item of this run may be granted now. A pause does not stop the hooks of a run that was cancelled."""
        limit = self.options.max_active
        return self.pausing() is not None or (limit is not None and self.leased >= limit)

    def pausing(self) -> OpenRun | None:
        """Whose pause keeps it: its own, or that of a run above."""
        one: OpenRun | None = self if self.cancelled is None else None
        while one is not None and (not one.paused or one.cancelled is not None):
            one = one.above
        return one

    def why_blocked(self) -> str:
        """Empty: it is not."""
        if not self.blocked():
            return ""
        if (paused := self.pausing()) is not None:
            return "the run is paused" if paused is self else f"the run above, {paused.id}, is paused"
        return f"max_active={self.options.max_active} of its run are running"
