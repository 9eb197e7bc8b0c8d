"""Words of an Alfred script.

A word is bare, `"quoted"` or `{braced}`. A blank, a newline or a semicolon ends it; a backslash at the end of a line
joins it to the next one; `#` begins a comment where an expression could begin. What stands between braces is a word of
its own, whatever is in it, and may be read as words again: a `Scanner` reads any part of a source. Nothing is replaced
here: that is for `alftexts`.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from .alfsource import Source

Kind = Literal["bare", "quoted", "braced", "semicolon"]

_GAP = re.compile(r"(?:[ \t\f\v]|\\\n)+")
_COMMENT = re.compile(r"#(?:\\.|[^\\\n])*", re.DOTALL)
_BARE = re.compile(r"(?:\\[^\n]|\[[^\[\]\n]*\]|[^\s;\\])+|\\")
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


class Word(NamedTuple):
    """A word: where it begins, and from where to where its content goes."""

    kind: Kind
    at: int
    start: int
    end: int

    def raw(self, source: Source) -> str:
        return source.text[self.start : self.end]


class Braces:
    """Which closing brace belongs to which opening one. Looked for once: what is inside is found on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._closing: dict[int, int] = {}

    def closing(self, opening: int) -> int:
        if opening not in self._closing:
            self._match(opening)
        return self._closing[opening]

    def _match(self, opening: int) -> None:
        stack: list[int] = []
        for found in _BRACE.finditer(self.source.text, opening):
            if found[0] == "{":
                stack.append(found.start())
            elif found[0] == "}":
                self._closing[stack.pop()] = found.start()
                if not stack:
                    return
        raise self.source.error(stack[-1], "this brace is never closed")


class Scanner:
    """The words between two offsets of a source, one after the other."""

    def __init__(self, braces: Braces, start: int, end: int) -> None:
        self._braces = braces
        self.source = braces.source
        self.at = start
        self.end = end
        self._fresh = True
        """A comment could begin here."""

    def next(self) -> Word | None:
        """The next word or semicolon; None at the end."""
        self._skip()
        if self.at >= self.end:
            return None
        self._fresh = False
        first = self.source.text[self.at]
        if first == ";":
            self._fresh = True
            self.at += 1
            return Word("semicolon", self.at - 1, self.at - 1, self.at)
        if first == "{":
            return self._braced()
        if first == '"':
            return self._quoted()
        if first == "}":
            raise self.source.error(self.at, "this brace closes nothing")
        return self._bare()

    def _skip(self) -> None:
        """Go to the next word, over comments."""
        text, end = self.source.text, self.end
        while self.at < end:
            first = text[self.at]
            if first == "\n":
                self._fresh = True
                self.at += 1
            elif (gap := _GAP.match(text, self.at, end)) is not None:
                self.at = gap.end()
            elif first == "#" and self._fresh:
                comment = _COMMENT.match(text, self.at, end)
                self.at = comment.end() if comment is not None else end
            elif first.isspace():  # what other alphabets have for blanks
                self.at += 1
            else:
                return

    def _braced(self) -> Word:
        at = self.at
        closing = self._braces.closing(at)
        if closing >= self.end:
            raise self.source.error(at, "this brace is never closed")
        self.at = closing + 1
        self._check_end("}")
        return Word("braced", at, at + 1, closing)

    def _quoted(self) -> Word:
        at = self.at
        found = _QUOTED.match(self.source.text, at, self.end)
        if found is None:
            raise self.source.error(at, "this quotation mark is never closed")
        self.at = found.end()
        self._check_end('"')
        return Word("quoted", at, at + 1, found.end() - 1)

    def _bare(self) -> Word:
        at = self.at
        found = _BARE.match(self.source.text, at, self.end)
        self.at = found.end() if found is not None else at + 1
        return Word("bare", at, at, self.at)

    def _check_end(self, mark: str) -> None:
        """What comes right after a word that was closed would be lost, or another word."""
        rest = self.source.text[self.at : self.at + 2]
        if self.at >= self.end or rest[0].isspace() or rest[0] == ";" or rest == "\\\n":
            return
        if rest[0] == "}":
            raise self.source.error(self.at, "this brace closes nothing")
        raise self.source.error(self.at, f"a blank is missing after the closing {mark}")
