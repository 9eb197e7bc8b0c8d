"""How commands reach the cluster. Loading the client is put off until a command needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ...pipeline.errors import HeadraceError
from ..config import ClientConfig
from .options import chosen

if TYPE_CHECKING:
    from .asking import Cluster


def connect(given: Mapping[str, object]) -> Cluster:
    """A client of the Router, to be used in a `with`."""
    from .asking import Cluster

    made = chosen(ClientConfig, given)
    return Cluster(made.api, made.broadcast, timeout=made.answer_timeout)


COMPLETED = 100
"""Runs that a shell is offered, the newest."""


def complete_run(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Ids for the shell. Whoever presses Tab does not wait for a cluster that is not there."""
    try:
        with connect({**context.params, "answer_timeout": "500ms"}) as cluster:
            runs = cluster.list(limit=COMPLETED)
    except HeadraceError:
        return []
    found = [one for one in runs if one.id.startswith(begun)]
    return [CompletionItem(one.id, help=f"{one.state} {one.title or ''}".strip()) for one in found]


run_argument = click.argument("run", metavar="ID", shell_complete=complete_run)
