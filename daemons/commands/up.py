"""`headrace up`: a whole cluster on one machine, under one terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...pipeline.errors import ClusterError
from ..config import BrokerConfig, PipelinerConfig, RouterConfig, UpConfig
from ..console import Console
from .connecting import connect
from .machines import refuse_windows
from .options import arguments_for, chosen, command, settings
from .printing import on_terminal

MARGIN = 10.0
"""Seconds beyond their own grace that daemons get to stop in."""
LOOK = 0.1
IMPORTING = 3.0
"""Seconds after which a Broker that names no worker is taken for one that has none."""


@command("up", "headrace up", "headrace up --processes 4 --data ./data", "headrace up --brokers 2 --workers my_workers")
@settings(UpConfig, RouterConfig, BrokerConfig, PipelinerConfig)
def up_command(**given: Any) -> int:
    """Start a whole cluster on this machine.

    A Router, a Pipeliner and Brokers run under this terminal; what dies is started again, and all stop together.
    A line that begins with `ready` tells that the cluster takes work. Ctrl-C stops it: running jobs get a grace.
    """
    refuse_windows()
    from ..supervisor import Child, Supervisor

    made, broker = chosen(UpConfig, given), chosen(BrokerConfig, given)
    children = [Child(name, flags, environment, stage) for name, flags, environment, stage in _children(made, given)]
    width = max(len(child.name) for child in children)
    console = Console(sys.stdout, width, colour=on_terminal(), as_json=broker.log_json)
    supervisor = Supervisor(children, console, broker.grace + MARGIN)
    watcher = threading.Thread(target=_tell_ready, args=(made, given, console, supervisor.worked), daemon=True)
    watcher.start()
    try:
        return supervisor.run()
    finally:
        console.close()


def _children(made: UpConfig, given: Mapping[str, object]) -> list[tuple[str, list[str], dict[str, str], int]]:
    """(name, arguments, environment, stage) of every daemon; the Router is the last to stop."""
    wanted = [("router", RouterConfig, 1, 1), ("pipeliner", PipelinerConfig, made.pipeliners, 0)]
    wanted.append(("broker", BrokerConfig, made.brokers, 0))
    children = []
    for daemon, section, number, stage in wanted:
        flags, environment = arguments_for(section, given)
        for index in range(1, number + 1):
            name = daemon if number == 1 else f"{daemon}-{index}"
            children.append((name, [daemon, *flags], environment, stage))
    return children


def _tell_ready(made: UpConfig, given: Mapping[str, object], console: Console, worked: Callable[[], None]) -> None:
    """Ask the Router who is there until all are; then say so, once."""
    api = chosen(RouterConfig, given).api
    joined: dict[str, float] = {}
    with connect({"api": api, "answer_timeout": "2s"}) as cluster:
        while True:
            try:
                status = cluster.cluster()
            except ClusterError:
                continue
            brokers = [one for one in status["brokers"] if _is_up(one, joined)]
            if len(brokers) >= made.brokers and len(status["pipeliners"]) >= made.pipeliners:
                break
            time.sleep(LOOK)
    worked()
    slots = sum(broker["slots"] for broker in brokers)
    console.line("", f"ready: {api}, {len(brokers)} Broker(s) with {slots} worker processes; Ctrl-C stops")


def _is_up(broker: Mapping[str, Any], joined: dict[str, float]) -> bool:
    """A Broker joins before its worker processes have told what they can run. One without workers never tells more."""
    since = joined.setdefault(broker["identity"], time.monotonic())
    return bool(broker["workers"]) or time.monotonic() - since > IMPORTING
