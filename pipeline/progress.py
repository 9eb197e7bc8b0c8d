"""Progress: the machine that judges one run. Facts go in; attempts to start, instances to stop and the verdict come out.

It knows the definition and the facts, and nothing else: no clock, no queue, no value. Whoever replays the same facts sees
the same states of the same jobs: a Pipeliner that takes a run over, a client that shows it, the local engine. What it was
asked for meanwhile (`ready`, `halts`) only says what need not be told twice.

    facts ─> apply ─> board (who waits for whom)  ─> ready()       attempts that may start
                 ├──> attempts (budgets, delays)  ─> halts()       instances to be stopped
                 └──> policies, groups, hooks     ─> conclusion()  the verdict

Three rules are easy to miss. An instance that is stopped counts as ended at once, but what comes after it is held back
until it is confirmed dead. An outcome that comes after the stop is kept as a result and starts nothing. And `conclusion`
says what follows from the facts: whoever records it first makes sure that nothing of the run is queued or leased.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from .attempts import Attempts
from .board import Block, Board, Cell
from .definition import Definition
from .errors import DefinitionError, ProtocolError
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
from .graft import Grafting
from .hooks import hook_data
from .inputs import inputs_of
from .plan import HOOK, WHOLE_RUN, Plan
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
    worst,
)
from .task import Ready, Task, pack_task, unpack_task

RunState = Literal["waiting", "running", "cancelling", "success", "failed", "cancelled"]
MAX_BRANCHES = 1_000_000
"""A list with more elements than this is refused: it would be a mistake, and it would take the memory of everybody."""
_OWN_FAILURES = ("failed", "timeout", "expired", "store")


@dataclass(frozen=True, slots=True)
class JobDetail:
    """A job as people want to see it."""

    name: str
    worker: str
    state: str
    instances: dict[str, int]
    """How many instances are in which state."""
    attempts: int
    """The number of the last attempt of any instance."""
    reason: str | None
    """Why it failed or was skipped; of several instances the first."""
    hook: bool = False


class Progress:
    """One run. Not thread-safe; `apply` facts in their order, then ask."""

    def __init__(self, definition: Definition | Plan, run: str) -> None:
        self.run = run
        self.last = 0
        """The number of the last fact that was applied."""
        self.round = 0
        self.paused = False
        self._origin = 0
        self._held = False
        self._rewound = False
        self._asked = False
        self._halts: list[Cell] = []
        self._halted: dict[Cell, bool] = {}
        self._pending = 0
        self._begin(definition if isinstance(definition, Plan) else Plan(definition))

    def _begin(self, plan: Plan) -> None:
        """The state before any job of this round has ended."""
        self.plan = plan
        self.board = Board(plan)
        self._attempts: dict[Cell, Attempts] = {}
        self._signs: dict[Cell, Signs] = {}
        self._reasons: dict[int, str] = {}
        self._error: RunError | None = None
        self._failing = False
        self._cancel: str | None = None
        self._verdict: Verdict | None = None
        self._finished: Verdict | None = None
        self._stopping = 0
        self._aside: list[int | tuple[int, Path, int, int]] = []
        self._hooks_open = 0
        self._next_hook: dict[int, tuple[int, ...]] = {}
        self._hook_tasks: dict[int, bytes] = {}
        self._group_left = [len(group.members) for group in plan.groups]
        self._group_flags = [0] * len(plan.groups)
        self._groups_begun: set[int] = set()

    # Facts in --------------------------------------------------------------------------------------------------------

    def apply(self, sequence: int, fact: RunFact) -> None:
        """Take one fact. Repeats are harmless; an impossible fact raises `ProtocolError` and changes nothing."""
        if sequence <= self.last:
            return
        if fact.__class__ is Returned:
            if fact.kind == "success" and fact.signs is None and not fact.path and not self._attempts:
                plan, board = self.plan, self.board
                state = board.state
                at = plan.index.get(fact.job)
                if at is not None and plan.fast[at] and READY <= state[at] <= HANDED and fact.round == self.round:
                    self._succeed_fast(plan, board, state, at, sequence)
                    return
        self._apply(sequence, fact)
        self.last = sequence

    def _succeed_fast(self, plan: Plan, board: Board, state: bytearray, at: int, sequence: int) -> None:
        """The hot path: a job outside of branches has returned; only counters of such jobs are concerned."""
        if state[at] == HANDED:
            self._pending -= 1
        elif not self._asked:
            self._rewound = True
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
                    board.decide(child)

    def _apply(self, sequence: int, fact: RunFact) -> None:
        self.board.sequence = sequence
        match fact:
            case Accepted():
                self._origin = sequence
                self._held = not fact.active
            case Released():
                self._origin = sequence
                self._held = False
            case Cancelled():
                self._cancelled(fact)
            case Ending():
                self._ending(fact)
            case Finished():
                self._finish(fact)
            case Reopened():
                self._reopen(fact)
            case Paused():
                self.paused = fact.on
            case Returned():
                self._returned(sequence, fact)

    def _returned(self, sequence: int, fact: Returned) -> None:
        at, block, position = self._found(sequence, fact)
        if fact.round != self.round:
            return
        state, cell = block.state[position], (at, fact.path)
        known = self._attempts.get(cell)
        if state >= OPEN:
            self._late(block, position, cell, fact)
            return
        if fact.attempt < (known.attempt if known else 1):
            return
        self.board.sequence = sequence
        if state == HANDED:
            self._pending -= 1
        elif not self._asked:
            self._rewound = True
        if at in self.plan.groups_of:
            self._groups_begun.update(self.plan.groups_of[at])
        self._judge(block, position, cell, fact)
        if self.board.completed:
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
            raise ProtocolError(f"{where} ({fact.kind}), but {self._story(at, fact.path, state)}")
        return at, found[0], found[1]

    def _story(self, at: int, path: Path, state: int) -> str:
        """Why an instance cannot have returned."""
        if self.plan.is_hook(at):
            return "that hook was not called"
        if self.plan.nodes[at].kind == "gate":
            return "that is a gate, which does no work"
        parents = [self.plan.names[p] for p in self.plan.sources[at]]
        return f"it is {NAMES.get(state, 'absent')}: it comes after {', '.join(parents[:8])}, which have not all ended"

    # Judging an attempt ----------------------------------------------------------------------------------------------

    def _judge(self, block: Block, position: int, cell: Cell, fact: Returned) -> None:
        """An attempt that was under way has ended: done, tried again, or failed."""
        at, path = cell
        if fact.kind == "success":
            fact = self._checked(at, path, fact)
        if fact.kind == "success":
            self._attempts_seen(cell, fact)
            self._succeed(block, position, cell, fact.signs)
            return
        if fact.kind == "cancelled":
            self._attempts_seen(cell, fact)
            self._close(block, position, cell, CANCELLED)
            return
        known = self._attempts.setdefault(cell, Attempts())
        known.attempt = fact.attempt
        delay = known.again(fact, self.plan.nodes[at].retry, self.run)
        if delay is None:
            self._fail(block, position, cell, fact, known)
            return
        known.attempt = fact.attempt + 1
        known.after = self.board.sequence
        known.delay = delay
        block.state[position] = READY
        self._queue(block, position, cell)

    def _queue(self, block: Block, position: int, cell: Cell) -> None:
        at, path = cell
        entry = at if block is self.board.flat else (at, path[:-1], position, position + 1)
        self.board.queue.append(entry)

    def _attempts_seen(self, cell: Cell, fact: Returned) -> None:
        """Keep the number of the last attempt, when it is not the first."""
        if fact.attempt > 1:
            self._attempts.setdefault(cell, Attempts()).attempt = fact.attempt

    def _checked(self, at: int, path: Path, fact: Returned) -> Returned:
        """The fact, or that it failed: when its answer cannot be honoured."""
        problem = self._problem(at, path, fact.signs or Signs())
        if problem is None:
            return fact
        signs = Signs(invalid=problem)
        return msgspec.structs.replace(fact, kind="failed", signs=signs, error=None)

    def _problem(self, at: int, path: Path, signs: Signs) -> str | None:
        plan = self.plan
        if signs.invalid is not None:
            return signs.invalid
        if signs.skip is not None:
            return None
        if plan.nodes[at].spread:
            if signs.spread is None or signs.spread < 0:
                return "its result is not a list, and it spreads"
            if signs.spread > MAX_BRANCHES:
                return f"its list has {signs.spread} elements, and {MAX_BRANCHES} is the most that can be spread"
        for key in plan.report.get(at, ()):
            if key not in signs.keys:
                return f"its result has no {key!r}, by which a gather after it groups"
        if signs.chosen is not None:
            children = self._children(at)
            for name in signs.chosen:
                if name not in children:
                    return f"it chose {name!r}, which does not come right after it; what does: {sorted(children)}"
        if signs.graft is not None and plan.is_hook(at):
            return "a hook cannot graft: its run is over"
        if signs.graft is not None:
            try:
                self._grafting = Grafting(plan, at, path, signs.graft)
            except DefinitionError as error:
                return f"its graft cannot be: {error}"
        return None

    def _children(self, at: int) -> dict[str, int]:
        plan = self.plan
        return {plan.names[plan.grouped.get(child, child)]: child for child, _ in plan.out[at]} | {
            plan.names[plan.grouped.get(gather, gather)]: gather for gather, _ in plan.gathers.get(at, ())
        }

    def _succeed(self, block: Block, position: int, cell: Cell, signs: Signs | None) -> None:
        code, board = SUCCESS, self.board
        if signs is not None and signs != _NOTHING:
            self._signs[cell] = signs
            if signs.chosen is not None:
                children = self._children(cell[0])
                board.chosen[cell] = frozenset(children[name] for name in signs.chosen)
            if signs.keys:
                board.keys[cell] = {key: signs.keys[key] for key in self.plan.report.get(cell[0], ())}
            if signs.skip is not None:
                code = SKIPPED
                self._reasons.setdefault(cell[0], signs.skip)
            elif signs.graft is not None:
                self._graft()
            if signs.spread is not None and self.plan.nodes[cell[0]].spread:
                board.open_branches(*cell, signs.spread)
        self._close(block, position, cell, code)

    def _graft(self) -> None:
        """Put the grafted jobs in before the end of their grafter is carried on: what they precede still waits."""
        if self.plan is self.board.plan and not self.plan.forked:
            self.plan = self.board.plan = self.plan.fork()
            self.board.own(self.plan)
        self._grafting.carry_out(self.plan, self.board)

    def _close(self, block: Block, position: int, cell: Cell, code: int) -> None:
        """The end of an instance, of a job or of a hook."""
        if self.plan.is_hook(cell[0]):
            self._hook_ended(cell[0], code)
        else:
            self.board.end(block, position, *cell, code)

    def _fail(self, block: Block, position: int, cell: Cell, fact: Returned, known: Attempts) -> None:
        """No attempt is left."""
        at, path = cell
        node = self.plan.nodes[at]
        reason = known.reason(fact, node.timeout, node.queue_timeout)
        self._reasons.setdefault(at, reason)
        if self.plan.is_hook(at):
            self._hook_ended(at, FAILED)
            return
        if self.plan.policy[at] == "continue":
            self.board.end(block, position, at, path, CONTINUED)
            return
        self.board.end(block, position, at, path, LOST if fact.kind == "lost" else FAILED)
        if self._escalate(at) and self._error is None:
            trace = fact.error.traceback if fact.error is not None else ""
            self._error = RunError(fact.job, path, reason, trace, fact.kind)

    def _escalate(self, at: int) -> bool:
        """Stop what the failure stops: of its group, of the groups around it, of the run. Is the run's verdict affected?"""
        policy, domain = self.plan.policy[at], self.plan.domain[at]
        while policy == "fail":
            if domain == WHOLE_RUN:
                self._failing = True
                self._stop(self.board.stop(None, everything=False))
                return True
            group = self.plan.groups[domain]
            self._stop(self.board.stop(group.members, everything=False))
            policy, domain = group.policy, group.domain
        return policy != "continue"

    # Stopping --------------------------------------------------------------------------------------------------------

    def _stop(self, met: Iterable[tuple[Cell, int]]) -> None:
        """These were ready or handed out: whoever may have them has to be told. After a change of owner that is anybody."""
        for cell, state in met:
            handed = state == HANDED
            if handed or self._rewound:
                self._halted[cell] = handed
                self._stopping += handed
                self._halts.append(cell)

    def _late(self, block: Block, position: int, cell: Cell, fact: Returned) -> None:
        """An outcome of an instance that has been judged already: of a stopped one, its end is confirmed."""
        handed = self._halted.pop(cell, None)
        if handed:
            self._pending -= 1
            self._stopping -= 1
            self.board.queue.extend(self._aside)
            self._aside.clear()
        if block.state[position] != CANCELLED or self.plan.is_hook(cell[0]):
            return
        self._attempts_seen(cell, fact)
        if fact.kind == "success":
            block.state[position] = SUCCESS
            if fact.signs is not None:
                self._signs[cell] = fact.signs
        elif fact.kind in _OWN_FAILURES:
            block.state[position] = FAILED

    def _cancelled(self, fact: Cancelled) -> None:
        if self._finished is not None or self._cancel is not None:
            return
        self._cancel = fact.reason
        if self._verdict is not None:
            self._stop_hooks()
            return
        self._held = False
        self._stop(self.board.stop(None, everything=True))
        self._let_go()
        if self.board.completed:
            self._end_groups()

    def _let_go(self) -> None:
        """After a cancel the Router alone knows what it still holds: an Enqueue that crossed the cancel was refused."""
        self._pending -= self._stopping
        self._stopping = 0
        self._halted = dict.fromkeys(self._halted, False)
        self.board.queue.extend(self._aside)
        self._aside.clear()

    def _stop_hooks(self) -> None:
        for at in range(self.plan.first_hook, self.plan.end_hooks):
            state = self.board.state[at]
            if state in (READY, HANDED):
                self._stop([((at, ()), state)])
                self._next_hook.pop(at, None)
                self._hook_ended(at, CANCELLED)

    # Groups, hooks and the end ---------------------------------------------------------------------------------------

    def _end_groups(self) -> None:
        """Members have ended; a group whose last member has ended runs its hooks, when it had begun at all."""
        completed, self.board.completed = self.board.completed, []
        for at, flags in completed:
            for g in self.plan.groups_of[at]:
                self._group_left[g] -= 1
                self._group_flags[g] |= flags
                if not self._group_left[g] and g in self._groups_begun:
                    self._call_hooks(self.plan.groups[g].hooks.of(self._group_verdict(g)), self._group_verdict(g))

    def _group_verdict(self, g: int) -> str:
        flags = self._group_flags[g]
        if flags & 1:
            return "failed"
        return "cancelled" if flags & 8 else "success"

    def _call_hooks(self, chains: Iterable[tuple[int, ...]], verdict: str) -> None:
        error = self._told_error(verdict)
        for chain in chains:
            for at in chain:
                node = self.plan.nodes[at]
                task = msgspec.structs.replace(self.plan.task(at), data=hook_data(node.data, verdict, error))
                self._hook_tasks[at] = pack_task(task)
            self._next_hook[chain[0]] = chain[1:]
            self._call_hook(chain[0])

    def _told_error(self, verdict: str) -> RunError | None:
        if verdict == "cancelled" and self._cancel is not None:
            return RunError(None, (), self._cancel, "", "cancelled")
        return self._error if verdict != "success" else None

    def _call_hook(self, at: int) -> None:
        self._hooks_open += 1
        self.board.state[at] = READY
        self.board.wait[at] = -self.board.sequence
        self.board.queue.append(at)

    def _hook_ended(self, at: int, code: int) -> None:
        """A hook's failure is shown and changes nothing; the next of its chain follows in any case."""
        self.board.state[at] = code
        self._hooks_open -= 1
        rest = self._next_hook.pop(at, ())
        if rest:
            self._next_hook[rest[0]] = rest[1:]
            self._call_hook(rest[0])

    def _ending(self, fact: Ending) -> None:
        if self._verdict is not None:
            return
        if self.board.open:
            self._stop(self.board.stop(None, everything=True))
        self._verdict = fact.verdict
        self._error = fact.error
        self._call_hooks(self.plan.hooks.of(fact.verdict), fact.verdict)

    def _finish(self, fact: Finished) -> None:
        if self.board.open:
            self._stop(self.board.stop(None, everything=True))
        self._verdict = self._finished = fact.verdict
        self._error = fact.error
        self._held = False
        self.board.queue.clear()

    def _reopen(self, fact: Reopened) -> None:
        """A new round: what succeeded, with everything above it, stays; all the rest waits again."""
        if fact.round <= self.round:
            return
        board, plan, signs = self.board, self.plan, self._signs
        self.round = fact.round
        self._origin = self.board.sequence
        self._halted.clear()
        self._halts.clear()
        self._pending = 0
        self._rewound = True
        original = Plan(plan.definition) if plan.forked else plan
        self._begin(original)
        self.board.sequence = self._origin
        kept = ((cell, signs.get(cell)) for cell in _succeeded(plan, board, signs))
        self._replay({(plan.names[at], path): known for (at, path), known in kept})

    def _replay(self, kept: dict[tuple[str, Path], Signs | None]) -> None:
        """End at once, again, whatever was kept and is ready; the rest of what is ready stays so."""
        board, rest = self.board, []
        while board.queue:
            for cell, block, position in self._cells(board.queue.popleft()):
                name = self.plan.names[cell[0]]
                if (name, cell[1]) not in kept:
                    rest.append((block, position, cell))
                    continue
                known = kept[name, cell[1]]
                if known is not None and self._problem(*cell, known) is not None:
                    rest.append((block, position, cell))
                else:
                    self._succeed(block, position, cell, known)
        for block, position, cell in rest:
            self._queue(block, position, cell)
        for at in self.plan.groups_of:
            if any(name == self.plan.names[at] for name, _ in kept):
                self._groups_begun.update(self.plan.groups_of[at])
        if board.completed:
            self._end_groups()

    def _cells(self, entry: int | tuple[int, Path, int, int]) -> Iterator[tuple[Cell, Block, int]]:
        board = self.board
        if isinstance(entry, int):
            yield (entry, self.plan.base.get(entry, ())), board.flat, entry
            return
        at, above, first, end = entry
        block = board.blocks[at, above]
        for position in range(first, end):
            yield (at, (*above, position)), block, position

    # Work out --------------------------------------------------------------------------------------------------------

    def ready(self, limit: int | None = None) -> list[Ready]:
        """Attempts that may start now and were not handed out yet."""
        self._asked = True
        found: list[Ready] = []
        board, queue = self.board, self.board.queue
        if self._held:
            return found
        room = len(board.state) + MAX_BRANCHES if limit is None else limit
        while queue and len(found) < room:
            entry = queue.popleft()
            if self._stopping and self._awaits_stop(entry if isinstance(entry, int) else entry[0]):
                self._aside.append(entry)
            elif isinstance(entry, int):
                if board.state[entry] == READY:
                    board.state[entry] = HANDED
                    found.append(self._attempt(entry, self.plan.base.get(entry, ()), board.flat, entry))
            else:
                self._hand_out(entry, room, found)
        self._pending += len(found)
        return found

    def _hand_out(self, entry: tuple[int, Path, int, int], room: int, found: list[Ready]) -> None:
        """Attempts of a range of branches; what does not fit stays first in the queue."""
        at, above, first, end = entry
        block = self.board.blocks[at, above]
        for position in range(first, end):
            if len(found) >= room:
                self.board.queue.appendleft((at, above, position, end))
                return
            if block.state[position] == READY:
                block.state[position] = HANDED
                found.append(self._attempt(at, (*above, position), block, position))

    def _attempt(self, at: int, path: Path, block: Block, position: int) -> Ready:
        plan = self.plan
        name, worker, task, inputs, needs = plan.kits[at] or plan.kit(at)
        if inputs is None or block.flags[position]:
            inputs = inputs_of(plan, self.board, at, path)
        known = self._attempts.get((at, path)) if self._attempts else None
        after = -block.wait[position] or self._origin
        if known is not None and known.after:
            return Ready(name, path, known.attempt, worker, task, inputs, needs, known.after, known.delay, self.round,
                         plan.is_hook(at))  # fmt: skip
        if self._hook_tasks and at in self._hook_tasks:
            return Ready(name, path, 1, worker, self._hook_tasks[at], inputs, needs, after, 0.0, self.round, True)
        return Ready(name, path, 1, worker, task, inputs, needs, after, 0.0, self.round)

    def _awaits_stop(self, at: int) -> bool:
        """Is something above it being stopped, and not confirmed dead yet?"""
        stopping = {cell[0] for cell, handed in self._halted.items() if handed}
        seen: set[int] = set()
        above = list(self.plan.parents[at])
        while above:
            one = above.pop()
            if one in stopping:
                return True
            if one not in seen:
                seen.add(one)
                above.extend(self.plan.parents[one])
        return False

    def pending(self) -> int:
        """How many attempts were handed out and have not ended."""
        return self._pending

    def has_ready(self) -> bool:
        board, queue = self.board, self.board.queue
        while queue and not self._held:
            entry = queue[0]
            if self._stopping and self._awaits_stop(entry if isinstance(entry, int) else entry[0]):
                self._aside.append(queue.popleft())
            elif isinstance(entry, int):
                if board.state[entry] == READY:
                    return True
                queue.popleft()
            else:
                at, above, first, end = entry
                state = board.blocks[at, above].state
                first = next((one for one in range(first, end) if state[one] == READY), end)
                queue.popleft()
                if first < end:
                    queue.appendleft((at, above, first, end))
                    return True
        return False

    def halts(self) -> list[tuple[str, Path]]:
        """Instances that have to be stopped wherever they are, each told once per take."""
        halts, self._halts = self._halts, []
        return [(self.plan.names[at], path) for at, path in halts if (at, path) in self._halted]

    def rewind(self) -> None:
        """A new take: nothing is known any more of what was handed out or told to stop."""
        self._rewound = self._asked = True
        self._pending = self._stopping = 0
        self._halted = dict.fromkeys(self._halted, False)
        self._halts = list(self._halted)
        self.board.queue.extend(self._aside)
        self._aside.clear()
        for at in self._all_nodes():
            for path, block, position in self.board.instances(at):
                if block.state[position] == HANDED:
                    block.state[position] = READY
                    self._queue(block, position, (at, path))

    def _all_nodes(self) -> range:
        return range(len(self.plan.nodes))

    def conclusion(self) -> tuple[Verdict, RunError | None, bool] | None:
        """(verdict, error, final): not final while there are hooks to run first. None: not yet, or recorded already."""
        if self._finished is not None or self.board.open or self._hooks_open or self._held:
            return None
        if self._stopping:
            return None
        if self._verdict is not None:
            return self._verdict, self._error, True
        verdict = self._judged()
        error = self._told_error(verdict)
        return verdict, error, not self.plan.hooks.of(verdict)

    def _judged(self) -> Verdict:
        if self._cancel is not None and not self._failing:
            return "cancelled"
        if self._error is not None:
            return "failed"
        stopped = (
            any(CANCELLED in self.board.tally(at) for at in self.plan.jobs()) if self.board.stopped_nodes else False
        )
        return "cancelled" if stopped else "success"

    # Looking ---------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        if self._finished is not None:
            return self._finished
        if self._cancel is not None and self._verdict in (None, "cancelled") and not self._failing:
            return "cancelling"
        return "waiting" if self._held else "running"

    @property
    def error(self) -> RunError | None:
        """The first failure that counts; of a cancelled run, the reason."""
        if self._error is not None or self._cancel is None:
            return self._error
        return RunError(None, (), self._cancel, "", "cancelled")

    def states(self) -> dict[str, str]:
        """Per job one state; `queued` may mean running, which only the Router knows."""
        return {detail.name: detail.state for detail in self.job_details() if not detail.hook}

    def counts(self) -> dict[str, int]:
        """How many instances are in which state, hooks and gates apart."""
        totals: dict[str, int] = {}
        for at in self.plan.jobs():
            for state, count in self._tally(at).items():
                totals[state] = totals.get(state, 0) + count
        return totals

    def job_details(self) -> list[JobDetail]:
        """Every job in the order of the definition, then grafted ones and hooks that were called."""
        attempts = self._last_attempts()
        details: dict[str, JobDetail] = {}
        for at in (*self.plan.jobs(), *range(self.plan.first_hook, self.plan.end_hooks)):
            hook = self.plan.is_hook(at)
            if hook and self.board.state[at] == ABSENT:
                continue
            detail = self._detail(at, attempts.get(at, 1), hook)
            known = details.get(detail.name)
            details[detail.name] = detail if known is None else _merged(known, detail)
        return list(details.values())

    def _detail(self, at: int, attempts: int, hook: bool) -> JobDetail:
        instances = self._tally(at)
        begun = any(instances.get(state) for state in ("success", "failed", "lost"))
        node = self.plan.nodes[at]
        more = {"waiting": 1} if self._may_grow(at) else {}
        return JobDetail(
            name=self.plan.names[at],
            worker=node.worker_name,
            state=worst({**more, **instances}),
            instances=instances,
            attempts=attempts if begun or attempts > 1 else 0,
            reason=self._reasons.get(at),
            hook=hook,
        )

    def _tally(self, at: int) -> dict[str, int]:
        named: dict[str, int] = {}
        for code, count in self.board.tally(at).items():
            name = NAMES[code]
            named[name] = named.get(name, 0) + count
        return named

    def _may_grow(self, at: int) -> bool:
        """May a job of branches still get instances?"""
        if self.plan.is_single(at):
            return False
        for opener in self.plan.scope[at]:
            if any(code < OPEN for code in self.board.tally(opener)):
                return True
        return False

    def _last_attempts(self) -> dict[int, int]:
        last: dict[int, int] = {}
        for (at, _), known in self._attempts.items():
            last[at] = max(last.get(at, 1), known.attempt)
        return last

    def validate(self) -> None:
        """The invariants, in words: counters agree with cells; what is handed out and open is pending; what waits is
        not ready; a run that is over has nothing open."""
        self.board.validate()
        handed = sum(
            block.state[position] == HANDED
            for at in self._all_nodes()
            for _, block, position in self.board.instances(at)
        )
        assert self._pending == handed + sum(self._halted.values()), (self._pending, handed, self._halted)
        assert self._stopping == sum(self._halted.values()), (self._stopping, self._halted)
        assert self._finished is None or not self.board.open, "a finished run has nothing open"
        hooks = range(self.plan.first_hook, self.plan.end_hooks)
        called = sum(self.board.state[at] in (READY, HANDED) for at in hooks)
        assert self._finished is not None or called == self._hooks_open, (called, self._hooks_open)


_NOTHING = Signs()


def _succeeded(plan: Plan, board: Board, signs: dict[Cell, Signs]) -> Iterator[Cell]:
    """Instances whose attempt returned well: a job that answered `Skip` has done what it was asked."""
    for at in plan.jobs():
        for path, block, position in board.instances(at):
            state, known = block.state[position], signs.get((at, path))
            if state == SUCCESS or (state == SKIPPED and known is not None and known.skip is not None):
                yield at, path


def _merged(one: JobDetail, other: JobDetail) -> JobDetail:
    """Jobs of one name that were grafted at several places."""
    instances = {
        state: one.instances.get(state, 0) + other.instances.get(state, 0)
        for state in {*one.instances, *other.instances}
    }
    state = worst({one.state: 1, other.state: 1})
    attempts = max(one.attempts, other.attempts)
    return JobDetail(one.name, one.worker, state, instances, attempts, one.reason or other.reason, one.hook)


def show(job: str, path: Path) -> str:
    return f"{job!r}{list(path)}" if path else repr(job)


__all__ = ["HOOK", "MAX_BRANCHES", "JobDetail", "Plan", "Progress", "Ready", "Task", "show", "unpack_task"]
