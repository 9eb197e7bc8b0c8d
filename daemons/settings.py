"""One setting: its name, its default, and how its value is read from text or from TOML.

A reader takes what a flag, the environment or a file holds and returns the value, or raises ValueError with the end of
the sentence "NAME has to be ...". The sentence is finished by `Setting.parse`, which knows the name and the place.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ..pipeline.errors import ConfigError
from .addresses import connect_address

Reader = Callable[[object], Any]
LEVELS = ("debug", "info", "warning", "error")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>[kmgt]i?b)", re.IGNORECASE)
_DURATION = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<unit>ms|s|m|h|d|w)?")


@dataclass(frozen=True)
class Setting:
    name: str
    default: Any
    reader: Reader
    help: str
    metavar: str
    secret: bool
    """True: never on a command line that other users of the machine can see."""

    @classmethod
    def of(cls, field: dataclasses.Field[Any]) -> Setting:
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        return cls(name=field.name, default=default, **field.metadata)

    @property
    def key(self) -> str:
        return self.name.replace("_", "-")

    @property
    def is_flag(self) -> bool:
        return self.reader is flag

    def parse(self, raw: object, origin: str) -> Any:
        try:
            return self.reader(raw)
        except ValueError as error:
            raise ConfigError(f"{origin}: {self.key!r} has to be {error}, not {raw!r}") from None


def setting(default: Any, reader: Reader, help: str, *, metavar: str = "", secret: bool = False) -> Any:
    """A dataclass field that is a setting."""
    metadata = {"reader": reader, "help": help, "metavar": metavar or reader.__name__.upper(), "secret": secret}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def as_text(value: object) -> str:
    """The text that the value's reader reads back: for flags and the environment of child processes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


# Readers ------------------------------------------------------------------------------------------------------------


def text(raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("text")
    return raw


def path(raw: object) -> str:
    """Absolute: it is read by processes in other folders too."""
    return str(Path(text(raw)).expanduser().absolute())


def address(raw: object) -> str:
    try:
        return connect_address(text(raw))
    except ConfigError:
        raise ValueError("an address like tcp://127.0.0.1:5555 or ipc:///tmp/headrace.sock") from None


def level(raw: object) -> str:
    if not isinstance(raw, str) or raw.lower() not in LEVELS:
        raise ValueError(f"one of {', '.join(LEVELS)}")
    return raw.lower()


def flag(raw: object) -> bool:
    known = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str) or raw.lower() not in known:
        raise ValueError("true or false")
    return known[raw.lower()]


def count(raw: object) -> int:
    number = _number(raw)
    if number is None or not 1 <= number < float("inf") or number != int(number):
        raise ValueError("a whole number from 1 on")
    return int(number)


def seconds(raw: object) -> float:
    if isinstance(raw, str):
        match = _DURATION.fullmatch(raw.strip())
        if match:
            return float(match["number"]) * UNITS[match["unit"] or "s"]
    number = _number(raw)
    if number is None or not 0 <= number < float("inf"):
        raise ValueError("a duration in seconds, or with a unit as 500ms, 10s, 5m, 12h, 30d")
    return float(number)


def size(raw: object) -> int:
    if isinstance(raw, str):
        match = _SIZE.fullmatch(raw.strip())
        if match:
            return int(float(match["number"]) * BYTES[match["unit"].lower()])
    number = _number(raw)
    if number is None or not 0 <= number < float("inf"):
        raise ValueError("a number of bytes, or one with a unit as 500MB, 10GiB")
    return int(number)


def names(raw: object) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if (
        not isinstance(parts, list | tuple)
        or not all(isinstance(part, str) and part.strip() for part in parts)
        or not parts
    ):
        raise ValueError("one or more names, separated by commas")
    return tuple(part.strip() for part in parts)


def slots(raw: object) -> dict[str, int]:
    found = _pairs(raw)
    if found is None or any(not 1 <= number < float("inf") or number != int(number) for number in found.values()):
        raise ValueError("names with whole numbers, as shell:2,encode:1")
    return {name: int(number) for name, number in found.items()}


def offers(raw: object) -> dict[str, float | tuple[str, ...]]:
    """Amounts, or the names of units: `memory:64,gpu:4`, `gpu:0+3`, {"gpu": ["0", "3"]}."""
    found = dict(_split_pair(part) for part in raw.split(",")) if _is_list(raw) else _map(raw)
    if found is None or not all(isinstance(name, str) and name.strip() for name in found):
        raise ValueError(OFFERS)
    return {name: _offer(offered) for name, offered in found.items()}


OFFERS = "names with numbers above 0 or with the names of units, as memory:64,gpu:2 or gpu:0+3"


def _offer(raw: object) -> float | tuple[str, ...]:
    if isinstance(raw, str) and "+" in raw:
        raw = [unit for unit in raw.split("+") if unit.strip()]
    if isinstance(raw, list | tuple):
        units = tuple(str(unit).strip() for unit in raw)
        if not units or len(set(units)) < len(units) or not all(units):
            raise ValueError(OFFERS)
        return units
    number = _number(raw)
    if number is None or not 0 < number < float("inf"):
        raise ValueError(OFFERS)
    return number


def json_map(raw: object) -> dict[str, Any]:
    found = _json(raw) if isinstance(raw, str) else raw
    if not isinstance(found, dict):
        raise ValueError('a JSON map, as {"path": "/data"}')
    return found


def _pairs(raw: object) -> dict[str, float] | None:
    """`a:1,b:2`, a JSON map, or a map, as numbers by name; None when it is nothing of that."""
    found = dict(_split_pair(part) for part in raw.split(",")) if _is_list(raw) else _map(raw)
    if found is None:
        return None
    numbers = {name: _number(value) for name, value in found.items()}
    if any(number is None or not str(name).strip() for name, number in numbers.items()):
        return None
    return {str(name): number for name, number in numbers.items() if number is not None}


def _is_list(raw: object) -> TypeGuard[str]:
    """`a:1,b:2`"""
    return isinstance(raw, str) and not raw.lstrip().startswith("{")


def _map(raw: object) -> dict[Any, object] | None:
    found = _json(raw) if isinstance(raw, str) else raw
    return found if isinstance(found, dict) else None


def _split_pair(part: str) -> tuple[str, str]:
    name, _, number = part.rpartition(":")
    return name.strip(), number.strip()


def _number(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        return float(raw)
    except ValueError:
        return None


def _json(raw: str) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return None
