"""Recipes: what a result was made from, part by part, and in which parts two of them differ.

    worker, version, Python, call, code (a digest per function), inputs (a digest per value)

The key of a result in the cache is the digest of its recipe. For people a recipe has `details` besides: the inputs
taken apart as far as one likes to read, each with a digest and a short text. They say what differs, and are no part of
the key.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from .canonical import canonical

FORMAT = 1
"""Of keys and entries: another number means that nothing earlier is found."""
DETAILS = 64
LISTED = 20
SHOWN = 48
LONGEST = 60
"""Characters of a key that a map may have to be taken apart."""
TOLD = 3
"""So many differences are told, and the others counted."""
_SECRET = re.compile(r"passw|secret|token|credential|api_?key", re.IGNORECASE)


class Detail(msgspec.Struct, frozen=True, array_like=True):
    """A part of an input: what it is told apart by, and how it is shown."""

    digest: bytes
    shown: str = ""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a result was made from."""

    worker: str
    version: str = ""
    """What the worker says of itself."""
    python: str = ""
    call: str = ""
    """How the input was made, and what is expected of the result."""
    code: dict[str, str] = {}
    """Digests by name: '' is the worker itself, '.process()' a method of it, 'scale()' a function that it uses."""
    inputs: dict[str, bytes] = {}
    details: dict[str, Detail] = {}

    @property
    def key(self) -> str:
        parts = [FORMAT, self.worker, self.version, self.python, self.call, self.code, self.inputs]
        return sha256(canonical(parts)).hexdigest()


# Details --------------------------------------------------------------------------------------------------------------


def details_of(inputs: Mapping[str, Any]) -> dict[str, Detail]:
    """The inputs taken apart, outer parts first, as far as `DETAILS` goes."""
    found: dict[str, Detail] = {}
    waiting = deque(inputs.items())
    while waiting:
        name, value = waiting.popleft()
        parts = _parts(name, value)
        if parts and len(found) + len(waiting) + len(parts) < DETAILS:
            found[name] = Detail(type(value).__name__.encode(), f"a {type(value).__name__}")
            waiting.extend(parts)
        else:
            hidden = _SECRET.search(name) is not None
            found[name] = Detail(sha256(canonical(value)).digest()[:12], "***" if hidden else shown(value))
    return found


def _parts(name: str, value: Any) -> list[tuple[str, Any]]:
    if type(value) is dict and all(type(key) is str and len(key) <= LONGEST for key in value):
        return [(f"{name}.{key}" if key.isidentifier() else f"{name}[{key!r}]", part) for key, part in value.items()]
    if type(value) in (list, tuple) and len(value) <= LISTED:
        return [(f"{name}[{number}]", part) for number, part in enumerate(value)]
    return []


def shown(value: Any) -> str:
    """A value in a few characters."""
    kind = type(value)
    if kind in (dict, list, tuple, set, frozenset) and value:
        return f"a {kind.__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"a {kind.__name__} of {'×'.join(map(str, shape))}"
    if kind in (str, bytes) and len(value) > SHOWN:
        return f"{value[: SHOWN // 2]!r}… ({len(value)} {'characters' if kind is str else 'bytes'})"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


# Differences ----------------------------------------------------------------------------------------------------------


def difference(new: Recipe, old: Recipe) -> str:
    """In which parts they differ, in one line: `input.x: 3 → 4`."""
    told = list(_differences(new, old))
    if not told:
        return "nothing that can be named"
    more = f"; and {len(told) - TOLD} more" if len(told) > TOLD else ""
    return "; ".join(told[:TOLD]) + more


def _differences(new: Recipe, old: Recipe) -> Iterator[str]:
    if new.worker != old.worker:
        yield f"worker {old.worker} → {new.worker}"
    if new.version != old.version:
        yield f"version {old.version or 'none'} → {new.version or 'none'}"
    yield from _of_code(new, old)
    if new.python != old.python:
        yield f"Python {old.python} → {new.python}"
    if new.call != old.call:
        yield f"call {old.call} → {new.call}"
    if new.inputs != old.inputs:
        yield from _of_details(new.details, old.details)


def _of_code(new: Recipe, old: Recipe) -> Iterator[str]:
    names = sorted({*new.code, *old.code})
    changed = [name for name in names if new.code.get(name) != old.code.get(name)]
    own = [name for name in changed if name == "" or name.startswith(".")]
    if own:
        which = ", ".join(name.lstrip(".") for name in own if name)
        yield f"code of worker {new.worker} changed" + (f" ({which})" if which else "")
    for name in changed:
        if name not in own:
            what = "is new" if name not in old.code else "is gone" if name not in new.code else "changed"
            yield f"{name}, which worker {new.worker} uses, {what}"


def _of_details(new: Mapping[str, Detail], old: Mapping[str, Detail]) -> Iterator[str]:
    count = 0
    for name in dict.fromkeys((*new, *old)):
        mine, other = new.get(name), old.get(name)
        if mine is not None and other is not None:
            if mine.digest == other.digest:
                continue
            same = mine.shown == other.shown
            yield f"{name}: {mine.shown} with another content" if same else f"{name}: {other.shown} → {mine.shown}"
        elif mine is not None:
            yield f"{name} is new: {mine.shown}"
        elif other is not None:
            yield f"{name} is gone, it was {other.shown}"
        count += 1
    if not count:
        yield "the input"
