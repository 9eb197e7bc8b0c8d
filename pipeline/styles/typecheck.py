"""Types as definitions write them, and which of them fit where.

Types are texts that people agree on. A few of them are related; every other text fits itself and nothing else:

    any                 everything fits `any`, and nothing but `any` fits anything narrower
    number              `integer` and `float` fit it; `integer` fits `float` too
    string boolean map  one kind of value each
    list, list[T]       `list` is `list[any]`; `list[T]` fits `list[U]` when T fits U
    T|U                 either of them

`str`, `int`, `bool`, `dict`, `object` and `array` are other words for string, integer, boolean, map, map and list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Type = tuple[str, ...]
"""The alternatives, each as a normal text."""

ANY = "any"
_OTHER_WORDS = {"str": "string", "int": "integer", "bool": "boolean", "dict": "map", "object": "map", "array": "list"}
_WIDER = {"integer": ("float", "number"), "float": ("number",)}
_LIST = "list["
LONGEST = 200
"""Letters of a type that is looked into; what is longer is a name."""

_VALUES: dict[str, Callable[[Any], bool]] = {
    ANY: lambda value: True,
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "map": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
}
KNOWN = tuple(sorted(_VALUES))
"""Types whose values can be looked at."""


def parsed(text: str) -> Type:
    """The alternatives of a type. Any text is a type: what is no list and no alternative is a name."""
    if len(text) > LONGEST:
        return (f"the type {text}",)
    return tuple(dict.fromkeys(_normal(part.strip()) for part in _alternatives(text)))


def fits(given: str, wanted: str) -> bool:
    """May a value of the type `given` stand where `wanted` is asked for?"""
    return all(any(_fits(one, other) for other in parsed(wanted)) for one in parsed(given))


def element(given: str) -> str | None:
    """What a list of this type holds; None when it is no list of something."""
    (one, *more) = parsed(given)
    return one[len(_LIST) : -1] if not more and one.startswith(_LIST) else None


def is_known(text: str) -> bool:
    """Can values be checked against it?"""
    return all(one in _VALUES or (_is_list(one) and is_known(one[len(_LIST) : -1])) for one in parsed(text))


def value_fits(value: Any, wanted: str) -> bool:
    return any(_value_fits(value, one) for one in parsed(wanted))


def _alternatives(text: str) -> list[str]:
    """Split at the bars that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _normal(text: str) -> str:
    if text.endswith("]"):
        kind, _, inner = text[:-1].partition("[")
        if _OTHER_WORDS.get(kind.strip(), kind.strip()) == "list":
            within = "|".join(parsed(inner))
            return "list" if within == ANY else f"{_LIST}{within}]"
    return _OTHER_WORDS.get(text, text)


def _is_list(one: str) -> bool:
    return one.startswith(_LIST) and one.endswith("]")


def _fits(given: str, wanted: str) -> bool:
    if wanted in (given, ANY) or wanted in _WIDER.get(given, ()):
        return True
    if not _is_list(given):
        return False
    return wanted == "list" or (_is_list(wanted) and fits(given[len(_LIST) : -1], wanted[len(_LIST) : -1]))


def _value_fits(value: Any, one: str) -> bool:
    if _is_list(one):
        return isinstance(value, list) and all(value_fits(item, one[len(_LIST) : -1]) for item in value)
    return one not in _VALUES or _VALUES[one](value)
