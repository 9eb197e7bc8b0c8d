"""`headrace watch` and `top`: what goes on, live on a terminal, as lines when piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from ..config import ClientConfig
from ..settings import seconds
from .cluster import print_status
from .connecting import connect, run_argument
from .exits import FAILED, OK
from .history import HowFar, Look
from .options import command, json_option, settings
from .printing import counts, duration, moment, on_terminal, print_json, say
from .reading import print_error, print_runs

if TYPE_CHECKING:
    from .asking import Cluster

LIVE = 0.2
PIPED = 1.0
SHARE = 10
"""Looking at a very large run takes its time: at most a tenth of it is spent on that."""
TOP_RUNS = 10
STUCK = 5.0
"""Seconds in which nothing runs and nothing changes: then it is said how to find out why."""
JOB_BARS = 8
"""Jobs that are shown with a bar of their own."""
SHORT = 8
"""Characters of an id in a sentence that tells what to type."""


class View(Protocol):
    def show(self, look: Look) -> None: ...
    def tell(self, text: str) -> None: ...


@command("watch", "headrace watch 3f9a", "headrace watch 3f9a --timeout 10m", "headrace watch 3f9a --json")
@run_argument
@click.option("--timeout", "patience", metavar="SECONDS", help="stop watching after this; the run goes on")
@json_option
@settings(ClientConfig)
def watch_command(run: str, patience: str | None, as_json: bool, **given: Any) -> int:
    """Watch a run until it ends.

    The exit code tells how it was. With --json only its end is printed.
    """
    limit = limit_of(patience)
    with connect(given) as cluster:
        return watch_run(cluster, cluster.find(run), as_json, limit)


def limit_of(patience: str | None) -> float | None:
    try:
        return None if patience is None else float(seconds(patience))
    except ValueError as error:
        raise click.BadParameter(f"it has to be {error}", param_hint="--timeout") from None


def watch_run(cluster: Cluster, run: str, as_json: bool, limit: float | None) -> int:
    """Show a run until it ends. Ctrl-C leaves it going, and says how to go on."""
    until = None if limit is None else time.monotonic() + limit
    try:
        with _view(as_json) as view:
            look = _follow(cluster, run, view, until, limit)
    except KeyboardInterrupt:
        short = run[:SHORT]
        raise KeyboardInterrupt(
            f"run {run} goes on: `headrace watch {short}` watches it, `headrace cancel {short}` cancels it"
        ) from None
    if as_json:
        print_json("run", {"run": look.as_dict()})
    else:
        say(f"{run}: {look.state} after {duration(look.told.get('duration'))}")
        print_error(look.told)
    return OK if look.state == "success" else FAILED


def _follow(cluster: Cluster, run: str, view: View, until: float | None, limit: float | None) -> Look:
    look, cost, stuck = Look(cluster, run), 0.0, Stuck()
    while not look.ended:
        view.show(look)
        if stuck.since(look.counts(), time.monotonic()):
            view.tell(f"nothing runs: `headrace explain {run[:SHORT]}` says why")
        pause = max(LIVE if on_terminal() else PIPED, cost * SHARE)
        left = pause if until is None else min(pause, until - time.monotonic())
        if left <= 0:
            raise TimeoutError(f"run {run} has not ended within {limit:g} s; it goes on")
        cluster.ends_within(run, left)
        began = time.monotonic()
        look.again()
        cost = time.monotonic() - began
    view.show(look)
    return look


class Stuck:
    """Does a run stand still? Told once, until it goes on."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._began = 0.0

    def since(self, found: dict[str, int], now: float) -> bool:
        """True when its jobs have stood like this for `STUCK` seconds, with none of them running."""
        if found != self._last:
            self._last, self._began = found, now
        elif now - self._began >= STUCK and not found.get("running"):
            self._began = float("inf")
            return True
        return False


class Silent:
    def show(self, look: Look) -> None:
        pass

    def tell(self, text: str) -> None:
        pass


class Lines:
    """A line whenever the counts have changed, and for every step of a job that tells how far it is."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._told: dict[str, str] = {}

    def show(self, look: Look) -> None:
        if look.ended:
            return
        found = look.counts()
        if found != self._last:
            self._last = found
            say(f"{moment(time.time())} {look.state}: {counts(found)}")
        told = {one.name: one.told for one in look.progress()}
        for name, text in told.items():
            if text != self._told.get(name):
                say(f"{moment(time.time())} {name}: {text}")
        self._told = told

    def tell(self, text: str) -> None:
        say(text)


class Bar:
    """A bar that fills with every instance that has ended, and one below it for each job that tells how far it is."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, counts="")
        self._jobs: dict[str, Any] = {}

    def show(self, look: Look) -> None:
        found = look.counts()
        open_ones = sum(found.get(state, 0) for state in ("waiting", "queued", "running"))
        total = sum(found.values())
        self._progress.update(
            self._task,
            description=look.told.get("title") or look.run[:SHORT],
            total=total,
            completed=total - open_ones,
            counts=counts(found),
        )
        self._show_jobs({} if look.ended else {one.name: one for one in look.progress()[:JOB_BARS]})

    def tell(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def _show_jobs(self, told: dict[str, HowFar]) -> None:
        for name in self._jobs.keys() - told.keys():
            self._progress.remove_task(self._jobs.pop(name))
        for name, one in told.items():
            if name not in self._jobs:
                self._jobs[name] = self._progress.add_task(f"  {name}", total=None, counts="")
            self._progress.update(self._jobs[name], total=one.total, completed=one.done, counts=one.message)


@contextmanager
def _view(as_json: bool) -> Iterator[View]:
    if as_json:
        yield Silent()
    elif not on_terminal():
        yield Lines()
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
        )
        with Progress(*columns, TimeElapsedColumn()) as progress:
            yield Bar(progress)


@command("top", "headrace top", "headrace top --interval 5")
@click.option("--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="seconds between looks")
@settings(ClientConfig)
def top_command(interval: float, **given: Any) -> None:
    """Show the cluster and its newest runs, live until Ctrl-C.

    Piped, they are shown once.
    """
    with connect(given) as cluster:
        while True:
            status, runs = cluster.cluster(), cluster.list(limit=TOP_RUNS)
            if on_terminal():
                click.clear()
            print_status(status)
            say()
            print_runs(runs)
            sys.stdout.flush()
            if not on_terminal():
                return
            time.sleep(interval)
