"""What the words of an expression mean: titles, flags, numbers, lists, services, launch expressions.

Every method raises an `AlfscriptError` at the word that cannot be what it has to be. An empty word says nothing, as an
option does that is not there: exporters write many of them.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NoReturn

from ..requirement import RequirementError, requirement
from .alfparser import Expression
from .alfsource import AlfscriptError, Source
from .alftexts import ListError, Reader, Scope, split
from .alfwords import Word

_YES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")
_TIME = re.compile(r"(?:([0-9]{1,2})\s+([0-9]{1,2})\s+)?([0-9]{1,2}):([0-9]{2})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNFIT = re.compile("[\0\ud800-\udfff]")


class Values:
    """The words of one expression, read with the variables that are known there."""

    def __init__(self, reader: Reader, expression: Expression, scope: Scope) -> None:
        self._reader = reader
        self.expression = expression
        self.scope = scope

    @property
    def source(self) -> Source:
        return self.expression.source

    def has(self, option: str) -> bool:
        return option in self.expression.options

    def text(self, option: str) -> str:
        """The text of an option; empty when it is not there."""
        given = self.expression.options.get(option)
        return "" if given is None else self.of(given.word)

    def of(self, word: Word) -> str:
        return self._reader.text(self.source, word, self.scope)

    def flag(self, option: str) -> bool:
        text = self.text(option).strip()
        if text.lower() not in _YES and text:
            self._refuse(option, "0 or 1")
        return _YES.get(text.lower(), False)

    def whole(self, option: str, least: int | None = None) -> int | None:
        text = self.text(option).strip()
        if not text:
            return None
        must = "a whole number" if least is None else f"a whole number from {least} on"
        if not _WHOLE.fullmatch(text) or (least is not None and int(text) < least):
            self._refuse(option, must)
        return int(text)

    def number(self, option: str, least: float | None = None) -> float | None:
        text = self.text(option).strip()
        if not text:
            return None
        if not _NUMBER.fullmatch(text) or (least is not None and float(text) < least):
            self._refuse(option, "a number" if least is None else f"a number from {least:g} on")
        return float(text)

    def names(self, option: str) -> list[str]:
        return [name for name in self.list(option) if name]

    def codes(self, option: str) -> list[int]:
        names = self.names(option)
        if not all(_WHOLE.fullmatch(name) for name in names):
            self._refuse(option, "a list of exit codes")
        return [int(name) for name in names]

    def list(self, option: str) -> list[str]:
        given = self.expression.options.get(option)
        return [] if given is None else self.split(given.word, self.of(given.word))

    def split(self, word: Word, text: str) -> list[str]:
        """The elements of a list in a word."""
        try:
            return split(text)
        except ListError as error:
            same = word.raw(self.source) == text
            at = word.start + error.at if same else word.at
            raise self.source.error(at, str(error), None if same else text[error.at : error.at + 60]) from None

    def service(self, option: str = "service") -> str:
        """A requirement in its plain form, with the figures of machines in it; empty when there is none."""
        text = self.text(option).strip()
        if not text:
            return ""
        try:
            return str(requirement(text))
        except RequirementError as error:
            raise self._complaint(option, f"this -{option} cannot be read: {error}") from None

    def setting(self, option: str = "envkey") -> tuple[dict[str, str], list[str]]:
        """What an -envkey sets, `setenv NAME=VALUE`, and its other keys."""
        words: list[str] = []
        for element in self.list(option):
            inner = self.split(self._word(option), element) if element.startswith("setenv ") else [element]
            words += inner
        env: dict[str, str] = {}
        keys: list[str] = []
        setting = False
        for word in words:
            name, equals, value = word.partition("=")
            if word == "setenv":
                setting = True
            elif setting and equals and _VARIABLE.fullmatch(name):
                env[name] = value
            elif setting:
                self._refuse(option, "setenv NAME=VALUE")
            elif word:
                keys.append(word)
        return env, keys

    def maps(self, option: str = "dirmaps") -> list[list[str]]:
        """Path maps: from, to, and the zone of the machines that they are for."""
        maps: list[list[str]] = []
        for element in self.list(option):
            parts = self.split(self._word(option), element)
            if parts and not 2 <= len(parts) <= 3:
                self._refuse(option, "a list of maps such as {{/from /to ZONE}}")
            if parts:
                maps.append([*parts, ""][:3])
        return maps

    def moment(self, option: str, now: datetime) -> str | None:
        """A time of this day, or of the day of the year that is nearest, as ISO text."""
        text = self.text(option).strip()
        if not text:
            return None
        found = _TIME.fullmatch(text)
        moments = _moments(found, now) if found is not None else []
        if not moments:
            self._refuse(option, "a time such as {13:45} or {6 23 13:45} (month, day, hour:minute)")
        return min(moments, key=lambda moment: abs(moment - now)).isoformat()

    def command(self, word: Word) -> list[str]:
        """A launch expression as a list of arguments."""
        argv = self.split(word, self.of(word))
        if not argv or not argv[0]:
            raise self.source.error(word.at, "there is no program to run", shown=word.raw(self.source) or "{}")
        for one in argv:
            if (unfit := _UNFIT.search(one)) is not None:
                raise self.source.error(
                    word.at, f"\\u{ord(unfit[0]):04x} is no character that a program can be given"
                )
        return argv

    def variable(self, word: Word) -> str:
        name = self.of(word)
        if not _VARIABLE.fullmatch(name):
            raise self.source.error(word.at, "the name of a variable has letters, digits and _ only")
        return name

    def needed(self, option: str) -> Word:
        """The word of an option that has to be there."""
        if not self.has(option):
            raise self.expression.error(f"this {self.expression.operator} has no -{option}")
        return self._word(option)

    def _word(self, option: str) -> Word:
        return self.expression.options[option].word

    def _refuse(self, option: str, must: str) -> NoReturn:
        raise self._complaint(option, f"-{option} must be {must}")

    def _complaint(self, option: str, what: str) -> AlfscriptError:
        word = self._word(option)
        return self.source.error(word.at, what, shown=" ".join(self.of(word)[:200].split()))


def _moments(found: re.Match[str], now: datetime) -> list[datetime]:
    """The moments that a time could mean."""
    month, day, hour, minute = (None if part is None else int(part) for part in found.groups())
    years = (now.year,) if month is None else (now.year - 1, now.year, now.year + 1)
    moments = []
    for year in years:
        try:
            naive = datetime(year, month or now.month, day or now.day, hour or 0, minute or 0)
            moments.append(naive.astimezone())
        except (ValueError, OverflowError, OSError):
            continue
    return moments
