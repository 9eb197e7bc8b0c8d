"""What the words of an Alfred script say: variables are put in, escapes are read, launch expressions are split.

Only names that the script itself has set (by Assign or Iterate) are variables, and they are put into bare, quoted and
braced texts alike; any other `$NAME` is left as it is, for it is meant for a shell. `[...]` would be a command of
Tcl's: it is refused, for nothing of a script is executed; between braces it is text. Within Iterate
`[format %04d $f]` is understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .alflists import ESCAPE, unescaped
from .alfsource import MAX_COUNT, MAX_TEXT, MAX_TEXTS, UNFIT, Source
from .alfwords import Word

MAX_WARNINGS = 1000
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_FORMAT = (
    r"\[\s*format\s+%(?P<flag>0?)(?P<width>\d{0,2})d\s+"
    rf"\$(?P<open>\{{)?(?P<number>{NAME})(?(open)\}})\s*\]"
)
_VARIABLE = rf"\$(?P<brace>\{{)?(?P<name>{NAME})(?(brace)\}})"
_READ = re.compile(rf"{ESCAPE}|{_FORMAT}|(?P<bracket>\[)|{_VARIABLE}", re.DOTALL)
_RAW = re.compile(rf"(?P<joined>\\\n[ \t]*)|(?P<kept>\\.)|{_FORMAT}|{_VARIABLE}", re.DOTALL)
_PLAIN = re.compile(r"[^\\$\[]*")


@dataclass(slots=True)
class Budget:
    """What reading a script may still cost."""

    expressions: int = MAX_COUNT
    characters: int = MAX_TEXTS

    def expression(self, source: Source, at: int) -> None:
        self.expressions -= 1
        if self.expressions < 0:
            raise source.error(at, f"the script stands for more than {MAX_COUNT} expressions")

    def text(self, source: Source, at: int, size: int) -> None:
        self.characters -= size
        if size > MAX_TEXT or self.characters < 0:
            limit = MAX_TEXT if size > MAX_TEXT else MAX_TEXTS
            what = "this text" if size > MAX_TEXT else "all texts"
            raise source.error(at, f"with its variables put in, {what} would have more than {limit} characters")


class Scope:
    """The variables that are known at a place: those of Assign, and the numbers of the Iterates around it."""

    __slots__ = ("_assigned", "_name", "_number", "_outer")

    def __init__(self, outer: Scope | None = None, name: str = "", number: int = 0) -> None:
        self._outer = outer
        self._name = name
        self._number = number
        self._assigned: dict[str, str] = {} if outer is None else outer._assigned

    def assign(self, name: str, value: str) -> None:
        self._assigned[name] = value

    def counting(self, name: str, number: int) -> Scope:
        """The scope of a round of Iterate."""
        return Scope(self, name, number)

    def number(self, name: str) -> int | None:
        """The number that Iterate has put into a variable."""
        scope: Scope | None = self
        while scope is not None and scope._outer is not None:
            if scope._name == name:
                return scope._number
            scope = scope._outer
        return None

    def value(self, name: str) -> str | None:
        number = self.number(name)
        return self._assigned.get(name) if number is None else str(number)


class Reader:
    """Reads words within one script, and remembers what is to be warned of."""

    def __init__(self) -> None:
        self.budget = Budget()
        self.environment: set[str] = set()
        """Names that the script itself sets for its commands: a shell will know them."""
        self._warnings: dict[str, str] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings.values())

    def has_warned(self, about: str) -> bool:
        """Each thing is warned of once; and a thousand warnings are enough."""
        return about in self._warnings or len(self._warnings) >= MAX_WARNINGS

    def warn(self, source: Source, at: int, about: str, told: str) -> None:
        if not self.has_warned(about):
            line, column = source.place(at)
            self._warnings[about] = f"line {line}, column {column}: {told}"

    def text(self, source: Source, word: Word, scope: Scope) -> str:
        """What a word says."""
        raw = word.raw(source)
        plain = _PLAIN.fullmatch(raw) is not None
        text = raw if plain else self._replaced(source, word, raw, scope)
        self.budget.text(source, word.at, len(text))
        return text

    def _replaced(self, source: Source, word: Word, raw: str, scope: Scope) -> str:
        braced = word.kind == "braced"
        parts: list[str] = []
        size = last = 0
        for found in (_RAW if braced else _READ).finditer(raw):
            parts.append(raw[last : found.start()])
            part = self._raw(source, word, found, scope) if braced else self._read(source, word, found, scope)
            parts.append(part)
            size += len(part)
            last = found.end()
            if size > MAX_TEXT:
                self.budget.text(source, word.at, size)
        parts.append(raw[last:])
        text = "".join(parts)
        if (unfit := UNFIT.search(text)) is not None:
            raise source.error(word.at, f"\\u{ord(unfit[0]):04x} is no character that a program can be given")
        return text

    def _read(self, source: Source, word: Word, found: re.Match[str], scope: Scope) -> str:
        """A part of a bare or quoted word."""
        if (escape := found["escape"]) is not None:
            return unescaped(escape)
        if found["number"]:
            return self._format(source, word, found, scope)
        if found["bracket"]:
            raise source.error(
                word.start + found.start(), "a command of Tcl's in brackets is not executed; between braces it is text"
            )
        return self._variable(source, word, found, scope)

    def _raw(self, source: Source, word: Word, found: re.Match[str], scope: Scope) -> str:
        """A part of a braced word."""
        if found["joined"]:
            return " "
        if found["kept"]:
            return found[0]
        name = found["number"]
        if name:
            return found[0] if scope.number(name) is None else self._format(source, word, found, scope)
        return self._variable(source, word, found, scope)

    def _variable(self, source: Source, word: Word, found: re.Match[str], scope: Scope) -> str:
        name = found["name"]
        value = scope.value(name)
        if value is None and name in self.environment:
            return found[0]
        if value is None:
            told = f"${name} is no variable of this script: it is left as it is"
            self.warn(source, word.start + found.start(), f"${name}", told)
            return found[0]
        return value

    def _format(self, source: Source, word: Word, found: re.Match[str], scope: Scope) -> str:
        name = found["number"]
        number = scope.number(name)
        if number is None:
            raise source.error(
                word.start + found.start(),
                f"a command of Tcl's in brackets is not executed; format is understood for a variable of Iterate, "
                f"and {name} is none here",
            )
        return format(number, f"{found['flag']}{found['width']}d")
