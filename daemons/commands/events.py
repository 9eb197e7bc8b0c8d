"""`headrace events`: what happens in the cluster, fact by fact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..config import ClientConfig
from .connecting import complete_run, connect
from .options import command, json_option, settings
from .printing import jsonable, moment, print_json, say

if TYPE_CHECKING:
    from ..client.events import Event

SHOWN = 100
"""Characters of one value on a line."""


@command("events", "headrace events --follow", "headrace events --since 3-1205 --json", "headrace events --run 3f9a")
@click.option("--since", metavar="CURSOR", help="begin behind this event; 0-0 is the beginning  [from now on]")
@click.option(
    "--run", "run", metavar="ID", help="only those of this run, from its beginning", shell_complete=complete_run
)
@click.option("-f", "--follow", is_flag=True, help="go on with what happens, until Ctrl-C")
@click.option("--signals", is_flag=True, help="with --follow: also how far running jobs are")
@json_option
@settings(ClientConfig)
def events_command(
    since: str | None, run: str | None, follow: bool, signals: bool, as_json: bool, **given: Any
) -> None:
    """Print what happens in the cluster: every fact of the journal, in order and without a gap.

    Each begins with its cursor; --since goes on behind it, later or on another machine. With --json every line is one
    value. Without --since, --run and --follow: everything.
    """
    with connect(given) as cluster:
        found = None if run is None else cluster.find(run)
        begin = since or (None if follow and found is None else "0-0")
        try:
            for event in cluster.events(begin, run=found, follow=follow, signals=signals):
                _print(event, as_json)
        except KeyboardInterrupt:
            if not follow:
                raise


def _print(event: Event, as_json: bool) -> None:
    if as_json:
        print_json("event", {"event": event.as_dict()})
        return
    at = event.fields.get("at") or event.fields.get("started")
    told = {name: value for name, value in event.fields.items() if name not in ("at", "run") and _is_told(value)}
    shown = [f"{name}={_value(value)}" for name, value in told.items()]
    run = (event.run or "")[:8]
    say("  ".join(part for part in (event.cursor, moment(at), run, event.kind, " ".join(shown)) if part))


def _is_told(value: Any) -> bool:
    return value not in (None, "", b"", 0, [], {}, ())


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else repr(jsonable(value))
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
