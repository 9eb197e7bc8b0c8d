"""Changes of real classes: how one of their guards is taken away, and put back by whoever did it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from headrace.daemons.dispatch import cluster

Change = tuple[Any, str, Any]
"""What has it, the name of it there, and what takes its place."""


def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> list[Change]:
    return [(owner, name, make(getattr(owner, name)))]


def nothing(*_: Any, **__: Any) -> None:
    return None


def false(*_: Any, **__: Any) -> bool:
    return False


def true(*_: Any, **__: Any) -> bool:
    return True


def rules(**changed: Any) -> Callable[[], list[Change]]:
    def make(real: Any) -> Any:
        return lambda self, epoch, last, rules, *more: real(self, epoch, last, replace(rules, **changed), *more)

    return lambda: wrap(cluster.Cluster, "__init__", make)


def rests_on_nothing(owner: Any, name: str) -> Callable[[], list[Change]]:
    def make(real: Any) -> Any:
        def decide(self: Any, *arguments: Any) -> None:
            before = self.cluster.rest_on
            real(self, *arguments)
            self.cluster.rest_on = before

        return decide

    return lambda: wrap(owner, name, make)
