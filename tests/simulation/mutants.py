"""The proof of the proof: one guard of the machines is removed, and the simulator has to notice.

A mutant is a change of a real class for the time of a search. The search lives through seeds until a promise is broken;
what nobody notices in all of them has escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headrace.daemons import charges
from headrace.daemons.dispatch import (
    admission,
    aisles,
    below,
    cluster,
    leasing,
    promises,
    queues,
    runs,
    tracking,
)
from headrace.daemons.dispatch import machine as dispatch
from headrace.pipeline import attempts, board, graft, progress, stops, windows

from . import changes, of_brokers, of_runs, processes
from .changes import Change
from .drawing import draw
from .violation import Violation
from .world import World


@dataclass(frozen=True)
class Mutant:
    name: str
    paragraph: str
    """Where PROTOCOL has the rule,"""
    guards: str
    """and what it says."""
    changes: Callable[[], list[Change]]


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    changes = mutant.changes()
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, change in changes:
        setattr(owner, name, change)
    try:
        yield
    finally:
        for owner, name, was in before:
            setattr(owner, name, was)


def search(mutant: Mutant, first: int, seeds: int) -> tuple[int, Violation | None]:
    """(seeds that were needed, what was noticed). What is broken without the mutant, too, does not count."""
    for number in range(seeds):
        with applied(mutant):
            violation = _live(first + number)
        if violation is not None and _live(first + number) is None:
            return number + 1, violation
    return seeds, None


def _live(seed: int) -> Violation | None:
    try:
        World(draw(seed)).run()
    except Violation as violation:
        return violation
    return None


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "an ended instance is adopted",
        "Epoch, lease, adoption",
        "adopted unless its instance has ended",
        of_brokers.adopt_ended,
    ),
    Mutant(
        "a leased instance is adopted",
        "Epoch, lease, adoption",
        "adopted unless it is leased again",
        of_brokers.adopt_twice,
    ),
    Mutant("a lease of another round is adopted", "Rounds", "rounds", of_brokers.adopt_any_round),
    Mutant(
        "nothing is adopted",
        "Epoch, lease, adoption",
        "running jobs are kept",
        lambda: [(leasing.Leasing, "_adopt", changes.false)],
    ),
    Mutant(
        "no wait after a restart",
        "Epoch, lease, adoption",
        "until all are back",
        lambda: [(leasing.Leasing, "_leasable", changes.true)],
    ),
    Mutant(
        "verdicts during the wait",
        "Epoch, lease, adoption",
        "confirmed dead",
        lambda: [(leasing.Leasing, "may_run_elsewhere", changes.false)],
    ),
    Mutant(
        "lease numbers begin anew",
        "Epoch, lease, adoption",
        "every grant gets a new lease number",
        of_brokers.one_epoch,
    ),
    Mutant(
        "sent before the commit",
        "Commit",
        "effects are held until their batch is committed",
        of_runs.send_before_commit,
    ),
    Mutant(
        "noted before the commit",
        "Commit",
        "effects are held until their batch is committed",
        of_runs.note_before_commit,
    ),
    Mutant("any take may speak", "Pipeliners", "a run's owner is named by a take number", of_runs.any_take),
    Mutant("a verdict of the past", "Pipeliners", "Finish is compare-and-set", of_runs.conclude_unseen),
    Mutant("a verdict over living jobs", "Ending", "every leased attempt is confirmed dead", of_runs.conclude_alive),
    Mutant(
        "an unlisted lease is renewed",
        "Level-triggered",
        "one missing goes back to the queue",
        of_brokers.renew_unlisted,
    ),
    Mutant(
        "what has not arrived is missing",
        "Level-triggered",
        "behind an acknowledged number",
        of_brokers.requeue_unarrived,
    ),
    Mutant("a kill is said once", "Level-triggered", "heartbeats repeat kills", of_brokers.no_repeated_kill),
    Mutant("an outcome is told once", "Level-triggered", "outcomes not yet acknowledged", of_brokers.forget_on_telling),
    Mutant(
        "leases from the answer's arrival",
        "Leases in time",
        "from its own stamp on the heartbeat",
        of_brokers.stale_stamp,
    ),
    Mutant(
        "no lapse",
        "Leases in time",
        "the Broker kills at 7 s",
        of_brokers.no_lapse,
    ),
    Mutant(
        "the warden sleeps",
        "Leases in time",
        "the warden holds the deadlines",
        lambda: [(processes.Pool, "end_late", changes.nothing)],
    ),
    Mutant("an enqueue from before the cancel", "Pipeliners", "control number", of_runs.old_control),
    Mutant(
        "ended instances are queued again",
        "Pipeliners",
        "an Enqueue for an instance that has ended is dropped",
        of_brokers.no_unseen,
    ),
    Mutant("gaps are not noticed", "Level-triggered", "messages per peer are numbered", of_brokers.hide_gaps),
    Mutant("grants on their way are forgotten", "Level-triggered", "by credit", of_brokers.more_credit),
    Mutant("an overtaken Hello is believed", "Level-triggered", "the whole state, as it is now", of_brokers.late_hello),
    Mutant(
        "the Router's absence is silence",
        "Leases in time",
        "attempts lost because the Router was away",
        of_brokers.away_is_silence,
    ),
    Mutant("fences are ignored", "Stores and values", "compare-and-set on the fence", of_brokers.no_fence),
    Mutant(
        "a value after its outcome",
        "Stores and values",
        "synced before its outcome leaves the Broker",
        of_runs.value_later,
    ),
    Mutant(
        "deaths are charged to who waits",
        "Budgets",
        "process deaths count for the job that was executing",
        of_brokers.unread_is_lost,
    ),
    Mutant("the head is taken back", "Prefetch", "only after the process confirmed", of_brokers.take_back_the_head),
    Mutant("no quarantine", "Budgets", "quarantine after 3", lambda: [(attempts, "DEATHS", 10**6)]),
    Mutant(
        "requests are carried out again",
        "Requests",
        "repeating a request returns the first answer",
        of_runs.repeat_after_all,
    ),
    Mutant("remembered before the commit", "Requests", "answers that changed state", of_runs.remember_too_early),
    Mutant(
        "ended runs are accepted again",
        "Requests",
        "repeating a submit is harmless for ever",
        of_runs.requests_run_anew,
    ),
    Mutant("limits are not kept", "DESIGN 4", "limit slots", lambda: [(queues.Queues, "limits_free", changes.true)]),
    Mutant("paused runs go on", "DESIGN 4", "pause", lambda: [(runs.OpenRun, "blocked", changes.false)]),
    Mutant(
        "silent Brokers stay",
        "Leases in time",
        "dead peers are noticed",
        lambda: [(leasing.Leasing, "lose_silent", changes.nothing)],
    ),
    Mutant(
        "silent Pipeliners stay",
        "Leases in time",
        "dead peers are noticed",
        lambda: [(tracking.Tracking, "lose_silent", changes.nothing)],
    ),
    Mutant("the wait is too short", "Leases in time", "the Router hands on at 9 s", of_runs.hand_on_early),
    Mutant(
        "news of the take before",
        "Pipeliners",
        "a new session",
        lambda: [(charges.Charges, "await_takes", changes.nothing)],
    ),
    Mutant(
        "a new owner waits for nothing",
        "Ending",
        "a clean-up is held back",
        lambda: [(stops.Stops, "inherit", changes.false)],
    ),
    Mutant(
        "a verdict is said once",
        "Pipeliners",
        "the Router's answers may be lost",
        lambda: [(charges.Charges, "repeat", changes.nothing)],
    ),
    Mutant(
        "a lapsed lease is adopted",
        "Epoch, lease, adoption",
        "others may have been given its work",
        of_brokers.lapsed_counts,
    ),
    Mutant(
        "what has lapsed is taken for dead",
        "Epoch, lease, adoption",
        "or lease + margin has passed",
        of_brokers.lapsed_is_dead,
    ),
    Mutant("work starts without a lease", "Leases in time", "nothing starts on a stale stamp", of_brokers.works_lapsed),
    Mutant(
        "durations by the wall clock", "Time", "within an epoch only the monotonic one counts", of_brokers.by_the_wall
    ),
    Mutant("delays are forgotten", "Time", "not before this fact + d", of_runs.no_delay),
    Mutant(
        "a lost Broker is a failure", "Budgets", "loss of a Broker has a budget of its own", of_brokers.loss_is_failure
    ),
    Mutant("everything is charged", "Budgets", "lease kills count nowhere", of_brokers.all_is_charged),
    Mutant(
        "hooks of a group beside its jobs", "Ending", "then hooks run", lambda: [(stops.Stops, "above", changes.false)]
    ),
    Mutant(
        "hooks beside what a cancel stops",
        "Ending",
        "then hooks run",
        lambda: [(runs.OpenRun, "has_jobs", changes.false)],
    ),
    Mutant("a Take leaves facts out", "Pipeliners", "Takes are streamed", of_runs.forgets_the_backlog),
    Mutant("the window is not kept", "Pipeliners", "a window per run", of_runs.any_window),
    Mutant("any number of runs", "Pipeliners", "a global cap", changes.rules(open_runs=10**9)),
    Mutant(
        "watchers are told too early", "Watching", "facts, gap-free and replayable", of_runs.tells_watchers_too_early
    ),
    Mutant(
        "values go before their run", "Stores and values", "goes after its prune is committed", of_runs.values_go_first
    ),
    Mutant("a drained Broker works on", "Budgets", "stops and drains", of_brokers.drained_in_vain),
    Mutant("a recall is taken for its answer", "Prefetch", "only HandedBack frees it", of_brokers.recall_is_enough),
    Mutant(
        "a graft before anything",
        "Judgement",
        "only before descendants of the grafter",
        lambda: [(graft, "descendants", of_runs.below_everything)],
    ),
    Mutant(
        "any answer is honoured",
        "Judgement",
        "an invalid answer is a failure without retry",
        lambda: [(progress, "problem_of", changes.nothing)],
    ),
    Mutant(
        "a graft holds nobody up",
        "Judgement",
        "put before others",
        lambda: [(board.Board, "put_before", changes.nothing)],
    ),
    Mutant(
        "a retry does everything anew",
        "Rounds",
        "what did not succeed, and what depends on it",
        lambda: [(progress.Progress, "_kept", lambda self: {})],
    ),
    Mutant(
        "a key holds nobody off",
        "Requests",
        "key is unique among runs not pruned",
        lambda: [(admission.Admission, "_holder", changes.nothing)],
    ),
    Mutant(
        "resources are not counted",
        "DESIGN 4",
        "only Brokers that have the resources",
        lambda: [(aisles, "_has_room", changes.true)],
    ),
    Mutant(
        "the disk is never full",
        "Commit",
        "the Router takes no new facts",
        lambda: [(dispatch.Dispatch, "stall", changes.nothing)],
    ),
    Mutant(
        "a Broker that was given up is believed",
        "Epoch, lease, adoption",
        "the journal keeps which Brokers are registered",
        of_brokers.believes_the_given_up,
    ),
    Mutant(
        "work is handed on before that is on disk",
        "Commit",
        "nothing derived from an unsynced fact leaves",
        lambda: changes.rests_on_nothing(leasing.Leasing, "_write_off")() + of_brokers.hello_of_before(),
    ),
    Mutant(
        "results below are collected too early",
        "Commit",
        "nothing derived from an unsynced fact leaves",
        changes.rests_on_nothing(below.Below, "_collect"),
    ),
    Mutant(
        "grants come after a new greeting",
        "Level-triggered",
        "the whole state, as it is now",
        lambda: [(cluster.Cluster, "let_go", changes.nothing)],
    ),
    Mutant(
        "grants overtake others that wait for the disk",
        "Level-triggered",
        "one missing behind an acknowledged number",
        of_brokers.overtakes_what_waits,
    ),
    Mutant("a cancel stays above", "Sub-runs", "a cancel flows down", of_runs.cancels_above_only),
    Mutant("a pause stays above", "Sub-runs", "a pause flows down", of_runs.pauses_above_only),
    Mutant("a timeout stays above", "Sub-runs", "a job's timeout is its run's deadline", of_runs.time_is_above_only),
    Mutant("a priority stays above", "Sub-runs", "priority flows down to sub-runs", of_runs.priority_is_above_only),
    Mutant(
        "sub-runs are not found after a restart",
        "Sub-runs",
        "a sub-run stands below its job again",
        lambda: [(below.Below, "restore", changes.nothing)],
    ),
    Mutant(
        "a sub-run's end counts for every attempt", "Sub-runs", "a sub-run is its attempt", of_runs.any_attempts_run
    ),
    Mutant("a sub-run that succeeded goes on", "Rounds", "one committed attempt per instance", of_runs.opens_again),
    Mutant("the warden's kills are charged", "Budgets", "lease kills count nowhere", of_brokers.warden_is_charged),
    Mutant(
        "nothing is held for large needs",
        "Promises",
        "nothing starves",
        lambda: [(promises.Promises, "look", changes.nothing)],
    ),
    Mutant(
        "windows go on behind a failure",
        "Judgement",
        "a pure function of definition and facts",
        lambda: [(windows, "_is_broken", changes.false)],
    ),
    Mutant(
        "a greeting of before a restart is believed",
        "Epoch, lease, adoption",
        "until all are back, what this epoch knows counts",
        of_brokers.hello_of_before,
    ),
    Mutant(
        "a dropped run is given without its definition", "Pipeliners", "Takes are streamed", of_runs.drops_that_cross
    ),
    Mutant(
        "an outcome is refused while it is looked up",
        "Epoch, lease, adoption",
        "each is adopted unless its instance has ended",
        of_brokers.lookups_are_over,
    ),
    Mutant(
        "what comes after a gap counts", "Level-triggered", "messages per peer are numbered", of_brokers.gaps_are_over
    ),
)
