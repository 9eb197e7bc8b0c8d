"""`headrace check`: what is written in a file, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import command, json_option
from .printing import print_json, print_table, prints_aside, say
from .targets import Target, target_argument

if TYPE_CHECKING:
    from ...pipeline.pipeline import Pipeline

SEEN_THROUGH = 20


@command("check", "headrace check pipeline.py", "headrace check -j film.json", "headrace check script.alf --json")
@target_argument
@json_option
def check_command(target: Target, as_json: bool) -> None:
    """Check a pipeline, in whatever style it is written: print its tree, its plan and the warnings.

    Nothing runs and no daemon is needed.
    """
    with prints_aside():
        written = target.find()
        pipeline = target.made(written)
        size = checked(pipeline)
    warnings = list(getattr(written, "warnings", ()))
    plan = plan_of(pipeline)
    if as_json:
        print_json("check", {"kind": kind_of(written), "bytes": size, "jobs": plan, "warnings": warnings})
        return
    if tree := tree_of(written):
        say(tree)
        say()
    print_table(["job", "runs", "role", "after"], [_row(one) for one in plan])
    say()
    say(f"{kind_of(written)}: {_count(plan, 'job')}, {_count(warnings, 'warning')}")
    for warning in warnings:
        say(f"warning: {warning}")


def _count(several: list[Any], what: str) -> str:
    return f"{len(several) or 'no'} {what}" + ("" if len(several) == 1 else "s")


def checked(pipeline: Pipeline) -> int:
    """The size of the definition. Raises what would be said at its submission."""
    from ...pipeline.plan import Plan

    packed = pipeline.definition()
    Plan.load(packed)
    return len(packed)


def kind_of(written: Any) -> str:
    """Ours: a step is of a class of its user's."""
    ours = (cls.__name__ for cls in type(written).__mro__ if cls.__module__.startswith("headrace."))
    return next(ours, type(written).__name__)


def plan_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The jobs in an order in which they may run; a gate is looked through, unless there is too much behind it."""
    from ...pipeline.graph import topological

    jobs = pipeline.jobs
    above: list[list[int]] = [[] for _ in jobs]
    for source, target in pipeline.edges:
        if target is not None:
            above[target].append(source)
    seen: list[list[str]] = [[] for _ in jobs]
    rows = []
    for at in topological(len(jobs), pipeline.edges):
        for source in above[at]:
            through = not _works(jobs[source]) and len(seen[source]) <= SEEN_THROUGH
            seen[at] += seen[source] if through else [jobs[source].name]
        seen[at] = list(dict.fromkeys(seen[at]))
        if _works(jobs[at]):
            rows.append({"job": jobs[at].name, "runs": _runs(jobs[at]), "role": jobs[at].role, "after": seen[at]})
    return rows


def tree_of(written: Any) -> str:
    """The tree of a block job as indented lines; of steps the execution plan."""
    from ...pipeline.styles.stepplan import StepPlan
    from ...pipeline.styles.steps import Step
    from ...pipeline.styles.tree_outline import outline

    if isinstance(written, Step):
        return StepPlan(written).text()
    return outline(written) if isinstance(written, dict) and "Job" in written else ""


def _works(job: Any) -> bool:
    return bool(job.kind != "gate")


def _runs(job: Any) -> str:
    line = job.command_line
    if line is None:
        return f"worker {job.worker_name}"
    return f"command {line.shell or ' '.join(line.argv)}"


def _row(one: dict[str, Any]) -> list[Any]:
    after = one["after"]
    shown = ", ".join(after[:4]) + (f" and {len(after) - 4} more" if len(after) > 4 else "")
    return [one["job"], one["runs"], one["role"], shown]
