"""`headrace cancel`, `pause`, `resume`, `retry`, `rerun` and `prune`: durable commands about runs."""

from __future__ import annotations

from typing import Any

import click

from ..config import ClientConfig
from ..settings import seconds
from .connecting import complete_run, connect, run_argument
from .options import command, json_option, settings
from .printing import duration, print_json, say


def _done(as_json: bool, verb: str, run: str | None, text: str, **more: Any) -> None:
    if as_json:
        print_json("done", {"verb": verb, "id": run, "text": text, **more})
    else:
        say(text)


@command("cancel", "headrace cancel 3f9a", "headrace cancel 3f9a --reason 'wrong input'")
@run_argument
@click.option("--reason", help="shown as the reason of its end")
@json_option
@settings(ClientConfig)
def cancel_command(run: str, reason: str | None, as_json: bool, **given: Any) -> None:
    """Cancel a run.

    What runs of it is stopped with its whole process tree; its hooks still run.
    """
    with connect(given) as cluster:
        found = cluster.find(run)
        cluster.cancel(found, reason=reason)
    _done(as_json, "cancel", found, f"{found} is being cancelled")


any_run_argument = click.argument("run", metavar="[ID]", required=False, shell_complete=complete_run)
role_option = click.option("--role", help="everything that wants this role, of all runs, instead of one run")
cluster_option = click.option("--cluster", "everything", is_flag=True, help="everything, of all runs")


@command("pause", "headrace pause 3f9a", "headrace pause --role encode", "headrace pause --cluster")
@any_run_argument
@role_option
@cluster_option
@json_option
@settings(ClientConfig)
def pause_command(run: str | None, role: str | None, everything: bool, as_json: bool, **given: Any) -> None:
    """Pause a run, a role or the cluster: nothing new of it starts; what runs goes on."""
    _switch("pause", "is paused", run, role, everything, as_json, given)


@command("resume", "headrace resume 3f9a", "headrace resume --role encode", "headrace resume --cluster")
@any_run_argument
@role_option
@cluster_option
@json_option
@settings(ClientConfig)
def resume_command(run: str | None, role: str | None, everything: bool, as_json: bool, **given: Any) -> None:
    """Resume a run, a role or the cluster that is paused."""
    _switch("resume", "goes on", run, role, everything, as_json, given)


def _switch(
    verb: str, now: str, run: str | None, role: str | None, everything: bool, as_json: bool, given: dict[str, Any]
) -> None:
    if (run is not None) + (role is not None) + everything != 1:
        raise click.UsageError("give the ID of a run, or --role NAME, or --cluster")
    with connect(given) as cluster:
        found = cluster.find(run) if run else None
        (cluster.pause if verb == "pause" else cluster.resume)(found, role=role)
    subject = found or (f"role {role}" if role is not None else "the cluster")
    _done(as_json, verb, found, f"{subject} {now}", role=role)


@command("retry", "headrace retry 3f9a")
@run_argument
@json_option
@settings(ClientConfig)
def retry_command(run: str, as_json: bool, **given: Any) -> None:
    """Try again what did not succeed in a run.

    What depends on that is run too. Results are kept, and the id stays.
    """
    with connect(given) as cluster:
        found = cluster.find(run)
        cluster.retry(found)
    _done(as_json, "retry", found, f"{found} is tried again")


@command("rerun", "headrace rerun 3f9a", "headrace rerun 3f9a --json")
@run_argument
@json_option
@settings(ClientConfig)
def rerun_command(run: str, as_json: bool, **given: Any) -> None:
    """Run the same pipeline again, under a new id.

    It begins from its beginning. The new id is printed.
    """
    with connect(given) as cluster:
        found = cluster.find(run)
        new = cluster.rerun(found)
    _done(as_json, "rerun", new, new, of=found)


@command("prune", "headrace prune 3f9a", "headrace prune --older 30d", "headrace prune --older 12h --json")
@any_run_argument
@click.option("--older", metavar="DURATION", help="remove all runs that ended longer ago, as 30d or 12h")
@json_option
@settings(ClientConfig)
def prune_command(run: str | None, older: str | None, as_json: bool, **given: Any) -> None:
    """Remove what is kept of a run that has ended, or of all that ended long ago.

    That is their facts, results and values. Their ids stay taken.
    """
    if (run is None) == (older is None):
        raise click.UsageError("give the ID of a run, or --older DURATION")
    age = None if older is None else _age(older)
    with connect(given) as cluster:
        found = None if run is None else cluster.find(run)
        removed = cluster.prune(found, older=age)
    text = (
        f"{found} is removed"
        if age is None
        else f"{removed} run(s) that ended more than {duration(age)} ago are removed"
    )
    _done(as_json, "prune", found, text, removed=removed)


def _age(older: str) -> float:
    try:
        return float(seconds(older))
    except ValueError as error:
        raise click.BadParameter(f"it has to be {error}", param_hint="--older") from None
