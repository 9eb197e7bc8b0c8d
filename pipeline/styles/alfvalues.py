"""What the words of an expression mean: texts, flags, numbers, lists, launch expressions.

Every method raises an `AlfscriptError` at the word that cannot be what it has to be. An empty word says nothing, as an
option does that is not there: exporters write many of them.
"""

from __future__ import annotations

import re
from typing import NoReturn

from .alflists import ListError, split
from .alfparser import Expression
from .alfsource import UNFIT, AlfscriptError, Source
from .alftexts import Reader, Scope
from .alfwords import Word

_YES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Values:
    """The words of one expression, read with the variables that are known there."""

    def __init__(self, reader: Reader, expression: Expression, scope: Scope) -> None:
        self.reader = reader
        self.expression = expression
        self.scope = scope
        self._texts: dict[str, str] = {}

    @property
    def source(self) -> Source:
        return self.expression.source

    # Options ---------------------------------------------------------------------------------------------------------

    def has(self, option: str) -> bool:
        return option in self.expression.options

    def needed(self, option: str) -> Word:
        """The word of an option that has to be there."""
        if option not in self.expression.options:
            raise self.expression.error(f"this {self.expression.operator} has no -{option}")
        return self.expression.options[option].word

    def text(self, option: str) -> str:
        """The text of an option; empty when it is not there."""
        if option not in self.expression.options:
            return ""
        if option not in self._texts:
            self._texts[option] = self.of(self.needed(option))
        return self._texts[option]

    def stripped(self, option: str) -> str:
        return self.text(option).strip()

    def flag(self, option: str) -> bool:
        text = self.stripped(option).lower()
        if text and text not in _YES:
            self.refuse(option, "0 or 1")
        return _YES.get(text, False)

    def whole(self, option: str, least: int | None = None) -> int | None:
        text = self.stripped(option)
        if not text:
            return None
        if not _WHOLE.fullmatch(text) or (least is not None and int(text) < least):
            self.refuse(option, "a whole number" if least is None else f"a whole number from {least} on")
        return int(text)

    def bound(self, option: str) -> int:
        """A whole number that has to be there."""
        self.needed(option)
        number = self.whole(option)
        return self.refuse(option, "a whole number") if number is None else number

    def number(self, option: str, least: float | None = None) -> float | None:
        text = self.stripped(option)
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or (least is not None and float(text) < least):
            self.refuse(option, "a number" if least is None else f"a number from {least:g} on")
        return float(text)

    def names(self, option: str) -> tuple[str, ...]:
        """The elements of a list that are not empty."""
        return (
            tuple(name for name in self.split(self.needed(option), self.text(option)) if name)
            if self.has(option)
            else ()
        )

    def codes(self, option: str) -> list[int]:
        names = self.names(option)
        if not all(_WHOLE.fullmatch(name) for name in names):
            self.refuse(option, "a list of exit codes")
        return [int(name) for name in names]

    def refuse(self, option: str, must: str) -> NoReturn:
        raise self.complaint(option, f"-{option} must be {must}")

    def complaint(self, option: str, what: str) -> AlfscriptError:
        return self.source.error(self.needed(option).at, what, shown=" ".join(self.text(option)[:200].split()))

    # Words -----------------------------------------------------------------------------------------------------------

    def of(self, word: Word) -> str:
        return self.reader.text(self.source, word, self.scope)

    def variable(self, word: Word) -> str:
        name = self.of(word)
        if not _VARIABLE.fullmatch(name):
            raise self.source.error(word.at, "the name of a variable has letters, digits and _ only")
        return name

    def split(self, word: Word, text: str) -> list[str]:
        """The elements of a list that stands in a word."""
        try:
            elements = split(text)
        except ListError as error:
            same = word.raw(self.source) == text
            at = word.start + error.at if same else word.at
            raise self.source.error(at, str(error), None if same else text[error.at : error.at + 60]) from None
        unfit = next((found for one in elements if (found := UNFIT.search(one)) is not None), None)
        if unfit is not None:
            raise self.source.error(word.at, f"\\u{ord(unfit[0]):04x} is no character that a program can be given")
        return elements

    def command(self, word: Word) -> list[str]:
        """A launch expression as a list of arguments."""
        argv = self.split(word, self.of(word))
        if not argv or not argv[0]:
            raise self.source.error(word.at, "there is no program to run", shown="")
        return argv
