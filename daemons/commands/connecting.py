"""How commands reach the cluster. Loading the client is put off until a command needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..config import ClientConfig
from .options import chosen

if TYPE_CHECKING:
    from .asking import Cluster


def connect(given: Mapping[str, object]) -> Cluster:
    """A client of the Router, to be used in a `with`."""
    from .asking import Cluster

    made = chosen(ClientConfig, given)
    return Cluster(made.api, made.broadcast, timeout=made.answer_timeout)
