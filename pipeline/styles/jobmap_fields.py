"""Fields of a job map: read one by one, and whatever is wrong with them collected.

A value that is wrong is replaced by an empty one of its kind, so that reading goes on and finds the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any

from ..checks import show
from ..errors import ValueNotSupported
from ..payload import pack
from .problems import Problem

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Fields:
    """Reads fields; `task` is None for those of the map itself."""

    def __init__(self, document: Any) -> None:
        self.problems: list[Problem] = []
        self._digest = blake2b(_as_text(document), digest_size=16).digest()

    def wrong(self, task: str | None, field: str, message: str) -> None:
        self.problems.append(Problem(task, field, message))

    def check(self, task: str | None, given: Mapping[str, Any], known: Iterable[str], prefix: str = "") -> None:
        """A field that nobody knows is a problem: a misspelt one would be a promise that nobody keeps."""
        for key in given:
            if key not in known:
                self.wrong(task, f"{prefix}{key}", f"there is no such field{nearest(str(key), known)}")

    def text(self, task: str | None, given: Mapping[str, Any], name: str) -> str:
        value = given.get(name)
        if name not in given:
            self.wrong(task, name, "is missing: a text")
        elif not isinstance(value, str) or not value:
            self.wrong(task, name, f"must be a text that is not empty, not {show(value)}")
        else:
            return value
        return ""

    def map(self, task: str | None, given: Mapping[str, Any], name: str, *, needed: bool = True) -> dict[str, Any]:
        value = given.get(name)
        if name not in given:
            if needed:
                self.wrong(task, name, "is missing: a map, {} when there is nothing in it")
        elif not isinstance(value, dict):
            self.wrong(task, name, f"must be a map, not {show(value)}")
        else:
            return value
        return {}

    def list(self, given: Mapping[str, Any], name: str) -> list[Any]:
        value = given.get(name)
        if isinstance(value, list | tuple):
            return [*value]
        self.wrong(None, name, f"must be a list, not {show(value)}" if name in given else "is missing: a list")
        return []

    def id(self, task: str | None, given: Mapping[str, Any]) -> str:
        """The id that is given, or one that is made up from the map: the same map has the same ids."""
        if given.get("id") is not None:
            return self.text(task, given, "id")
        seed = (task or "").encode("utf-8", "replace")
        number = int.from_bytes(blake2b(seed, key=self._digest).digest())
        letters = []
        for _ in range(15):
            number, at = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[at])
        return "".join(letters)


def cannot_travel(value: Any) -> str:
    """Why a value cannot be given to another process; empty when it can."""
    try:
        pack(value, "")
    except ValueNotSupported as error:
        return f"holds what cannot travel between processes: {str(error).lstrip(': ')}"
    return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(names) or 'none'}"


def either(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))


def _as_text(value: Any) -> bytes:
    """All of a value, for a digest."""
    try:
        return repr(value).encode("utf-8", "replace")
    except RecursionError:
        return b""
