"""What an option may be: one small check per kind of value, all with one form of complaint.

A check takes where the option stands (`job 'A'`), its name and what was given; it returns the value as the model keeps
it, or raises a `DefinitionError` that says where, which option, what it must be and what it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .errors import DefinitionError

Check = Callable[[str, str, Any], Any]
SHOWN = 120
BIG = 2**31
"""Whole numbers stay below this: far beyond any use, and safe in every journal and every language."""


def show(value: object) -> str:
    """A value for an error message: its repr, shortened, whatever it does."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  # a user's __repr__ may raise anything; the message must still come
        text = f"<a {type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 20]} ... ({len(text)} characters)"


def fault(where: str, option: str, must: str, value: object) -> DefinitionError:
    return DefinitionError(f"{where}: {option} must be {must}, not {show(value)}")


def text(where: str, option: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise fault(where, option, "a text that is not empty", value)
    return clean(where, option, value)


def clean(where: str, option: str, value: str) -> str:
    """The text itself, as a plain str, when it can be written as UTF-8."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise fault(where, option, "a text that can be written as UTF-8 (no lone surrogates)", value) from None
    return value if type(value) is str else str.__str__(value)


def any_text(where: str, option: str, value: Any) -> str:
    if not isinstance(value, str):
        raise fault(where, option, "a text", value)
    return clean(where, option, value)


def flag(where: str, option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise fault(where, option, "True or False", value)
    return value


def one_of(*allowed: str) -> Check:
    must = (
        " or ".join([", ".join(map(repr, allowed[:-1])), repr(allowed[-1])]) if len(allowed) > 1 else repr(allowed[0])
    )

    def check(where: str, option: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise fault(where, option, must, value)
        return value

    return check


def whole(low: int, high: int = BIG) -> Check:
    least = "" if low == -BIG else f" from {low}"
    must = f"a whole number{least and f'{least} on'}" if high == BIG else f"a whole number{least} to {high}"

    def check(where: str, option: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise fault(where, option, must, value)
        return int(value)

    return check


def number(must: str, low: float, *, above: bool = False) -> Check:
    """A finite number from `low` on, or (`above`) above it."""

    def check(where: str, option: str, value: Any) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or value < low or (above and value == low) or not math.isfinite(value) or value > 1e300:
            raise fault(where, option, must, value)
        return float(value)

    return check


def texts(where: str, option: str, value: Any) -> tuple[str, ...]:
    """Several texts; one text alone stands for itself."""
    if isinstance(value, str):
        return (text(where, option, value),)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise fault(where, option, "a list of texts", value)
    return tuple(text(where, f"{option}[{at}]", one) for at, one in enumerate(value))


def amounts(where: str, option: str, value: Any) -> dict[str, float]:
    """Amounts by name: `{'cpu': 2, 'memory': 4e9}`."""
    if not isinstance(value, Mapping):
        raise fault(where, option, "a dict of amounts by name, such as {'gpu': 1}", value)
    return {
        text(where, f"a name in {option}", name): amount(where, f"{option}[{name!r}]", much)
        for name, much in value.items()
    }


seconds = number("a number of seconds above 0", 0, above=True)
amount = number("a number from 0 on", 0)


def unknown(where: str, name: object, known: Iterable[str], what: str = "option") -> DefinitionError:
    """A name that nothing has, with the nearest one that something has."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
    return DefinitionError(f"{where}: unknown {what} {show(name)}; {hint}")
