"""The runs in a Pipeliner's charge. Pure: what the Router says goes in, what to tell the Router comes out.

It holds one `Progress` per run and no truth: every run can be taken over from its facts. It keeps the window (how much
of a run is queued and leased at a time), so that a run of a million jobs is a queue of two thousand at the Router, and
it repeats a verdict until the Router has taken it or has told of newer facts.
"""

from __future__ import annotations

import logging

import msgspec

from ..pipeline.errors import HeadraceError
from ..pipeline.facts import Finished, Path, Returned, RunError, Verdict, unpack_fact
from ..pipeline.plans import Plans
from ..pipeline.progress import Progress
from ..pipeline.task import Ready
from .protocol import Conclude, Drop, Enqueue, FromRouter, Halt, News, Take, ToRouter

logger = logging.getLogger(__name__)

HANDED_OUT = 100_000
"""Attempts that all runs of one Pipeliner may have at the Router, above `LEAST` each."""
LEAST = 16
HEAVY = 16 * 1024
"""Bytes of a job's own data from which an attempt is heavy: below a spread the same data goes out with each branch."""
PORTION = 4 * 1024 * 1024
"""Bytes in one message."""
BURDEN = 32 * 1024 * 1024
"""Bytes of heavy attempts that one run may have at the Router; one more may always go."""


class Charge:
    """One run under one take."""

    __slots__ = (
        "broken",
        "burden",
        "control",
        "heavy",
        "last",
        "live",
        "loading",
        "pending",
        "progress",
        "run",
        "take",
        "window",
    )

    def __init__(self, run: str) -> None:
        self.run = run
        self.take = 0
        self.control = 0
        self.window = 0
        self.last = 0
        """The last fact seen."""
        self.loading = False
        self.live: tuple[tuple[str, Path], ...] = ()
        """What the Router held of it when it was given to us, until we have read that."""
        self.pending = 0
        """What was handed out and has not ended, as counted at the last turn."""
        self.heavy: dict[tuple[str, Path], int] = {}
        """What was handed out and is heavy: the bytes of each,"""
        self.burden = 0
        """and of all."""
        self.progress: Progress | None = None
        self.broken: RunError | None = None
        """Why this run cannot be tracked: it fails as soon as nothing of it runs any more."""

    def carries(self, ready: Ready) -> int:
        """Its bytes, noted when they are many."""
        size = ready.weight
        if size >= HEAVY:
            self.burden += size - self.heavy.pop((ready.job, ready.path), 0)
            self.heavy[ready.job, ready.path] = size
        return size

    def puts_down(self, job: str, path: Path) -> None:
        self.burden -= self.heavy.pop((job, path), 0)

    def puts_all_down(self) -> None:
        self.heavy, self.burden = {}, 0


class Charges:
    def __init__(self) -> None:
        self._charges: dict[str, Charge] = {}
        self._plans = Plans()
        self._touched: dict[str, None] = {}
        self._handed_out = 0

    def __len__(self) -> int:
        return len(self._charges)

    @property
    def touched(self) -> int:
        """How many runs have news that nothing was decided on yet."""
        return len(self._touched)

    def holding(self) -> tuple[tuple[str, int, int], ...]:
        """(run, take, last fact seen) of everything held, for a Hello."""
        return tuple((one.run, one.take, 0 if one.broken else one.last) for one in self._charges.values())

    def await_takes(self) -> None:
        """A new session begins: of every run something may be missing, until the Router has given it anew."""
        for charge in self._charges.values():
            charge.take = 0

    def handle(self, message: FromRouter) -> None:
        match message:
            case News():
                charge = self._charges.get(message.run)
                if charge is not None and charge.take == message.take:
                    charge.control = message.control
                    charge.loading = message.more
                    self._learn(charge, message.facts)
            case Take():
                self._take(message)
            case Drop():
                charge = self._charges.get(message.run)
                if charge is not None and message.take in (0, charge.take):
                    self._forget(charge)
            case _:
                pass

    def repeat(self) -> None:
        """Say again what may have been refused: called with every heartbeat."""
        for charge in self._charges.values():
            if charge.broken is not None or (charge.progress is not None and not charge.pending):
                self._touched[charge.run] = None

    def flush(self) -> list[ToRouter]:
        """What the turn's news lead to."""
        said: list[ToRouter] = []
        for run in self._touched:
            charge = self._charges.get(run)
            if charge is None or charge.loading:
                continue
            try:
                self._decide(charge, said)
            except (HeadraceError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
                self._break(charge, error)
        self._touched = {}
        return said

    def validate(self) -> None:
        total = sum(one.pending for one in self._charges.values())
        assert total == self._handed_out, f"{total} attempts are handed out, {self._handed_out} were counted"
        for one in self._charges.values():
            if one.progress is not None:
                one.progress.validate()

    # Inside -----------------------------------------------------------------------------------------------------

    def _take(self, take: Take) -> None:
        """A run is ours; whatever was handed out under an older take is handed out again."""
        charge = self._charges.setdefault(take.run, Charge(take.run))
        if take.take < charge.take:
            return
        charge.take, charge.control, charge.window, charge.loading = take.take, take.control, take.window, take.more
        charge.live = take.live
        charge.puts_all_down()
        self._touched[take.run] = None
        try:
            if take.definition is not None:
                charge.progress, charge.broken, charge.last = None, None, take.accepted
                charge.progress = Progress(self._plans.of(take.definition), take.run)
            elif charge.progress is not None:
                charge.progress.rewind()
        except (HeadraceError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            self._break(charge, error)
        self._learn(charge, take.facts)

    def _learn(self, charge: Charge, facts: list[tuple[int, msgspec.Raw]]) -> None:
        self._touched[charge.run] = None
        progress = charge.progress
        try:
            for sequence, packed in facts:
                charge.last = sequence
                if progress is not None:
                    fact = unpack_fact(packed)
                    if charge.heavy and isinstance(fact, Returned):
                        charge.puts_down(fact.job, fact.path)
                    if not isinstance(fact, Finished):
                        progress.apply(sequence, fact)  # type: ignore[arg-type]
        except (HeadraceError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            charge.last = facts[-1][0]
            self._break(charge, error)

    def _decide(self, charge: Charge, said: list[ToRouter]) -> None:
        progress = charge.progress
        if charge.broken is not None or progress is None:
            error = charge.broken or RunError(None, (), "the run came without its definition")
            said.append(Conclude(charge.run, charge.take, charge.last, "failed", error))
            return
        live, charge.live = charge.live, ()
        progress.inherit(live)
        halts = progress.halts()
        if halts:
            said.append(Halt(charge.run, charge.take, charge.last, halts))
        self._hand_out(charge, progress, said)
        self._count(charge, progress.pending())
        conclusion = progress.conclusion()
        if conclusion is not None:
            said.append(_conclude(charge, *conclusion))

    def _hand_out(self, charge: Charge, progress: Progress, said: list[ToRouter]) -> None:
        """As much as the window takes, in messages that are not too heavy."""
        room = min(charge.window - progress.pending(), max(LEAST, HANDED_OUT - self._handed_out))
        while room > 0 and charge.burden < BURDEN:
            ready = progress.ready(room, PORTION)
            if not ready:
                return
            said.append(Enqueue(charge.run, charge.take, charge.control, charge.last, ready))
            room -= len(ready)
            if sum([charge.carries(one) for one in ready]) < PORTION:
                return

    def _count(self, charge: Charge, pending: int) -> None:
        self._handed_out += pending - charge.pending
        charge.pending = pending

    def _break(self, charge: Charge, error: Exception) -> None:
        """A run that cannot be judged fails with its reason; the others go on."""
        logger.error("run %s cannot be tracked: %s: %s", charge.run, type(error).__name__, error, exc_info=error)
        reason = f"the pipeline cannot be tracked: {type(error).__name__}: {error}"
        charge.broken = RunError(None, (), reason)
        charge.progress = None
        self._count(charge, 0)

    def _forget(self, charge: Charge) -> None:
        self._count(charge, 0)
        del self._charges[charge.run]


def _conclude(charge: Charge, verdict: Verdict, error: RunError | None, final: bool) -> Conclude:
    return Conclude(charge.run, charge.take, charge.last, verdict, error, final)
