"""Expressions of an Alfred script: an operator, its words and its options.

Parsed by keyword and not by line: an expression begins at the bare name of an operator and goes on to the next one, to
a semicolon or to the end of the block, so that scripts read which are no valid Tcl, and every script that is. What an
option's word means is not looked at here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .alfgrammar import OPERATORS, TCL, WITHOUT_OPTIONS
from .alfsource import AlfscriptError, Source, nearest
from .alfwords import Braces, Scanner, Word

_OPTION = re.compile(r"-[A-Za-z][A-Za-z0-9_]*")


class Option:
    """An option as it was written: where its name stands, and its word."""

    __slots__ = ("at", "word")

    def __init__(self, at: int, word: Word) -> None:
        self.at = at
        self.word = word


@dataclass(slots=True)
class Expression:
    """`set` is one too, for the sake of `set AlfJobPause 1`."""

    operator: str
    source: Source
    at: int
    words: list[Word] = field(default_factory=list)
    options: dict[str, Option] = field(default_factory=dict)

    def error(self, what: str, at: int | None = None) -> AlfscriptError:
        return self.source.error(self.at if at is None else at, what)


class Parser:
    """Reads the parts of one source; a part is read once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._braces = Braces(source)
        self._parsed: dict[int, list[Expression]] = {}

    def whole(self) -> list[Expression]:
        return self._expressions(0, len(self.source.text))

    def inside(self, word: Word) -> list[Expression]:
        """The expressions within a braced word."""
        found = self._parsed.get(word.start)
        if found is None:
            found = self._parsed[word.start] = self._expressions(word.start, word.end)
        return found

    def first(self, word: Word) -> str:
        """The first word within a braced one, when it is a bare one; empty when there is none."""
        scanner = Scanner(self._braces, word.start, word.end)
        found = scanner.next()
        return "" if found is None else found.raw(self.source) if found.kind == "bare" else "{}"

    def _expressions(self, start: int, end: int) -> list[Expression]:
        scanner = Scanner(self._braces, start, end)
        found: list[Expression] = []
        current: Expression | None = None
        while (word := scanner.next()) is not None:
            text = word.raw(self.source) if word.kind == "bare" else ""
            if word.kind == "semicolon":
                current = None
            elif text in OPERATORS or (text == "set" and current is None):
                current = Expression(text, self.source, word.at)
                found.append(current)
            elif current is None:
                raise self._no_operator(word, text)
            elif _OPTION.fullmatch(text) and current.operator not in WITHOUT_OPTIONS:
                self._add_option(current, word, text[1:], scanner)
            else:
                current.words.append(word)
        return found

    def _add_option(self, current: Expression, word: Word, name: str, scanner: Scanner) -> None:
        value = scanner.next()
        if value is None or value.kind == "semicolon":
            raise self.source.error(word.at, f"option -{name} needs a value", shown=f"-{name}")
        if name in current.options:
            line, _ = self.source.place(current.options[name].at)
            raise self.source.error(word.at, f"option -{name} stands twice in this {current.operator}: see line {line}")
        current.options[name] = Option(word.at, value)

    def _no_operator(self, word: Word, text: str) -> AlfscriptError:
        if text.removeprefix("::") in TCL:
            what = f"{text} is a command of Tcl's, which is not executed: a script may only describe its job"
        elif _OPTION.fullmatch(text):
            what = f"option {text} belongs to no operator: is there a semicolon before it?"
        else:
            near = nearest(text, OPERATORS)
            hint = f"did you mean {near}?" if near else f"one of {', '.join(sorted(OPERATORS))}"
            what = f"an operator has to stand here: {hint}"
        return self.source.error(word.at, what)
