"""The history: what was granted, begun, ended, recorded and said, and the promises that are checked at every step.

It sees what nobody in the cluster sees: the true time, every process, and what is really on the disk. A promise that is
broken raises `Violation` with the promise's name. What a machine that stood still did not notice excuses it: no clock
of its own could have told it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.protocol import (
    Done,
    Endings,
    Failed,
    FromRouter,
    HandedBack,
    News,
    Noted,
    Run,
    Submitted,
    Take,
    ToRouter,
)
from headrace.pipeline.definition import RunOptions, unpack_definition
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Ending,
    EpochBegan,
    Finished,
    Parent,
    Path,
    Paused,
    Pruned,
    Released,
    Reopened,
    Returned,
    Switched,
)
from headrace.pipeline.task import Outcome

from . import below
from .clock import Timeline
from .disk import Disk
from .scenario import RunSpec, Scenario
from .violation import Violation

if TYPE_CHECKING:
    from .processes import Execution, Process

Instance = tuple[str, int, str, tuple[int, ...]]
DEATHS = 3
STORE_DEADLINE = 30.0
PREPARES = "prepares "
OWN = ("success", "failed", "timeout", "store")
"""How an attempt can end only if its process says so."""


@dataclass
class Line:
    """One `Returned`, and where it stands."""

    sequence: int
    fact: Returned
    result: bytes


@dataclass
class Round:
    """One round of a run: from its acceptance (or a retry) to its end."""

    number: int
    began: int
    """The fact that let it begin: accepted, released or reopened."""
    cancelled: int = 0
    shortened: int = 0
    """The hooks were stopped."""
    ending: Ending | None = None
    ending_seq: int = 0
    finished: Finished | None = None
    finished_seq: int = 0
    returned: dict[tuple[str, Path], list[Line]] = field(default_factory=dict)


@dataclass
class RunView:
    """A run, by the facts that its Router has recorded."""

    id: str
    options: RunOptions
    accepted: int
    active: bool
    rounds: list[Round]
    paused: bool = False
    place: Parent | None = None
    """The attempt that it is, of a sub-run."""

    @property
    def now(self) -> Round:
        return self.rounds[-1]

    @property
    def finished(self) -> Finished | None:
        return self.rounds[-1].finished

    def lines(self, instance: Instance) -> list[Line]:
        _, round, job, path = instance
        return self.rounds[round].returned.get((job, path), []) if round < len(self.rounds) else []


class Begun:
    """An execution, as the history keeps it."""

    __slots__ = ("began", "ended", "execution", "kind", "outcome", "process", "synced")

    def __init__(self, process: Process, execution: Execution, synced: int) -> None:
        self.process = process
        self.execution = execution
        self.synced = synced
        """The last fact on disk when it began."""
        self.began = execution.began
        self.ended: float | None = None
        self.kind = ""
        self.outcome: Outcome | None = None

    @property
    def instance(self) -> Instance:
        return self.execution.instance

    def runs_at(self, moment: float) -> bool:
        return self.began <= moment and (self.ended is None or self.ended > moment)

    @property
    def excused(self) -> bool:
        return self.process.pool.machine.stood_still(self.began)

    def __str__(self) -> str:
        one = self.execution.assignment
        end = "still runs" if self.ended is None else f"{self.kind} at t={self.ended:.3f}"
        where = f"{self.process.pool.machine.name}, slot {self.process.slot}"
        return f"{one.run}/{one.job}{list(one.path)} lease {one.lease:x} on {where}, t={self.began:.3f}, {end}"


@dataclass
class CreditBook:
    """What a Broker has offered in a session, and what it was given."""

    credits: list[tuple[int, int]] = field(default_factory=list)
    """(the highest lease that had arrived, how many more are welcome)"""
    leases: set[int] = field(default_factory=set)

    def allow(self, seen: int, amount: int) -> bool:
        return sum(lease > seen for lease in self.leases) <= amount


class History:
    def __init__(self, scenario: Scenario, timeline: Timeline, disk: Disk) -> None:
        self.scenario = scenario
        self.timeline = timeline
        self.disk = disk
        self.specs: dict[str, RunSpec] = {run.id: run for run in scenario.runs}
        self.runs: dict[str, RunView] = {}
        self.begun: dict[int, Begun] = {}
        """By lease."""
        self.running: dict[Instance, list[Begun]] = defaultdict(list)
        self.leases_of: dict[Instance, list[int]] = defaultdict(list)
        """Leases under which an instance has begun."""
        self.granted: dict[int, Instance] = {}
        self.newest: dict[str, int] = {}
        """By Broker: the newest lease that has left for it."""
        self.handed_back: set[int] = set()
        self.fact_of: dict[int, int] = {}
        """By lease: the sequence of its fact."""
        self.answers: dict[str, int] = {}
        """By request: the sequence of the fact that carries it out."""
        self.acknowledged: dict[str, float] = {}
        """By run: when its submission was answered."""
        self.live_leases: Any = None
        """Asks the Router which leases it counts as live."""
        self.waited: Any = None
        """Asks the Router whether a lease that leaves now was granted in an earlier turn, and waited for the disk."""
        self.router_wall: Any = None
        """The wall clock of the Router's machine."""
        self.pruned: dict[str, int] = {}
        """By run: the sequence of the fact that it was pruned."""
        self.second_cancels: set[int] = set()
        """Cancels of hooks, and of later rounds. The same request may have found the run ended or cancelled before,
        and that answer may be on its way still."""
        self.switched: set[str | None] = set()
        """Roles that are paused; None: everything is."""
        self.reopened = 0
        self.told = 0
        """The last fact that watchers were told of."""
        self.recorded_at: dict[int, float] = {}
        """By sequence: the true time."""
        self.seen: Counter[str] = Counter()
        """What has happened at all, for the table."""

    def note(self, what: str) -> None:
        self.seen[what] += 1

    @property
    def synced(self) -> int:
        return len(self.disk.synced)

    # The Router records ---------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """A new Router has opened the journal: what was recorded is what is there."""
        self.runs, self.fact_of, self.answers, self.pruned = {}, {}, {}, {}
        self.switched.clear()
        self.told = self.synced
        for record in self.disk.synced:
            self._apply(record)

    def recorded(self, records: list[Record]) -> None:
        for record in records:
            self.recorded_at[record.sequence] = self.timeline.now
            self._note_fact(record.fact)
            self._check_record(record)
            self._apply(record)

    def _note_fact(self, fact: Any) -> None:
        name = type(fact).__name__
        if isinstance(fact, Returned):
            name += f" {fact.kind}" + ("" if fact.charged else ", uncharged")
            if fact.signs is not None:
                shown = [one for one in ("skip", "chosen", "invalid", "retry_after") if getattr(fact.signs, one, None)]
                for sign in shown:
                    self.note(f"an answer with {sign}")
            if fact.ref is not None:
                self.note("a value by reference")
            if fact.round:
                self.note("an attempt of a later round")
        self.note(f"fact {name}")

    def _apply(self, record: Record) -> None:
        fact, sequence = record.fact, record.sequence
        if record.answer is not None:
            self.answers[record.answer[0]] = sequence
            view = self.runs.get(record.run or "")
            if isinstance(fact, Cancelled) and view is not None and (len(view.rounds) > 1 or view.now.cancelled):
                self.second_cancels.add(sequence)
        if isinstance(fact, Pruned):
            self.pruned[fact.run] = sequence
        if isinstance(fact, Switched):
            (self.switched.add if fact.on else self.switched.discard)(fact.role)
        if isinstance(fact, Accepted):
            if fact.parent is not None:
                self._opens(fact, record.data)
            self.runs[fact.run] = RunView(
                fact.run, fact.options, sequence, fact.active, [Round(0, sequence)], place=fact.parent
            )
        if record.run is None:
            return
        view = self.runs[record.run]
        now = view.now
        match fact:
            case Returned():
                now.returned.setdefault((fact.job, fact.path), []).append(Line(sequence, fact, record.result))
                if fact.lease:
                    self.fact_of[fact.lease] = sequence
            case Released():
                now.began, view.active = sequence, True
            case Cancelled() if now.ending:
                now.shortened = sequence
            case Cancelled():
                now.cancelled = sequence
            case Paused():
                view.paused = fact.on
            case Ending():
                now.ending, now.ending_seq = fact, sequence
            case Finished():
                now.finished, now.finished_seq = fact, sequence
            case Reopened():
                view.rounds.append(Round(fact.round, sequence))
                view.paused, view.active = False, True
                view.place = fact.parent or view.place
            case _:
                pass

    def _opens(self, fact: Accepted, data: bytes | None) -> None:
        """A job that is a pipeline: what its run has to do stands in the run above."""
        assert fact.parent is not None
        spec = self.specs[fact.parent.run]
        node = below.node_of(spec.definition, fact.parent.job)
        definition = unpack_definition((node.definition if node is not None else None) or b"")
        self.specs[fact.run] = RunSpec(fact.run, definition, spec.behaviours, fact.options, data)

    def _is_below(self, run: str, job: str) -> bool:
        node = below.node_of(self.specs[run].definition, job)
        return node is not None and node.kind == "pipeline"

    def _check_record(self, record: Record) -> None:
        fact = record.fact
        if isinstance(fact, Accepted):
            self._accepted(fact)
        if isinstance(fact, Pruned):
            view = self.runs.get(fact.run)
            if view is None or view.finished is None or fact.run in self.pruned:
                raise Violation("prune", f"{fact}, and the run is {view}")
        if record.run is None or isinstance(fact, Accepted):
            return
        view = self.runs[record.run]
        if isinstance(fact, Reopened):
            self._reopened(view, fact)
        elif view.finished is not None:
            raise Violation("G3 one end", f"{fact} after the end of run {view.id}")
        elif isinstance(fact, Returned):
            self._returned(view, fact, record.result)
        elif isinstance(fact, Released):
            self._released(view)
        elif isinstance(fact, Cancelled) and fact.reason == "deadline exceeded":
            self._overdue(view)
        elif isinstance(fact, Cancelled) and (view.now.shortened or (view.now.cancelled and not view.now.ending)):
            raise Violation("G16 cancel once", f"{fact} of run {view.id}, which is cancelled already")
        elif isinstance(fact, Finished | Ending):
            self._finished(view, fact)

    def _released(self, view: RunView) -> None:
        early = view.options.not_before is not None and view.options.not_before - self.router_wall()
        if early and early > 0.001:
            raise Violation("G14 clocks", f"run {view.id} was released {early:.3f} s before its time")

    def _overdue(self, view: RunView) -> None:
        """A deadline is a duration: within an epoch no wall clock counts. That of a run above is the reason below."""
        if view.place is not None and self.runs[view.place.run].now.cancelled:
            return
        began, limit = self.recorded_at.get(view.now.began), view.options.deadline
        epoch = max(record.sequence for record in self.disk.synced if isinstance(record.fact, EpochBegan))
        if limit is None or (began is not None and view.now.began > epoch and self.timeline.now - began < limit - 0.1):
            raise Violation("G14 clocks", f"run {view.id} is overdue after {self.timeline.now - (began or 0):.3f} s")
        if view.now.cancelled or view.now.ending:
            raise Violation("G16 cancel once", f"run {view.id} is overdue, and is cancelled or ending")

    def _reopened(self, view: RunView, fact: Reopened) -> None:
        self.reopened += 1
        if view.id in self.pruned:
            raise Violation("prune", f"{fact} of run {view.id}, which was pruned")
        if view.finished is None or view.finished.verdict == "success" or fact.round != len(view.rounds):
            raise Violation("G8 rounds", f"{fact} of run {view.id}, which has {view.finished}")
        self._check_key(view.id, view.options.key, view.accepted)

    def _accepted(self, fact: Accepted) -> None:
        if fact.options.after and not fact.active:
            self.note("a run waited for the end of another one")
        if fact.options.on_duplicate == "replace" and not fact.active:
            self.note("a run replaced another one")
        if fact.parent is not None:
            below.opened(self, fact, fact.parent)
        if fact.run in self.runs:
            raise Violation("G8 idempotent", f"run {fact.run} was accepted twice")
        if fact.options.on_duplicate != "replace":
            self._check_key(fact.run, fact.options.key, 0)

    def _check_key(self, run: str, key: str | None, since: int) -> None:
        holder = next((one.id for one in self.runs.values() if one.options.key == key and one.accepted > since
                       and one.id not in self.pruned), None)  # fmt: skip
        if key is not None and holder is not None:
            raise Violation("G8 key", f"run {run} goes on under key {key!r}, which run {holder} holds")

    def _returned(self, view: RunView, fact: Returned, result: bytes) -> None:
        instance = (view.id, fact.round, fact.job, fact.path)
        if fact.round != view.now.number:
            raise Violation("G8 rounds", f"{fact} of run {view.id}, which is in round {view.now.number}")
        earlier = view.lines(instance)
        if any(line.fact.kind in ("success", "cancelled") for line in earlier):
            raise Violation("G3 one committed attempt", f"{fact} comes after {[line.fact for line in earlier]}")
        if fact.attempt != len(earlier) + 1:
            raise Violation("G3 one end per attempt", f"{fact} is end {len(earlier) + 1} of {instance}")
        if fact.lease == 0:
            if self._is_below(view.id, fact.job):
                below.ended(self, view, fact)
            elif fact.kind in OWN or fact.kind in ("died", "lost"):
                raise Violation("G4 lease", f"{fact} has no lease")
            return
        if fact.lease in self.fact_of:
            raise Violation("G3 one end per lease", f"{fact} is the second one under its lease")
        # A grant that waited for the disk is let go when its Broker greets anew.
        never_left = fact.lease not in self.granted and fact.kind not in (*OWN, "died")
        if not never_left and self.granted.get(fact.lease) != instance:
            raise Violation("G4 lease", f"{fact} of run {view.id}, its lease is of {self.granted.get(fact.lease)}")
        newer = [lease for lease in self.leases_of[instance] if lease > fact.lease]
        if newer:
            raise Violation("G4 fencing", f"{fact}, but {self.begun[newer[-1]]} has begun under a newer lease")
        self._agrees(fact, result, self.begun.get(fact.lease))
        self._check_budgets(fact, earlier)

    def _check_budgets(self, fact: Returned, earlier: list[Line]) -> None:
        """What is no failure of the job is charged to nobody, and a poison job does not go on for ever."""
        if sum(line.fact.kind == "died" and line.fact.charged for line in earlier) >= DEATHS:
            raise Violation("G11 quarantine", f"{fact} after {DEATHS} deaths of its process")
        begun = self.begun.get(fact.lease)
        if begun is None or begun.ended is None:
            return
        if fact.kind == "died" and fact.charged and begun.process.late:
            raise Violation("budgets", f"{fact}, and the warden has killed {begun}")
        took, needs = begun.ended - begun.began, begun.execution.assignment.needs
        if fact.kind == "store" and fact.charged and took < STORE_DEADLINE:
            raise Violation("G9 store faults", f"{fact}: the store had {took:.1f} s only")
        if fact.kind == "timeout" and (needs is None or needs.timeout is None or took < needs.timeout - 0.01):
            raise Violation("G14 clocks", f"{fact}, and it ran from {begun.began:.3f} to {begun.ended:.3f}")

    def _agrees(self, fact: Returned, result: bytes, begun: Begun | None) -> None:
        """A fact says what has really happened."""
        if begun is None:
            if fact.kind in OWN or fact.kind == "died":
                raise Violation("G2 true facts", f"{fact}, but it never began")
            return
        if begun.ended is None:
            if not begun.excused:
                raise Violation("G5 ended before its fact", f"{fact}, but {begun}")
            return
        killed = fact.kind == "timeout" and begun.kind == "died"
        if fact.kind in OWN and begun.kind != fact.kind and not killed:
            raise Violation("G2 true facts", f"{fact}, but {begun}")
        if fact.kind == "died" and begun.kind != "died":
            raise Violation("G2 true facts", f"{fact}, but {begun}")
        if fact.kind == "success":
            assert begun.outcome is not None
            if (result, fact.ref) != (begun.outcome.result, begun.outcome.ref):
                raise Violation("G2 true facts", f"{fact} keeps another result than {begun.outcome}")

    def _finished(self, view: RunView, fact: Finished | Ending) -> None:
        ending = view.now.ending
        if ending is not None and ending.verdict != fact.verdict:
            raise Violation("G3 verdict", f"run {view.id} ended {fact.verdict} after {ending}")
        for instance, running in self.running.items():
            for begun in running:
                if instance[0] == view.id and not begun.excused and not instance[2].startswith(PREPARES):
                    raise Violation("G16 confirmed dead", f"run {view.id} has {fact}, but {begun}")

    # The Router says ------------------------------------------------------------------------------------------------

    def router_says(self, peer: str, message: FromRouter) -> None:
        self.note(f"said by the Router: {type(message).__name__}")
        match message:
            case Run():
                self._grants(peer, message)
            case News() | Take():
                for sequence, packed in message.facts:
                    if sequence > self.synced or self.disk.synced[sequence - 1].packed != bytes(packed):
                        raise Violation("G1 commit before send", f"fact {sequence} left in {message}")
            case Submitted():
                self._submitted(message)
            case Endings():
                for end in message.ends:
                    rounds = self.runs[end.run].rounds if end.run in self.runs else []
                    told = [one.finished.verdict for one in rounds if one.finished and one.finished_seq <= self.synced]
                    if end.verdict not in told:
                        raise Violation("G1 commit before send", f"{end} left, the journal does not say so")
                if unknown := [run for run in message.unknown if run in self.acknowledged]:
                    raise Violation("G1 nothing lost", f"the Router does not know {unknown}, which it acknowledged")
            case Noted():
                self._noted(message)
            case Failed():
                self.note(f"a request refused: {message.code}")
            case Done():
                sequence = self.answers.get(message.id, 0)
                if sequence > self.synced and sequence not in self.second_cancels:
                    raise Violation("G1 commit before send", f"{message} left before its fact was on disk")
            case _:
                pass

    def _submitted(self, message: Submitted) -> None:
        for receipt in message.receipts:
            view = self.runs.get(receipt.run)
            if view is None or view.accepted > self.synced:
                raise Violation("G1 commit before send", f"{receipt} left, and the run is not in the journal")
            if receipt.ok:
                self.acknowledged.setdefault(receipt.run, self.timeline.now)

    def _noted(self, message: Noted) -> None:
        for lease in message.leases:
            sequence = self.fact_of.get(lease)
            if sequence is not None and sequence > self.synced:
                raise Violation("G1 commit before send", f"lease {lease:x} is noted before fact {sequence} is synced")
            if sequence is None and lease in self.live_leases():
                raise Violation("G1 nothing lost", f"lease {lease:x} is noted, not recorded, and still live")

    def _grants(self, peer: str, message: Run) -> None:
        for one in message.assignments:
            if one.lease <= self.newest.get(peer, 0):
                raise Violation("level-triggered", f"{one} leaves after {self.newest[peer]:x}: it looks like missing")
            self.newest[peer] = one.lease
            if one.lease in self.granted:
                raise Violation("G4 lease numbers", f"{one} is granted, and so was {self.granted[one.lease]}")
            self.granted[one.lease] = (one.run, one.round, one.job, one.path)
            view = self.runs.get(one.run)
            if view is None or view.finished is not None:
                raise Violation("G3 one end", f"{one} is granted, and its run is over")
            if self.waited(one.lease):
                continue  # what was decided since is about what was granted, as if it were on its way already
            if view.now.shortened or (view.now.cancelled and not one.hook):
                raise Violation("G16 cancel", f"{one} is granted after the cancel")
            if None in self.switched or (one.needs is not None and one.needs.role in self.switched):
                raise Violation("pause", f"{one} is granted while {self.switched} are paused")
            below.granted(self, view, one)

    # Credit ---------------------------------------------------------------------------------------------------------

    def grants_arrive(self, book: CreditBook, message: Run) -> None:
        """No more arrives at a Broker than it has said it would take."""
        book.leases.update(one.lease for one in message.assignments)
        if book.credits and not any(book.allow(seen, amount) for seen, amount in book.credits):
            raise Violation("credit", f"more leases than ever were welcome: {book}")

    # Peers say ------------------------------------------------------------------------------------------------------

    def peer_says(self, message: ToRouter) -> None:
        self.note(f"said to the Router: {type(message).__name__}")
        if isinstance(message, HandedBack):
            for lease in message.leases:
                if lease in self.begun:
                    raise Violation("G2 handed back unbegun", f"handed back, but {self.begun[lease]}")
                self.handed_back.add(lease)

    def published(self, records: list[Record]) -> None:
        """Watchers are told of every fact, in order, when it is on disk."""
        for record in records:
            if record.sequence != self.told + 1 or record.sequence > self.synced:
                raise Violation("events", f"fact {record.sequence} is told after fact {self.told}")
            self.told = record.sequence

    def removed(self, run: str) -> None:
        """The values of a run are removed."""
        if self.pruned.get(run, self.synced + 1) > self.synced:
            raise Violation("prune", f"the values of run {run} go, and its prune is not on disk")

    # Processes ------------------------------------------------------------------------------------------------------

    def begins(self, process: Process, execution: Execution) -> None:
        lease, instance = execution.assignment.lease, execution.instance
        begun = Begun(process, execution, self.synced)
        if lease in self.begun:
            raise Violation("G4 once per lease", f"{self.begun[lease]}, and again on {process.pool.machine.name}")
        if lease in self.handed_back:
            raise Violation("G2 handed back unbegun", f"{begun} was handed back")
        self.begun[lease] = begun
        others = [other for other in self.running[instance] if not other.excused]
        self.running[instance].append(begun)
        self.leases_of[instance].append(lease)
        if begun.excused:
            return
        if others and not instance[2].startswith(PREPARES):
            raise Violation("G5 one at a time", f"{begun}, and {others[0]}")
        for before in self.leases_of[instance][:-1] if not instance[2].startswith(PREPARES) else ():
            if self._thrown_away(self.begun[before]):
                raise Violation("G2 nothing finished runs twice", f"{begun} after {self.begun[before]}")
        view = self.runs.get(instance[0])
        if view is None:
            raise Violation("G1 nothing lost", f"{begun}, and the journal has no such run")
        if view.finished is not None:
            raise Violation("G16 confirmed dead", f"{begun} after the end of its run")
        if lease in self.fact_of:
            raise Violation("G5 ended before its fact", f"{begun} after fact {self.fact_of[lease]} has ended it")
        for line in view.lines(instance):
            if line.fact.kind == "success" and line.sequence <= self.synced:
                raise Violation("G2 nothing finished runs twice", f"{begun} after {line.fact}")
        below.begins(self, begun)
        self._check_patience(view, begun)
        self._check_hook(view, begun)
        self._check_delay(view, begun)
        self._check_room(view, process)

    def _check_patience(self, view: RunView, begun: Begun) -> None:
        """What needs a lot at once has its turn, however many others need little."""
        waited = begun.began - self.acknowledged.get(view.id, begun.began)
        within = begun.execution.behaviour.within
        if within is not None and waited > within:
            raise Violation("nothing starves", f"{begun} after {waited:.1f} s, it had to begin within {within:g} s")

    def _check_hook(self, view: RunView, begun: Begun) -> None:
        """Hooks of a run come when its verdict is fixed and nothing of it runs any more."""
        job = begun.execution.assignment.job
        if not job.startswith("hook:") or job.count(":") > 1:
            return
        ending = view.now.ending
        if ending is None or view.now.ending_seq > self.synced:
            raise Violation("G7 hooks once", f"{begun} before the verdict is on disk")
        for (run, _, other, _), running in self.running.items():
            if run == view.id and not other.startswith(("hook:", PREPARES)):
                for one in running:
                    if not one.excused:
                        raise Violation("G7 hooks once", f"{begun}, and {one}")

    def _check_delay(self, view: RunView, begun: Begun) -> None:
        """The next attempt comes after the delay that was asked for."""
        lines = view.lines(begun.instance)
        if not lines or lines[-1].fact.signs is None or lines[-1].fact.signs.retry_after is None:
            return
        passed = begun.began - self.recorded_at.get(lines[-1].sequence, 0.0)
        self.note("a later attempt after a delay")
        if passed < lines[-1].fact.signs.retry_after - 0.01:
            raise Violation("G14 clocks", f"{begun}, {passed:.3f} s after {lines[-1].fact}")

    def _thrown_away(self, earlier: Begun) -> bool:
        """It has succeeded on a Broker that lives and never lost its leases: that result had to count."""
        pool = earlier.process.pool
        return (
            earlier.kind == "success" and not pool.orphaned and pool.lapsed_at < earlier.began and not earlier.excused
        )

    def _check_room(self, view: RunView, process: Process) -> None:
        """Limits of the cluster, of a run, and of a Broker."""
        running = [one for many in self.running.values() for one in many if not one.excused]
        counts: dict[str, float] = defaultdict(float)
        for one in running:
            needs = one.execution.assignment.needs
            if one.execution.assignment.run == view.id:
                counts["max_active"] += 1
            for name in needs.limits if needs else ():
                counts[name] += 1
            if needs and one.process.pool is process.pool:
                for name, amount in needs.resources.items():
                    counts[f"resource {name}"] += amount
        most = {name: float(number) for name, number in self.scenario.limits.items()}
        if view.options.max_active is not None:
            most["max_active"] = view.options.max_active
        offered = process.pool.resources
        most.update({f"resource {name}": amount for name, amount in offered.items()})
        for name, count in counts.items():
            if count == most.get(name) and name != "max_active" and not name.startswith("resource"):
                self.note("a limit was used up")
            if count > most.get(name, float("inf")):
                raise Violation("limits", f"{name}: {count:g} at once, {most[name]:g} is the limit: {_shown(running)}")

    def reads(self, execution: Execution) -> None:
        """What a worker is given is what was committed."""
        assignment = execution.assignment
        view = self.runs.get(assignment.run)
        if view is None:
            return
        for position, supplied in enumerate(assignment.inputs):
            wanted = supplied.input
            if wanted.kind not in ("success", "elements"):
                continue
            given = {
                tuple(path): (value, ref) for path, kind, value, ref in execution.inputs[position] if kind == "success"
            }
            paths = [wanted.path]
            if wanted.many:
                paths = list(wanted.keyed) if wanted.keyed is not None else list(given)
            for path in paths:
                lines = [line for one in view.rounds for line in one.returned.get((wanted.job, tuple(path)), [])]
                kept = [line for line in lines if line.fact.kind == "success" and line.sequence <= self.synced]
                if not kept and lines and (wanted.many or self._gathers(assignment.run, assignment.job)):
                    continue  # a failure that is data: it stands in the list for what it is
                if not kept:
                    raise Violation("G7 parents first", f"{assignment} reads {wanted.job}{list(path)}: not committed")
                if given.get(tuple(path)) != (kept[-1].result or None, kept[-1].fact.ref):
                    raise Violation("G2 committed inputs", f"{assignment} reads {given} of {wanted}, not {kept[-1]}")
        ((_, _, data, _),) = execution.inputs[-1]
        if data != self.specs[assignment.run].data:
            raise Violation("G1 nothing lost", f"{assignment} reads the data of another run: {data!r}")

    def _gathers(self, run: str, job: str) -> bool:
        nodes = self.specs[run].definition.nodes
        return any(node.name == job and node.gather is not None for node in nodes)

    def ends(self, process: Process, execution: Execution, kind: str, outcome: Outcome | None) -> None:
        begun = self.begun.get(execution.assignment.lease)
        if begun is None or begun.execution is not execution:
            return
        begun.ended, begun.kind, begun.outcome = self.timeline.now, kind, outcome
        self.running[execution.instance].remove(begun)


def _shown(running: list[Begun]) -> str:
    return "; ".join(map(str, running))
