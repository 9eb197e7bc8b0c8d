"""`headrace cache`: what is kept of earlier results, and why a job was or was not taken from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import BrokerConfig, ClientConfig, RouterConfig
from ..folders import data_folder
from ..settings import seconds
from .connecting import complete_run, connect
from .options import chosen, command, json_option, settings
from .printing import duration, moment, print_json, print_table, say, size

if TYPE_CHECKING:
    from ...workers.cache.folder import CacheFolder
    from ...workers.cache.sweeping import Listed

EXAMPLES = (
    "headrace cache explain 3f9a Encode",
    "headrace cache list --worker Encode --json",
    "headrace cache clear --older 30d",
)
SHORT = 12


@command("cache", *EXAMPLES)
@click.argument("action", type=click.Choice(["explain", "list", "clear"]), metavar="explain|list|clear")
@click.argument("run", metavar="[ID]", required=False, shell_complete=complete_run)
@click.argument("job", required=False)
@click.option("--folder", metavar="DIR", help="of `list`, `clear`: the cache's folder; by default the Broker's here")
@click.option("--local", is_flag=True, help="of `list`, `clear`: the cache of local runs")
@click.option("--data", metavar="DIR", help="of `list`, `clear`: the data folder that the cache is in")
@click.option("--worker", help="of `list`, `clear`: only what this worker has returned")
@click.option("--older", metavar="DURATION", help="of `clear`: only what was not used for so long, as 30d or 12h")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="of `list`: the last used so many")
@json_option
@settings(ClientConfig)
def cache_command(
    action: str,
    run: str | None,
    job: str | None,
    folder: str | None,
    local: bool,
    data: str | None,
    worker: str | None,
    older: str | None,
    limit: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Explain, list or clear what is kept of jobs with `cache='content'`.

    `explain` says of the jobs of a run (or of one) whose result they have, or in which part of the input or the code
    the nearest earlier one differs. `clear` removes entries; without --older and --worker all of them.
    """
    if action == "explain":
        if run is None:
            raise click.UsageError("`explain` needs the ID of a run")
        return _explain(run, job, as_json, given)
    if run is not None:
        raise click.UsageError(f"`{action}` takes no run")
    if older is not None and action != "clear":
        raise click.UsageError("--older belongs to `clear`")
    found = _folder(folder, local, data, given)
    if action == "list":
        return _list(found, worker, limit, as_json)
    return _clear(found, worker, _age(older), as_json)


def _explain(run: str, job: str | None, as_json: bool, given: dict[str, Any]) -> None:
    with connect(given) as cluster:
        found = cluster.find(run)
        report = cluster.cache_explain(found, job)
    if as_json:
        print_json("cache explanation", {"id": found, "job": job, "entries": report.entries})
    else:
        say(report)


def _list(folder: CacheFolder, worker: str | None, limit: int, as_json: bool) -> None:
    from ...workers.cache.sweeping import listed

    everything = sorted(listed(folder), key=lambda one: one.used, reverse=True)
    total = sum(one.size for one in everything)
    damaged = folder.damaged()
    rows = _rows(folder, everything, worker, limit)
    if as_json:
        counts = {"count": len(everything), "bytes": total, "damaged": len(damaged)}
        print_json("cache", {"folder": str(folder.path), **counts, "entries": rows})
        return
    print_table(
        ["key", "worker", "job", "run", "size", "made in", "last used"],
        [
            [row["key"][:SHORT], row["worker"], _place(row), row["run"][:SHORT], size(row["bytes"]),
             duration(row["duration"]), moment(row["used"])]
            for row in rows
        ],
    )  # fmt: skip
    gone = f"; {len(damaged)} damaged ones were removed, the last: {damaged[-1]}" if damaged else ""
    say(f"{len(everything)} entries, {size(total)} in {folder.path}{gone}")


def _rows(folder: CacheFolder, everything: list[Listed], worker: str | None, limit: int) -> list[dict[str, Any]]:
    """The last used ones, with what is known of them; one that vanishes meanwhile is left out."""
    rows: list[dict[str, Any]] = []
    for one in everything:
        entry = folder.peek(one.key) if len(rows) < limit else None
        if entry is not None and worker in (None, entry.recipe.worker):
            origin = {"worker": entry.recipe.worker, "job": entry.job, "path": list(entry.path), "run": entry.run}
            times = {"made": entry.at, "duration": entry.duration, "used": one.used}
            rows.append({"key": one.key, **origin, "bytes": one.size, **times})
    return rows


def _place(row: dict[str, Any]) -> str:
    return f"{row['job']} {row['path']}" if row["path"] else str(row["job"])


def _clear(folder: CacheFolder, worker: str | None, older: float, as_json: bool) -> None:
    from ...workers.cache.sweeping import clear

    count, freed = clear(folder, older, worker)
    if as_json:
        print_json("cleared", {"folder": str(folder.path), "removed": count, "bytes": freed})
    else:
        say(f"{count} entries, {size(freed)}, are removed from {folder.path}")


def _folder(folder: str | None, local: bool, data: str | None, given: dict[str, Any]) -> CacheFolder:
    """The folder that was named, else the one that a Broker started here would use."""
    from ...workers.cache.folder import CacheFolder
    from ...workers.cache.place import NAME, user_cache

    if local:
        return CacheFolder(user_cache())
    named = folder or (None if data else chosen(BrokerConfig, given).cache)
    if named is not None:
        return CacheFolder(named)
    made = chosen(RouterConfig, {**given, "data": data})
    return CacheFolder(Path(data_folder(made.data, made.api)) / NAME)


def _age(older: str | None) -> float:
    try:
        return 0.0 if older is None else float(seconds(older))
    except ValueError as error:
        raise click.BadParameter(f"it has to be {error}", param_hint="--older") from None
