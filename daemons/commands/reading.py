"""`headrace list`, `show`, `results` and `explain`: what is known about runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..config import ClientConfig
from .connecting import connect, run_argument
from .history import Attempt, JobHistory, Look, error_map
from .options import command, json_option, settings
from .printing import counts, duration, jsonable, moment, on_terminal, print_json, print_table, say

if TYPE_CHECKING:
    from ..client.reading import RunSummary

STATES = ["waiting", "running", "success", "failed", "cancelling", "cancelled"]


@command("list", "headrace list", "headrace list --state failed --limit 5", "headrace list --json")
@click.option("--state", type=click.Choice(STATES), help="only runs in this state")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="the newest so many")
@click.option("--all", "everything", is_flag=True, help="all of them")
@click.option("--below", is_flag=True, help="sub-runs too: jobs that are pipelines")
@json_option
@settings(ClientConfig)
def list_command(state: str | None, limit: int, everything: bool, below: bool, as_json: bool, **given: Any) -> None:
    """List runs, the newest first.

    Runs that have ended are listed too, until they are pruned.
    """
    with connect(given) as cluster:
        runs = cluster.list(state, None if everything else limit, below=below)
    if as_json:
        print_json("runs", {"runs": [asdict(run) for run in runs]})
        return
    print_runs(runs)


def print_runs(runs: list[RunSummary]) -> None:
    print_table(["id", "title", "state", "accepted", "duration", "reason"], [_run_row(run) for run in runs])


def _run_row(run: RunSummary) -> list[Any]:
    shown = run.id[:12] if on_terminal() else run.id
    return [shown, run.title, run.state, moment(run.accepted_at), duration(run.duration), run.error_reason]


@command("show", "headrace show 3f9a", "headrace show 3f9a --attempts", "headrace show 3f9a --json")
@run_argument
@click.option("--attempts", is_flag=True, help="a line per attempt")
@json_option
@settings(ClientConfig)
def show_command(run: str, attempts: bool, as_json: bool, **given: Any) -> None:
    """Show a run and its jobs: states, attempts, times, places, reasons."""
    with connect(given) as cluster:
        look = Look(cluster, cluster.find(run))
    if as_json:
        print_json("run", {"run": look.as_dict()})
        return
    print_run(look.told)
    jobs = look.jobs()
    print_jobs(jobs)
    print_below(look.told)
    if attempts:
        print_attempts(jobs)


def print_run(told: dict[str, Any]) -> None:
    title = f" {told['title']}" if told.get("title") else ""
    paused = ", paused" if told.get("paused") else ""
    say(f"{told['id']}{title}: {told['state']}{paused}")
    times = [f"accepted {moment(told.get('accepted_at'))}"]
    if told.get("finished_at"):
        times.append(f"ended {moment(told['finished_at'])} after {duration(told.get('duration'))}")
    say(", ".join(times))
    if told.get("above"):
        run, job, path = told["above"]
        say(f"it is job {job}{path or ''} of run {run}")
    print_error(told)
    say()


BELOW_SHOWN = 20


def print_below(told: dict[str, Any]) -> None:
    """Jobs that are runs of their own: the first of them one by one, of more how they are."""
    below = told.get("below") or []
    if not below:
        return
    say()
    rows = [[f"{job}{path or ''}", run, state] for job, path, run, state in below[:BELOW_SHOWN]]
    print_table(["job", "run", "state"], rows)
    if len(below) > BELOW_SHOWN:
        say(f"{len(below)} in all: {counts(Counter(state for *_, state in below))}")


def print_error(told: dict[str, Any]) -> None:
    error = error_map(told)
    if error is None:
        return
    where = f"{error['job']}{list(error['path']) if error['path'] else ''}: " if error["job"] else ""
    say(f"{where}{error['reason']}")
    if error.get("traceback"):
        say(error["traceback"].rstrip())


def print_jobs(jobs: list[JobHistory]) -> None:
    rows = [
        [one.name, one.state, one.attempts, moment(one.started), _duration(one), one.place, _code(one), _reason(one)]
        for one in jobs
    ]
    print_table(["job", "state", "attempts", "started", "duration", "place", "code", "reason"], rows)


def _code(one: JobHistory | Attempt) -> str:
    """Which version of the worker's code has run: enough of its digest to tell it from others."""
    return one.code[:8]


def _duration(one: JobHistory) -> str:
    return duration(one.duration) if one.attempts else ""


def _reason(one: JobHistory) -> str:
    """Of a job with branches, how they are; else why it failed, was skipped or waits."""
    branches = counts(one.instances) if sum(one.instances.values()) > 1 else ""
    cached = f"{one.cached} cached" if branches else "cached"
    return "; ".join(text for text in (branches, cached if one.cached else "", one.reason) if text)


def print_attempts(jobs: list[JobHistory]) -> None:
    rows = [
        [
            one.name, list(t.path) if t.path else "", t.attempt, _end(t), moment(t.started), duration(t.duration),
            t.place, _code(t),
        ]
        for one in jobs
        for t in one.tries
    ]  # fmt: skip
    say()
    print_table(["job", "branch", "attempt", "end", "started", "duration", "place", "code"], rows)


def _end(one: Attempt) -> str:
    return "cached" if one.cache == "hit" else one.kind


@command("results", "headrace results 3f9a", "headrace results 3f9a --job Sum --json")
@run_argument
@click.option("--job", help="only the result of this job")
@json_option
@settings(ClientConfig)
def results_command(run: str, job: str | None, as_json: bool, **given: Any) -> None:
    """Print the results of a run's jobs.

    Below a spread they are lists, in index order.
    """
    from ...pipeline.errors import NotFound

    with connect(given) as cluster:
        found = cluster.find(run)
        results = cluster.results(found)
    if job is not None and job not in results:
        raise NotFound("result of job", job, f"results are there of: {', '.join(results) or 'none'}")
    chosen = results if job is None else {job: results[job]}
    if as_json:
        print_json("results", {"id": found, "results": chosen})
        return
    for name, value in chosen.items():
        say(f"{name}: {jsonable(value)!r}")


@command("explain", "headrace explain 3f9a", "headrace explain 3f9a Encode --json")
@run_argument
@click.argument("job", required=False)
@json_option
@settings(ClientConfig)
def explain_command(run: str, job: str | None, as_json: bool, **given: Any) -> None:
    """Say why a run, or one of its jobs, is not running."""
    with connect(given) as cluster:
        found = cluster.find(run)
        why = cluster.explain(found, job)
    if as_json:
        print_json("explanation", {"id": found, "job": job, **why.details})
    else:
        say(why)
