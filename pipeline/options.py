"""The options of a job that are more than a word or a number: how to try again, how branches close.

Both are small frozen values for users; `rule()` gives the form in which they travel. What each option of a job may be
stands in one table, `JOB_OPTIONS`: an option is accepted as the user writes it and as a file has it (a plain dict).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, NoReturn, Protocol, TypeVar, overload

from .checks import (
    Check,
    amount,
    amounts,
    clean,
    fault,
    flag,
    number,
    one_of,
    seconds,
    show,
    text,
    texts,
    unknown,
    whole,
)
from .definition import CommandLine, GatherRule, RetryRule
from .errors import DefinitionError
from .requirement import SIGNS, RequirementError, requirement

T = TypeVar("T")
Fault = str | int | type[BaseException]
"""What may be tried again: an exception's name, an exception class (by its name), or a command's exit code."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again: `tries` in all, the first too; before try n+1 wait `delay * factor ** (n - 1)` seconds, at most `cap`.

    With `jitter` the wait is a random part of that, so that many failures do not come back together. `on` limits it to
    some exceptions or exit codes, `never` excludes some. An exception counts by its name and by those of the classes
    that it is derived from: `'ValueError'`, `ValueError` and `'package.module.MyError'` are all fine.
    """

    tries: int
    delay: float = 0.0
    factor: float = 1.0
    cap: float | None = None
    jitter: bool = True
    on: tuple[str | int, ...] | Iterable[Fault] | Fault = ()
    never: tuple[str | int, ...] | Iterable[Fault] | Fault = ()

    def __post_init__(self) -> None:
        _set(self, "tries", whole(1), self.tries)
        _set(self, "delay", number("a number of seconds from 0 on", 0), self.delay)
        _set(self, "factor", number("a number from 1 on", 1), self.factor)
        if self.cap is not None:
            _set(self, "cap", number("a number of seconds from 0 on", 0), self.cap)
        _set(self, "jitter", flag, self.jitter)
        _set(self, "on", _faults, self.on)
        _set(self, "never", _faults, self.never)

    def rule(self) -> RetryRule:
        return RetryRule(**{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def of(cls, rule: RetryRule) -> Retry:
        return cls(rule.tries, rule.delay, rule.factor, rule.cap, rule.jitter, rule.on, rule.never)


@dataclass(frozen=True, slots=True)
class Gather:
    """Close branches into a list, in index order: all levels, `level` of them, by a key of the items, in windows."""

    level: int | None = None
    by: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.level is not None:
            _set(self, "level", whole(1), self.level)
        if self.by is not None:
            _set(self, "by", text, self.by)
        if self.size is not None:
            _set(self, "size", whole(1), self.size)
        if self.by is not None and self.size is not None:
            raise DefinitionError(
                f"Gather: by={self.by!r} and size={self.size} exclude each other: gather by key first, in windows after"
            )

    def rule(self) -> GatherRule:
        return GatherRule(self.level, self.by, self.size)

    @classmethod
    def of(cls, rule: GatherRule) -> Gather:
        return cls(rule.level, rule.by, rule.size)


def _set(owner: Retry | Gather, option: str, check: Check, value: Any) -> None:
    object.__setattr__(owner, option, check(type(owner).__name__, option, value))


def _faults(where: str, option: str, value: Any) -> tuple[str | int, ...]:
    several = value if isinstance(value, Iterable) and not isinstance(value, str | bytes | type | Mapping) else (value,)
    return tuple(_fault(where, option, one) for one in several)


def _fault(where: str, option: str, value: Any) -> str | int:
    if isinstance(value, type) and issubclass(value, BaseException):
        return value.__name__
    if isinstance(value, str) and value:
        return text(where, option, value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return int(value)
    raise fault(where, option, "names of exceptions, exception classes or exit codes", value)


def _of_kind(kind: type[Retry] | type[Gather], example: str) -> Check:
    """An instance of `kind`, or the dict that a file has in its place."""
    names = [field.name for field in fields(kind)]

    def check(where: str, option: str, value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise fault(where, option, example, value)
        for name in value:
            if name not in names:
                raise unknown(f"{where}: {option}", name, names)
        try:
            return kind(**value)
        except (TypeError, DefinitionError) as error:
            raise DefinitionError(f"{where}: {option}={dict(value)!r} cannot be: {error}") from None

    return check


def command_line(where: str, option: str, value: Any) -> CommandLine:
    """A `CommandLine`, an argument list, or the dict that a file has in its place."""
    if isinstance(value, CommandLine):
        return value
    if isinstance(value, list | tuple):
        value = {"argv": value}
    if not isinstance(value, Mapping):
        raise fault(where, option, "a list of arguments (for shell text write Job.shell('...'))", value)
    for name in value:
        if name not in COMMAND_PARTS:
            raise unknown(f"{where}: {option}", name, COMMAND_PARTS)
    line = CommandLine(
        **{
            name: check(where, f"{option} {name}", value[name])
            for name, check in COMMAND_PARTS.items()
            if name in value
        }
    )
    if bool(line.argv) == (line.shell is not None):
        raise fault(where, option, "either a list of arguments or shell text", value)
    return line


def _arguments(where: str, option: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise fault(where, option, "a list of texts that is not empty", value)
    return tuple(_for_program(where, f"{option}[{at}]", one) for at, one in enumerate(value))


def _for_program(where: str, option: str, value: Any) -> str:
    """A text that a program can be given."""
    if not isinstance(value, str) or "\0" in value:
        raise fault(where, option, "a text without NUL characters", value)
    return clean(where, option, value)


def _environment(where: str, option: str, value: Any) -> dict[str, str]:
    fits = isinstance(value, Mapping) and all(isinstance(part, str) for pair in value.items() for part in pair)
    if not fits:
        raise fault(where, option, "a dict of texts", value)
    for name in value:
        if not name or "=" in name:
            raise fault(where, option, "a dict of texts, with names that are not empty and without =", value)
    return {_for_program(where, option, name): _for_program(where, option, text) for name, text in value.items()}


def _line(where: str, option: str, value: Any) -> str:
    return _for_program(where, option, text(where, option, value))


COMMAND_PARTS: dict[str, Check] = {
    "argv": _arguments,
    "shell": _line,
    "cwd": _line,
    "env": _environment,
    "dialect": one_of("", "alfred"),
}


def _role(where: str, option: str, value: Any) -> str:
    """A name, or an expression that can be read. What has no sign of an expression is a name whatever it is."""
    role = text(where, option, value)
    try:
        requirement(role)
    except RequirementError as error:
        if not SIGNS.isdisjoint(role):
            raise DefinitionError(f"{where}: {option} {show(role)} cannot be read: {error}") from None
    return role


JOB_OPTIONS: dict[str, Check] = {
    "bind": one_of("store", "args", "named", "item", "gather", "literal"),
    "spread": flag,
    "gather": _of_kind(Gather, "a Gather, such as Gather(), Gather(level=1), Gather(by='key') or Gather(size=5)"),
    "when": one_of("success", "failure", "always"),
    "retry": _of_kind(Retry, "a Retry, such as Retry(3, delay=1)"),
    "timeout": seconds,
    "queue_timeout": seconds,
    "role": _role,
    "resources": amounts,
    "limits": texts,
    "priority": whole(-(2**31)),
    "on_error": one_of("fail", "block", "continue"),
    "cache": one_of("content"),
    "command": command_line,
}


def plain(value: Any) -> Any:
    """An option as JSON has it: what is left out has its default."""
    if isinstance(value, Retry | Gather | CommandLine):
        names = value.__struct_fields__ if isinstance(value, CommandLine) else [field.name for field in fields(value)]
        parts = {name: plain(getattr(value, name)) for name in names}
        return {name: part for name, part in parts.items() if part != _PLAIN_DEFAULTS.get(name)}
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return dict(value) if isinstance(value, dict) else value


_PLAIN_DEFAULTS: dict[str, Any] = {
    "delay": 0.0,
    "factor": 1.0,
    "jitter": True,
    "on": [],
    "never": [],
    "argv": [],
    "env": {},
    "dialect": "",
}


class Optioned(Protocol):
    @property
    def options(self) -> Mapping[str, Any]: ...


class Option(Generic[T]):
    """A read-only attribute: what the owner's options say, or the default."""

    def __init__(self, default: T) -> None:
        self.default = default
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, owner: None, kind: type) -> Option[T]: ...
    @overload
    def __get__(self, owner: Optioned, kind: type) -> T: ...
    def __get__(self, owner: Optioned | None, kind: type) -> T | Option[T]:
        return self if owner is None else owner.options.get(self.name, self.default)

    def __set__(self, owner: Optioned, value: object) -> NoReturn:
        kind = type(owner).__name__
        raise AttributeError(f"{self.name} of {owner!r} is fixed; make a new {kind}({self.name}={value!r}, ...)")


__all__ = ["JOB_OPTIONS", "Gather", "Option", "Retry", "amount", "command_line", "plain"]
