"""A Context: the memory of steps. A record of results by the names of their steps, that can be stored and loaded.

    ctx = Context()
    Train(depends_on=data, ctx=ctx).materialize()
    ctx.Train
    ctx.store("path")
    ctx = Context.load("path")

With `Context(fingerprint=True)` it also remembers which code and which settings have made a result, so that a step
that has changed since runs again. What was put in by hand is taken as it is.
"""

from __future__ import annotations

import os
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any, NoReturn, Self

from .record import Record, readable

META = "context_meta"
_FINGERPRINTED, _MADE = "is fingerprinted", "made by"
"""Names beside the keys. They are no attributes, so that no attribute of the user's can be one of them."""
_LIBRARIES = {"headrace": "headrace", "numpy": "numpy", "pandas": "pandas", "sklearn": "scikit-learn"}


class Context(Record):
    """Results of steps, by name.

    fingerprint  run a step again whose code or settings are no longer what they were when its result was made
    """

    def __init__(self, *values: Any, fingerprint: bool = False, **named: Any) -> None:
        super().__init__(*values, **named)
        self.__dict__[_FINGERPRINTED] = bool(fingerprint)
        self.__dict__[_MADE] = {}
        if META not in self:
            self[META] = Record(created_on=date.today().isoformat(), python=python_version(), **_versions())

    def __copy__(self) -> Self:
        other = type(self)(self, fingerprint=is_fingerprinted(self))
        other.__dict__[_MADE] = dict(self.__dict__[_MADE])
        return other

    def store(self, path: str | os.PathLike[str]) -> None:
        """Write it into a new folder: all of it, or nothing. Keys that begin with a dot are not stored.

        Raises a FileExistsError when there is something at `path`, and a TypeError for a value that cannot be stored,
        naming it.
        """
        from .storing import store

        fingerprints = {name: several for name in self if (several := fingerprints_of(self, name))}
        store(self, path, is_fingerprinted(self), fingerprints)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The Context that was stored there. It does not matter where the folder is now."""
        from .restoring import restore

        values, fingerprinted, fingerprints = restore(path)
        context = cls(values, fingerprint=fingerprinted)
        for name, several in fingerprints.items():
            if name in context:
                remember(context, name, context[name], *several)
        return context

    def to_json(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("Use .store() instead")

    @classmethod
    def from_json(cls, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("Use .load() instead")


def remember(context: Context, name: str, result: Any, *fingerprints: str) -> None:
    """Keep a step's result, with what has made it. None is not kept: it is what an absent result is."""
    if result is None:
        return
    context[name] = readable(result)
    context.__dict__[_MADE][name] = fingerprints, context[name]


def is_fingerprinted(context: Context) -> bool:
    return bool(context.__dict__[_FINGERPRINTED])


def fingerprints_of(context: Context, name: str) -> tuple[str, ...]:
    """What has made the result; nothing when that is not known, or when it was replaced by hand."""
    fingerprints, result = context.__dict__[_MADE].get(name, ((), None))
    return fingerprints if context.get(name) is result else ()


def _versions() -> dict[str, str]:
    found = {}
    for name, package in _LIBRARIES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            continue
    return found
