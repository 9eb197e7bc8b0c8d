"""The judgement of a run that is over: did it go as its definition says?"""

from __future__ import annotations

from headrace.pipeline.facts import Finished, Path

from .history import PREPARES, Begun, History, Round, RunView, Violation
from .meaning import WHOLE_RUN, Meaning
from .scenario import RunSpec

CALLED = {"success": {"success", "always"}, "failed": {"failure", "always"}, "cancelled": {"always"}}
"""The hooks of every way to end."""


def check(spec: RunSpec, view: RunView, history: History) -> None:
    """Raises `Violation` when it did not."""
    meaning: Meaning | None = None
    for one in view.rounds:
        meaning = Meaning(spec, one, meaning)
        if _waited_in_vain(view, one):
            _check_after(view, one, history)
        elif one.finished is not None:
            _check_round(meaning, view, one.finished, history)


def _check_round(meaning: Meaning, run: RunView, finished: Finished, history: History) -> None:
    _note(meaning, history)
    expected = meaning.verdict()
    if finished.verdict != expected:
        raise Violation("G3 verdict", f"run {run.id} ended {finished}, and its facts say {expected}")
    _check_error(meaning, run, finished)
    _check_begun(meaning, run, history)
    _check_hooks(meaning, run, finished)
    for g in range(len(meaning.definition.groups)):
        _check_group(meaning, run, g, history)
    if meaning.view.cancelled:
        return
    open_ones = [(at, path) for at, path in meaning.instances() if meaning.state(at, path).state == "open"]
    if open_ones:
        raise Violation("G7 everything runs", f"run {run.id} ended {finished.verdict} without {open_ones}")


def _note(meaning: Meaning, history: History) -> None:
    """For the table of what has happened."""
    if meaning.grafted:
        history.note("a graft was put into its run")
    if any(g != WHOLE_RUN for g in meaning.stops):
        history.note("a group failed as a whole")
    for at, node in enumerate(meaning.nodes):
        if node.spread:
            history.note("lists of 0, 1, 2, 3, 4 branches")
        if node.gather is not None and any(True for _ in meaning.places(at)):
            by = "by key" if node.gather.by else "in windows" if node.gather.size else "all"
            history.note(f"a gather: {by}" + (", one level" if node.gather.level else ""))


def _waited_in_vain(view: RunView, one: Round) -> bool:
    """It never began, because of a run that it was to come after."""
    error = one.finished.error if one.finished is not None else None
    return bool(view.options.after) and error is not None and error.reason.startswith("it waits for run")


def _check_after(view: RunView, one: Round, history: History) -> None:
    history.note("a run that waited in vain for another one")
    known = [history.runs[name] for name in view.options.after if name in history.runs]
    ends = [end.finished for run in known for end in run.rounds if end.finished and end.finished_seq < one.finished_seq]
    if one.returned or any(end is not None and end.verdict == "success" for end in ends):
        raise Violation("after", f"run {view.id} has {view.rounds}; it came after {ends}")


def _check_error(meaning: Meaning, run: RunView, finished: Finished) -> None:
    error = finished.error
    if (finished.verdict == "success") != (error is None):
        raise Violation("G3 verdict", f"run {run.id}: {finished}")
    if finished.verdict == "failed" and error is not None:
        at = meaning.find(str(error.job), error.path)
        if at is None or meaning.own_end(at, error.path).state != "failed":
            raise Violation("G3 verdict", f"run {run.id} failed of {error}, which has not failed")


def _check_begun(meaning: Meaning, run: RunView, history: History) -> None:
    """Everything that ever began was allowed to, when it did."""
    cells = set(meaning.instances())
    for (name, round, job, path), leases in history.leases_of.items():
        if name != run.id or round != meaning.view.number or job.startswith(("hook:", PREPARES)):
            continue
        at = meaning.find(job, path)
        if at is None or (at, path) not in cells or meaning.nodes[at].kind == "gate":
            raise Violation("G7 parents first", f"{job}{list(path)} of run {run.id} began, and there is no such job")
        if meaning.kept(at, path).state != "open":
            raise Violation("G8 rounds", f"{job}{list(path)} of run {run.id} began again, and stays as it was")
        for lease in leases:
            _check_allowed(meaning, at, path, history.begun[lease], history)
    for job, path in meaning.lines:
        if not job.startswith("hook:") and (meaning.find(job, path), path) not in cells:
            raise Violation("G7 parents first", f"{job}{list(path)} of run {run.id} has facts, and is no instance")


def _check_allowed(meaning: Meaning, at: int, path: Path, begun: Begun, history: History) -> None:
    state, since = meaning.joined(at, path)
    if state != "run" and not (meaning.view.cancelled and meaning.when(at) != "success"):
        parents = [(meaning.nodes[max(p, ~p)].name, where, meaning.state(p, where))
                   for p, where, _ in meaning.above(at, path)]  # fmt: skip
        raise Violation("G7 parents first", f"{begun} began, and should be {state}: {parents}")
    if since > begun.synced:
        raise Violation("G7 parents first", f"{begun} began at fact {begun.synced}, its parents ended with {since}")
    for parent, where, _ in meaning.above(at, path):
        if parent >= 0:
            _check_beside(begun, history, (begun.instance[0], begun.instance[1], meaning.nodes[parent].name, where))


def _check_beside(begun: Begun, history: History, before: tuple[str, int, str, Path]) -> None:
    """Nothing of that instance ran when this one began."""
    for lease in history.leases_of.get(before, []):
        other = history.begun[lease]
        if other.began < begun.began and other.runs_at(begun.began) and not other.excused:
            raise Violation("G7 parents first", f"{begun} began while {other}")


def _check_hooks(meaning: Meaning, run: RunView, finished: Finished) -> None:
    """Hooks of the verdict ran to an end once, others never."""
    if finished.error is not None and "nobody is given it" in finished.error.reason:
        return  # it was cancelled because it kills whoever judges it: there is nobody to run hooks
    wanted = CALLED[finished.verdict] & set(meaning.definition.hooks)
    for kind in ("success", "failure", "always"):
        lines = meaning.lines.get((f"hook:{kind}", ()), [])
        if bool(lines) != (kind in wanted) and not (meaning.view.shortened and not lines):
            raise Violation("G7 hooks once", f"hook {kind} of run {run.id} ({finished.verdict}): {lines}")
    if bool(wanted) != (meaning.view.ending is not None):
        raise Violation("G7 hooks once", f"run {run.id} has {meaning.view.ending} for the hooks {wanted}")


def _check_group(meaning: Meaning, run: RunView, g: int, history: History) -> None:
    """The hooks of a group ran when its last member had ended, if one of them had begun; and one after the other."""
    group = meaning.definition.groups[g]
    ran = {name for name, _ in meaning.lines if name.startswith("hook:")}
    verdict, last = meaning.group_end(g)
    fits = [_names(meaning, g, one) <= ran for one in CALLED]
    called = {name for kind in group.hooks for name in _chain(group.hooks[kind], kind, group.title)} & ran
    if not group.hooks:
        return
    parked = run.finished is not None and run.finished.error is not None and "given it" in run.finished.error.reason
    if meaning.view.cancelled or parked:
        if called and not any(fits):
            raise Violation("G7 hooks once", f"group {group.title} of run {run.id} ({verdict}) called {called}")
    elif called != (_names(meaning, g, verdict) if verdict in CALLED else set()):
        raise Violation("G7 hooks once", f"group {group.title} of run {run.id} ({verdict}) called {called}")
    if called:
        history.note("hooks of a group")
    for name in sorted(called):
        for lease in history.leases_of.get((run.id, meaning.view.number, name, ()), []):
            _check_group_hook(meaning, g, last, history.begun[lease], history)


def _check_group_hook(meaning: Meaning, g: int, last: int, begun: Begun, history: History) -> None:
    if not meaning.view.cancelled and last > begun.synced:
        raise Violation("G7 hooks once", f"{begun} at fact {begun.synced}, its group ended with {last}")
    run, round, _, _ = begun.instance
    for at in meaning.members(g):
        for path in meaning.places(at):
            _check_beside(begun, history, (run, round, meaning.nodes[at].name, path))


def _names(meaning: Meaning, g: int, verdict: str) -> set[str]:
    """The hooks that a group calls when it ends so."""
    group = meaning.definition.groups[g]
    kinds = CALLED[verdict] & set(group.hooks)
    return {name for kind in kinds for name in _chain(group.hooks[kind], kind, group.title)}  # type: ignore[index]


def _chain(nodes: tuple[object, ...], kind: str, title: str) -> list[str]:
    name = f"hook:{kind}:{title}"
    return [name] if len(nodes) == 1 else [f"{name}:{at}" for at in range(len(nodes))]
