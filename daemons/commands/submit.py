"""`headrace submit` and `run`: a pipeline to the cluster, or here and now."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from ..config import ClientConfig
from .connecting import connect
from .exits import FAILED, OK
from .options import command, json_option, settings
from .printing import duration, jsonable, on_terminal, print_json, print_table, prints_aside, say
from .targets import Target, target_argument
from .watching import limit_of, watch_run

if TYPE_CHECKING:
    from ...pipeline.run import Run


@command(
    "submit",
    "headrace submit pipeline.py",
    "headrace submit pipelines:nightly --wait --timeout 10m",
    "headrace submit -j film.json --role cmd --priority 5",
)
@target_argument
@click.option("--wait", is_flag=True, help="wait for the end; the exit code tells how it was")
@click.option("--timeout", "patience", metavar="SECONDS", help="stop waiting after this; the run goes on")
@json_option
@settings(ClientConfig)
def submit_command(target: Target, wait: bool, patience: str | None, as_json: bool, **given: Any) -> int:
    """Give a pipeline to the cluster. Its id is printed as soon as the Router has it in its journal.

    Ctrl-C while waiting leaves the run going.
    """
    limit = limit_of(patience)
    with prints_aside():
        pipeline = target.load()
    with connect(given) as cluster:
        run = cluster.start(pipeline)
        if not wait:
            _tell_started(run, as_json)
            return OK
        if not as_json:
            say(run)
        return watch_run(cluster, run, as_json, limit)


def _tell_started(run: str, as_json: bool) -> None:
    if as_json:
        print_json("submitted", {"id": run})
    elif on_terminal():
        say(f"{run} is accepted; `headrace watch {run[:8]}` shows how it goes")
    else:
        say(run)


@command("run", "headrace run pipeline.py", "headrace run pipelines:nightly --workers my_workers --processes 2")
@target_argument
@click.option("--workers", metavar="MODULE", help="module that holds the workers  [workers, if it is there]")
@click.option("--store", metavar="MODULE:CLASS", help="the StoreClass; by default no store is needed")
@click.option("--processes", type=click.IntRange(0), default=0, help="worker processes; 0 runs in this one")
@json_option
def run_command(target: Target, workers: str | None, store: str | None, processes: int, as_json: bool) -> int:
    """Run a pipeline here and now, without any daemon.

    The results are the same as on a cluster.
    """
    with prints_aside() if as_json else nullcontext():
        run = target.load().run(workers=workers, store=store, processes=processes)
    if as_json:
        print_json("run", {"run": local_map(run)})
    else:
        _print_local(run)
    return OK if run.state == "success" else FAILED


def local_map(run: Run) -> dict[str, Any]:
    error = None
    if run.error is not None:
        error = {name: getattr(run.error, name) for name in ("job", "path", "reason", "traceback")}
    return {
        "id": run.id,
        "state": run.state,
        "duration": run.duration,
        "states": run.states,
        "results": run.results,
        "error": error,
    }


def _print_local(run: Run) -> None:
    results = run.results
    rows = [
        [name, state, repr(jsonable(results[name])) if name in results else ""] for name, state in run.states.items()
    ]
    print_table(["job", "state", "result"], rows)
    say()
    say(f"{run.state} after {duration(run.duration)}")
    if run.error is not None:
        say(f"{run.error.job or 'run'}: {run.error.reason}")
        if run.error.traceback:
            say(run.error.traceback.rstrip())
