"""`headrace router`, `broker` and `pipeliner`: one daemon in the foreground, until a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import click

from ...pipeline.errors import ConfigError
from ..config import BrokerConfig, DaemonConfig, PipelinerConfig, RouterConfig
from ..folders import data_folder
from ..logs import configure
from .options import chosen, command, settings

PATIENCE = 60.0
"""Seconds after which a daemon that cannot stop is killed, when whoever started it is gone."""

lifeline_option = click.option("--lifeline", is_flag=True, help="stop when standard input is closed")


class Daemon(Protocol):
    def start(self) -> None: ...


def serve(made: DaemonConfig, lifeline: bool, build: Callable[[], Daemon]) -> None:
    refuse_windows()
    configure(made.log_level, made.log_json)
    if lifeline:
        threading.Thread(target=_stop_with_input, name="lifeline", daemon=True).start()
    build().start()


def refuse_windows() -> None:
    if sys.platform == "win32":
        raise ConfigError("the daemons run on Linux and macOS; on Windows use WSL, or `headrace run` without daemons")


def _stop_with_input() -> None:
    """Standard input is a pipe that nobody writes to: its end is the end of whoever started this process."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


def router_settings(made: RouterConfig) -> dict[str, Any]:
    """The `config` of the Router class."""
    return {
        "store": dict(made.store_config),
        "monitoring interval": made.monitoring_interval,
        "limits": dict(made.limits),
        "data": str(data_folder(made.data, made.api)),
        "keep": made.keep or None,
    }


@command("router", "headrace router", "headrace router --api tcp://127.0.0.1:6000 --broadcast tcp://127.0.0.1:6001")
@settings(RouterConfig)
@lifeline_option
def router_command(lifeline: bool, **given: Any) -> None:
    """Run the Router: the queues, the leases and the journal. There is one per cluster."""
    made = chosen(RouterConfig, given)

    def build() -> Daemon:
        from ..router import Router

        return Router(made.api, made.broadcast, router_settings(made), insecure=made.insecure)

    serve(made, lifeline, build)


@command("broker", "headrace broker", "headrace broker --workers workers,more_workers --processes 8 --roles shell:2")
@settings(BrokerConfig)
@lifeline_option
def broker_command(lifeline: bool, **given: Any) -> None:
    """Run a Broker: worker processes that run the jobs. As many as there are machines."""
    made = chosen(BrokerConfig, given)

    def build() -> Daemon:
        from ..broker import Broker

        return Broker(
            made.api,
            made.broadcast,
            made.store,
            made.workers,
            number_of_workers=made.processes,
            roles=dict(made.roles) or None,
            resources=dict(made.resources) or None,
            data=made.data,
            insecure=made.insecure,
            grace=made.grace,
            cache=made.cache,
            cache_size=made.cache_size,
            cache_keep=made.cache_keep,
            output_limit=made.output_limit,
            output_keep=made.output_keep,
            reload=made.reload,
        )

    serve(made, lifeline, build)


@command("pipeliner", "headrace pipeliner", "headrace pipeliner --api tcp://127.0.0.1:6000")
@settings(PipelinerConfig)
@lifeline_option
def pipeliner_command(lifeline: bool, **given: Any) -> None:
    """Run a Pipeliner: it tracks the progress of runs. One is enough; more share the work."""
    made = chosen(PipelinerConfig, given)

    def build() -> Daemon:
        from ..pipeliner import Pipeliner

        return Pipeliner(made.api, made.broadcast)

    serve(made, lifeline, build)
