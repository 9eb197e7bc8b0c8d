"""The methods that the tasks of a map name: looked up in their namespaces, each once, and found wanting or not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .jobmap_fields import Fields, nearest
from .namespaces import TASKS, BadDefinition, Method, Namespace, Namespaces, method_path
from .tasksource import TaskSource

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a method: its definition, or nothing, and why; and the source that it stands in."""

    definition: Method | None
    source: TaskSource | None
    faults: tuple[str, ...] = ()


class Methods:
    def __init__(self, namespaces: Namespaces, fields: Fields) -> None:
        self._namespaces = namespaces
        self._fields = fields
        self._found: dict[str, Namespace | None] = {}
        self._known: dict[tuple[str, str], Known] = {}
        self._names: list[str] | None = None

    def find(self, task: str, namespace: str, method: str) -> Known | None:
        """The method, or None; what is wrong with it is noted as a problem of the task."""
        if not _DOTTED.fullmatch(namespace):
            self._fields.wrong(task, "namespace", f"must be a dotted name such as 'main', not {namespace!r}")
            return None
        if namespace not in self._found:
            self._found[namespace] = self._namespaces.get(namespace)
        found = self._found[namespace]
        if found is None:
            text = f"there is no namespace {namespace!r} below {self._namespaces.folder}"
            hint = nearest(namespace, self._all_names()) if self._all_names() else ""
            hint = hint or f"; `headrace namespace new {namespace}` makes one"
            self._fields.wrong(task, "namespace", text + hint)
            return None
        known = self._known.get((namespace, method))
        if known is None:
            known = self._known[namespace, method] = _look(found, method)
        for fault in known.faults:
            self._fields.wrong(task, "method", fault)
        return known

    def _all_names(self) -> list[str]:
        """For a hint; looking for them takes a while."""
        if self._names is None:
            self._names = [one.name for one in self._namespaces]
        return self._names


def _look(namespace: Namespace, method: str) -> Known:
    try:
        definition = namespace.method(method) if method.isidentifier() else None
    except BadDefinition as error:
        place = method_path(namespace, method)
        return Known(None, None, tuple(f"its definition {place}: {reason}" for reason in error.reasons))
    if definition is None:
        hint = nearest(method, namespace.methods)
        return Known(None, None, (f"namespace {namespace.name!r} has no definition {method}.json{hint}",))
    tasks = namespace.folder / TASKS
    try:
        source = namespace.source
    except BadDefinition as error:
        return Known(definition, None, tuple(f"{tasks}: {reason}" for reason in error.reasons))
    return Known(definition, source, () if source.has(method) else (f"{tasks} has no function {method!r}",))
