"""`headrace drain` (also `headrace broker drain`): a Broker that is to run empty."""

from __future__ import annotations

from typing import Any

import click

from ..config import ClientConfig
from .connecting import connect
from .options import command, json_option, settings
from .printing import print_json, say


@command("drain", "headrace drain node7/4711", "headrace drain node7", "headrace drain node7 --off")
@click.argument("broker", metavar="BROKER")
@click.option("--off", is_flag=True, help="give it work again")
@json_option
@settings(ClientConfig)
def drain_command(broker: str, off: bool, as_json: bool, **given: Any) -> None:
    """Give a Broker no more work, and let it finish what it has.

    BROKER is a place as `headrace status` shows it, an identity, or a machine: then all Brokers of it. When it has run
    empty it can be stopped, and nothing is interrupted.
    """
    with connect(given) as cluster:
        text = cluster.drain(broker, on=not off)
    if as_json:
        print_json("done", {"verb": "drain", "broker": broker, "on": not off, "text": text})
    else:
        say(f"{broker}: {text}")
