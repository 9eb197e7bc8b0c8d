"""The text of an Alfred script, places in it, and what can be said against it.

Every complaint is an `AlfscriptError` with the line, the column and the text that it is about. The limits on size stand
here, because whatever reads the text keeps to them: a script is a file from somewhere, and nothing in it may make the
reader slow, deep or large.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from ..errors import DefinitionError

MAX_SIZE = 16 * 1024 * 1024
"""Characters of a script."""
MAX_DEPTH = 100
"""Blocks within blocks."""
MAX_COUNT = 100_000
"""Expressions in a script, each as often as it is iterated."""
MAX_TEXT = 1024 * 1024
"""Characters of one text after its variables were put in."""
MAX_TEXTS = 64 * 1024 * 1024
"""Characters of all of them."""
SHOWN = 60
NAMES = 1000
UNFIT = re.compile("[\0\ud800-\udfff]")
"""What no argument of a program can have."""


class AlfscriptError(DefinitionError):
    """An Alfred script that cannot be read. `line` and `column` count from 1; `text` is what stands there."""

    def __init__(self, what: str, line: int = 1, column: int = 1, text: str = "", name: str = "") -> None:
        self.what = what
        self.line = line
        self.column = column
        self.text = text
        self.name = name
        place = f"{name}:{line}:{column}" if name else f"line {line}, column {column}"
        super().__init__(f"{place}: {what}" + (f", at `{text}`" if text else ""))


class Source:
    """A text with lines. `inside`: it was made by putting in variables, and stands where that place is."""

    def __init__(self, text: str, name: str = "", inside: tuple[Source, int] | None = None) -> None:
        self.name = name
        self.text = text
        self._inside = inside
        self._lines: list[int] = []

    @classmethod
    def of(cls, given: object, name: str = "") -> Source:
        """A text or UTF-8 bytes, in whatever way their lines end."""
        if isinstance(given, bytes | bytearray):
            given = _decoded(bytes(given), name)
        if not isinstance(given, str):
            raise AlfscriptError(f"an Alfred script is a text, not a {type(given).__name__}", name=name)
        if len(given) > MAX_SIZE:
            raise AlfscriptError(f"the script has {len(given)} characters, and may have {MAX_SIZE}", name=name)
        text = given.removeprefix("\ufeff")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        source = cls(text, name)
        if (unfit := UNFIT.search(text)) is not None:
            raise source.error(unfit.start(), "there is a character that no program can be given", shown="")
        return source

    def place(self, at: int) -> tuple[int, int]:
        """Line and column of an offset."""
        if self._inside is not None:
            return self._inside[0].place(self._inside[1])
        if not self._lines:
            self._lines = [0, *(found.end() for found in re.finditer("\n", self.text))]
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1

    def error(self, at: int, what: str, shown: str | None = None) -> AlfscriptError:
        """What is wrong at an offset; by default the rest of its line is shown."""
        line, column = self.place(at)
        text = self.text[at : at + SHOWN * 2].partition("\n")[0].strip() if shown is None else shown
        return AlfscriptError(what, line, column, shortened(text), self.name)


def shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, if any is. Long ones are left out: comparing takes its time."""
    several = [one for one in islice(known, NAMES) if len(one) <= SHOWN]
    found = get_close_matches(name, several, n=1) if 0 < len(name) <= SHOWN else []
    return found[0] if found else None


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise AlfscriptError("this is not UTF-8", line, column, name=name) from None
