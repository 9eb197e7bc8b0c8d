"""Progress: the machine that judges one run. Facts go in; attempts to start, instances to stop and a verdict come out.

It knows the definition and the facts, and nothing else: no clock, no queue, no value. Whoever replays the same facts
sees the same states of the same jobs: a Pipeliner that takes a run over, a client that shows it, the local engine. What
it was asked for meanwhile (`ready`, `halts`) only says what need not be told twice.

    facts ──> apply ──> board (who waits for whom)  ──> ready()       attempts that may start
                  ├───> attempts (budgets, delays)  ──> halts()       instances to be stopped
                  └───> policies, groups, hooks     ──> conclusion()  the verdict

Three rules are easy to miss. An instance that is stopped counts as ended at once, but what comes after it is held back
until it is confirmed dead. An outcome that comes after the stop is kept as a result and starts nothing. And
`conclusion` says what follows from the facts: who records it first makes sure that nothing of the run is queued or
leased any more.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .attempts import Attempts
from .board import Board
from .calls import Calls
from .cells import Block, Cell
from .definition import Definition
from .details import JobDetail, details_of, tally, waits_for
from .errors import ProtocolError
from .facts import (
    Accepted,
    Cancelled,
    Ending,
    Finished,
    Path,
    Paused,
    Released,
    Reopened,
    Returned,
    RunError,
    RunFact,
    Signs,
    Verdict,
)
from .handout import Handout, cells
from .plan import Plan
from .policies import WHOLE_RUN
from .signs import NOTHING, carry_out, problem_of
from .states import (
    ABSENT,
    CANCELLED,
    CONTINUED,
    FAILED,
    HANDED,
    LOST,
    NAMES,
    OPEN,
    READY,
    SKIPPED,
    SUCCESS,
    WAITING,
)
from .task import Ready
from .verdict import RunState, RunVerdict

_OWN_FAILURES = ("failed", "timeout", "expired", "store")


class Progress:
    """One run. Not thread-safe; `apply` facts in their order, then ask."""

    def __init__(self, definition: Definition | Plan, run: str) -> None:
        """Raises `DefinitionError` for a definition that no run can have."""
        self.run = run
        self.last = 0
        """The number of the last fact that was applied."""
        self.round = 0
        self.paused = False
        self._origin = 0
        """The fact that let the run, or its round, begin."""
        self._asked = False
        self._inherited = False
        """Somebody else may have handed out what is ready here."""
        self._begin(definition if isinstance(definition, Plan) else Plan(definition))

    def _begin(self, plan: Plan) -> None:
        """The state before any job of this round has ended."""
        self.plan = plan
        self.board = Board(plan)
        self._calls = Calls(plan, self.board)
        self._attempts: dict[Cell, Attempts] = {}
        self._handout = Handout(self.board, self._attempts, self._calls.tasks, self.round)
        self._signs: dict[Cell, Signs] = {}
        self._reasons: dict[int, str] = {}
        self._verdict = RunVerdict()

    # Facts in --------------------------------------------------------------------------------------------------------

    def apply(self, sequence: int, fact: RunFact) -> None:
        """Take one fact. Repeats are harmless; an impossible fact raises `ProtocolError` and changes nothing."""
        if sequence <= self.last:
            return
        if fact.__class__ is Returned and fact.kind == "success" and fact.signs is None and not fact.path:
            plan, state = self.plan, self.board.state
            at = plan.index.get(fact.job)
            plainly = at is not None and plan.fast[at] and READY <= state[at] <= HANDED and not self._attempts
            if plainly and fact.round == self.round:
                self._succeed_plainly(plan, self.board, state, at, sequence)  # type: ignore[arg-type]
                return
        self._apply(sequence, fact)
        self.last = sequence

    def _succeed_plainly(self, plan: Plan, board: Board, state: bytearray, at: int, sequence: int) -> None:
        """The hot path: a job outside of branches has returned; only counters of such jobs are concerned."""
        if state[at] == HANDED:
            self._handout.pending -= 1
        elif not self._asked:
            self._inherited = True
        state[at] = SUCCESS
        board.open -= 1
        wait = board.wait
        self.last = sequence
        for child in plan.children[at]:
            left = wait[child] - 1
            wait[child] = left
            if not left and state[child] == WAITING:
                if plan.simple[child] and not board.flags[child]:
                    state[child] = READY
                    wait[child] = -sequence
                    board.queue.append(child)
                else:
                    board.sequence = sequence
                    board.reached(child)
        if board.completed:
            self._end_groups()

    def _apply(self, sequence: int, fact: RunFact) -> None:
        if not isinstance(fact, Returned):
            self.board.sequence = sequence
        match fact:
            case Returned():
                self._returned(sequence, fact)
            case Accepted():
                self._origin, self._verdict.held = sequence, not fact.active
            case Released():
                self._origin, self._verdict.held = sequence, False
            case Paused():
                self.paused = fact.on
            case Cancelled():
                self._cancelled(fact)
            case Ending():
                self._ending(fact)
            case Finished():
                self._finish(fact)
            case Reopened():
                self._reopen(fact)

    def _returned(self, sequence: int, fact: Returned) -> None:
        at, block, position = self._found(sequence, fact)
        self.board.sequence = sequence
        if fact.round != self.round:
            return
        cell = at, fact.path
        state = block.state[position]
        known = self._attempts.get(cell)
        if state >= OPEN:
            self._late(block, position, cell, fact)
        elif fact.attempt >= (known.attempt if known else 1):
            if state == HANDED:
                self._handout.pending -= 1
            elif not self._asked:
                self._inherited = True
            self._calls.begin(at)
            self._judge(block, position, cell, fact)
            self._end_groups()

    def _found(self, sequence: int, fact: Returned) -> tuple[int, Block, int]:
        """Where the fact belongs. Raises when it cannot be true."""
        at = self.plan.find(fact.job, fact.path)
        found = None if at is None else self.board.place(at, fact.path)
        where = f"run {self.run}: fact {sequence} says that attempt {fact.attempt} of {show(fact.job, fact.path)} ended"
        if at is None or found is None:
            raise ProtocolError(f"{where} ({fact.kind}), but the run has no such {'job' if at is None else 'branch'}")
        state = found[0].state[found[1]]
        if fact.round == self.round and (state in (WAITING, ABSENT) or self.plan.nodes[at].kind == "gate"):
            raise ProtocolError(f"{where} ({fact.kind}), but {self._story(at, state)}")
        return at, *found

    def _story(self, at: int, state: int) -> str:
        """Why an instance cannot have returned."""
        if self.plan.is_hook(at):
            return "that hook was not called"
        if self.plan.nodes[at].kind == "gate":
            return "that is a gate, which does no work"
        parents = [self.plan.names[parent] for parent in self.plan.sources[at]]
        return f"it is {NAMES.get(state, 'absent')}: it comes after {', '.join(parents[:8])}, which have not all ended"

    # Judging an attempt ----------------------------------------------------------------------------------------------

    def _judge(self, block: Block, position: int, cell: Cell, fact: Returned) -> None:
        """An attempt that was under way has ended: done, tried again, or failed."""
        at, path = cell
        signs = fact.signs or NOTHING
        if fact.kind == "success":
            problem = problem_of(self.plan, self.board, at, path, signs)
            if problem is None:
                self._note_attempt(cell, fact)
                self._succeed(block, position, cell, signs)
                return
            fact = msgspec.structs.replace(fact, kind="failed", signs=Signs(invalid=problem), error=None)
        if fact.kind == "cancelled":
            self._note_attempt(cell, fact)
            self._verdict.stray = True
            self._close(block, position, cell, CANCELLED)
            return
        known = self._attempts.setdefault(cell, Attempts())
        known.attempt = fact.attempt
        delay = known.again(fact, self.plan.nodes[at].retry, self.run)
        if delay is None:
            self._fail(block, position, cell, fact, known)
            return
        known.attempt, known.after, known.delay = fact.attempt + 1, self.board.sequence, delay
        block.state[position] = READY
        self.board.put(block, position, at, path)

    def _note_attempt(self, cell: Cell, fact: Returned) -> None:
        """Keep the number of the last attempt, when it is not the first."""
        if fact.attempt > 1:
            self._attempts.setdefault(cell, Attempts()).attempt = fact.attempt

    def _succeed(self, block: Block, position: int, cell: Cell, signs: Signs) -> None:
        if signs != NOTHING:
            self._signs[cell] = signs
            known = len(self.plan.nodes)
            self.plan = carry_out(self.plan, self.board, *cell, signs)
            self._calls.follow(self.plan, range(known, len(self.plan.nodes)))
        if signs.skip is not None:
            self._reasons.setdefault(cell[0], signs.skip)
        self._close(block, position, cell, SUCCESS if signs.skip is None else SKIPPED)

    def _close(self, block: Block, position: int, cell: Cell, code: int) -> None:
        """The end of an instance, of a job or of a hook."""
        if self.plan.is_hook(cell[0]):
            self._calls.end(cell[0], code)
        else:
            self.board.end(block, position, *cell, code)

    def _fail(self, block: Block, position: int, cell: Cell, fact: Returned, known: Attempts) -> None:
        """No attempt is left."""
        at, path = cell
        node = self.plan.nodes[at]
        reason = known.reason(fact, node.timeout, node.queue_timeout)
        self._reasons.setdefault(at, reason)
        code = LOST if fact.kind == "lost" else FAILED
        if self.plan.is_hook(at):
            self._calls.end(at, code)
        elif self.plan.policy[at] == "continue":
            self.board.end(block, position, at, path, CONTINUED)
        elif self._escalate(block, position, cell, code) and self._verdict.first_failure is None:
            trace = fact.error.traceback if fact.error is not None else ""
            self._verdict.first_failure = RunError(fact.job, path, reason, trace, fact.kind)

    def _escalate(self, block: Block, position: int, cell: Cell, code: int) -> bool:
        """End the instance, and what its failure stops: in its group, in those around it, in the run. Does it count
        for the run's verdict?"""
        policy, domain = self.plan.policy[cell[0]], self.plan.domain[cell[0]]
        stopped: list[frozenset[int] | None] = []
        while policy == "fail":
            group = None if domain == WHOLE_RUN else self.plan.groups[domain]
            stopped.append(None if group is None else self.plan.members_of(domain))
            self.board.announce_stop(stopped[-1], everything=False)
            if group is None:
                break
            policy, domain = group.policy, group.domain
        self.board.end(block, position, *cell, code)
        for members in stopped:
            self._stop(self.board.stop(members, everything=False))
        self._verdict.failing = self._verdict.failing or None in stopped
        return policy != "continue"

    def _end_groups(self) -> None:
        if self.board.completed:
            self._calls.end_members(self._verdict.error_for)

    # Stopping --------------------------------------------------------------------------------------------------------

    def _stop(self, met: Iterable[tuple[Cell, int]]) -> None:
        self._handout.stop(met, self._inherited)

    def _late(self, block: Block, position: int, cell: Cell, fact: Returned) -> None:
        """An outcome of an instance that has been judged already: of one that was stopped, its end is confirmed."""
        self._handout.confirm(cell)
        if block.state[position] != CANCELLED or self.plan.is_hook(cell[0]):
            return
        self._note_attempt(cell, fact)
        if fact.kind == "success":
            block.state[position] = SUCCESS if (fact.signs or NOTHING).skip is None else SKIPPED
            if fact.signs is not None:
                self._signs[cell] = fact.signs
        elif fact.kind in _OWN_FAILURES:
            block.state[position] = FAILED

    def _cancelled(self, fact: Cancelled) -> None:
        """Only the Router knows now what it holds: an Enqueue that crossed the cancel was refused."""
        verdict = self._verdict
        if verdict.over or (verdict.fixed is None and verdict.cancelled is not None):
            return
        if verdict.fixed is None:
            verdict.cancelled, verdict.held = fact.reason, False
            self._stop(self.board.stop(None, everything=True))
        else:
            self._stop_hooks()
        self._handout.let_go()
        self._end_groups()

    def _stop_hooks(self) -> None:
        for at in self.plan.every_hook():
            state = self.board.state[at]
            if state in (READY, HANDED):
                self._stop([((at, self.plan.base.get(at, ())), state)])
                self._calls.end(at, CANCELLED, last=True)

    # The end, and a new beginning ------------------------------------------------------------------------------------

    def _ending(self, fact: Ending) -> None:
        if self._verdict.fixed is None:
            self._settle_verdict(fact.verdict, fact.error)
            self._calls.call(self.plan.hooks.of(fact.verdict), fact.verdict, fact.error)

    def _finish(self, fact: Finished) -> None:
        self._settle_verdict(fact.verdict, fact.error)
        self._verdict.over, self._verdict.held = True, False
        self.board.queue.clear()

    def _settle_verdict(self, verdict: Verdict, error: RunError | None) -> None:
        """The journal has said how the run ends: nothing starts any more, whatever was open."""
        if self.board.open:
            self._stop(self.board.stop(None, everything=True))
            self.board.completed.clear()
        self._calls.drop_due()
        self._verdict.fix(verdict, error)

    def _reopen(self, fact: Reopened) -> None:
        """A new round: what succeeded, with everything above it, stays; all the rest waits again."""
        if fact.round <= self.round:
            return
        kept, since = self._kept(), self._handout.since
        self.round, self.paused = fact.round, False
        self._origin = self.board.sequence
        self._inherited = True
        self._begin(Plan(self.plan.definition) if self.plan.forked else self.plan)
        self.board.sequence = self._origin
        self._handout.since = {
            cell: since.get(cell, fact.round - 1) for cell in self._replay(kept) if self._is_below(cell)
        }

    def _kept(self) -> dict[tuple[str, Path], Signs]:
        """Instances whose attempt returned well: a job that answered `Skip` has done what it was asked."""
        kept = {}
        for at in self.plan.jobs():
            for path, block, position in self.board.instances(at):
                signs = self._signs.get((at, path), NOTHING)
                state = block.state[position]
                if state == SUCCESS or (state == SKIPPED and signs.skip is not None):
                    kept[self.plan.names[at], path] = signs
        return kept

    def _is_below(self, cell: tuple[str, Path]) -> bool:
        """Is this instance a run of its own?"""
        at = self.plan.find(*cell)
        return at is not None and self.plan.nodes[at].kind == "pipeline"

    def _replay(self, kept: dict[tuple[str, Path], Signs]) -> list[tuple[str, Path]]:
        """End again at once what was kept, as it gets ready; the rest of what is ready stays so, and is returned: all
        that comes before it was kept."""
        board, rest = self.board, []
        while board.queue:
            for cell, block, position in cells(board, board.queue.popleft()):
                signs = kept.get((self.plan.names[cell[0]], cell[1]))
                if signs is None or problem_of(self.plan, board, *cell, signs) is not None:
                    rest.append((block, position, cell))
                else:
                    self._calls.begin(cell[0])
                    self._succeed(block, position, cell, signs)
        for block, position, cell in rest:
            board.put(block, position, *cell)
        self._end_groups()
        return [(self.plan.names[at], path) for _, _, (at, path) in rest]

    # Work out --------------------------------------------------------------------------------------------------------

    def ready(self, limit: int | None = None, weight: int | None = None) -> list[Ready]:
        """Attempts that may start now and were not handed out yet: so many, and until they weigh so many bytes."""
        self._asked = True
        return [] if self._verdict.held else self._handout.ready(limit, weight, self._origin)

    def has_ready(self) -> bool:
        """Would `ready` hand out anything?"""
        return not self._verdict.held and self._handout.has_ready()

    def pending(self) -> int:
        """How many attempts were handed out and have not ended."""
        return self._handout.pending

    def halts(self) -> list[tuple[str, Path]]:
        """Instances that have to be stopped wherever they are, each told once per take."""
        return [(self.plan.names[at], path) for at, path in self._handout.stops.tell()]

    def rewind(self) -> None:
        """A new take: nothing is known any more of what was handed out, or told to stop."""
        self._inherited = self._asked = True
        self._handout.rewind(self.plan)

    def inherit(self, live: Iterable[tuple[str, Path]]) -> None:
        """What the owner before has handed out and has not ended: what was stopped of it is waited for."""
        for job, path in live:
            at = self.plan.find(job, path)
            if at is not None:
                self._handout.inherit((at, path))

    def conclusion(self) -> tuple[Verdict, RunError | None, bool] | None:
        """(verdict, error, final): not final while there are hooks to run first. None: not yet, or recorded already."""
        verdict = self._verdict
        if verdict.over or verdict.held:
            return None
        if self.board.open or self._calls.open or self._handout.stops.unconfirmed:
            return None
        if verdict.fixed is not None:
            return verdict.fixed, verdict.first_failure, True
        judged = verdict.judged()
        return judged, verdict.error_for(judged), not self.plan.hooks.of(judged)

    # Looking ---------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        return self._verdict.state

    @property
    def error(self) -> RunError | None:
        """The first failure that counts; of a cancelled run, the reason."""
        return self._verdict.error

    def states(self) -> dict[str, str]:
        """Per job one state; `queued` may mean running, which only the Router knows."""
        return {detail.name: detail.state for detail in self.job_details() if not detail.hook}

    def counts(self) -> dict[str, int]:
        """How many instances are in which state, hooks and gates apart."""
        totals: dict[str, int] = {}
        for at in self.plan.jobs():
            for state, count in tally(self.board, at).items():
                totals[state] = totals.get(state, 0) + count
        return totals

    def job_details(self) -> list[JobDetail]:
        """Every job in the order of the definition, then grafted ones and hooks that were called."""
        attempts: dict[int, int] = {}
        for (at, _), known in self._attempts.items():
            attempts[at] = max(attempts.get(at, 1), known.attempt)
        return details_of(self.plan, self.board, attempts, self._reasons)

    def waits_for(self, job: str) -> list[str]:
        """The jobs that have to end before this one can start."""
        return waits_for(self.plan, self.board, job)

    def validate(self) -> None:
        """Counters agree with cells; what is handed out and has not ended is pending; what is over has nothing open."""
        self.board.validate()
        self._handout.validate()
        called = sum(self.board.state[at] in (READY, HANDED) for at in self.plan.every_hook())
        assert called == self._calls.open, f"{called} hooks are open, {self._calls.open} were counted"
        assert not self._verdict.over or not self.board.open, "a run that is over has nothing open"


def show(job: str, path: Path) -> str:
    """An instance, for people."""
    return f"{job!r}{list(path)}" if path else repr(job)
