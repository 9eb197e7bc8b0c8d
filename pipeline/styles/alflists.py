"""Lists of Tcl's: texts that hold words, such as launch expressions, tags and path maps.

A list is split once: blanks separate, braces and quotation marks group, a backslash makes the next character an
ordinary one. `listed` writes what `split` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

ESCAPE = r"\\(?P<escape>\n[ \t]*|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|[0-7]{1,3}|.)"
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_BLANKS = re.compile(r"(?:[\s]|\\\n)*")
_GROUP = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_ELEMENT = re.compile(r"(?:\\(?:\n[ \t]*|.)|[^\s\\])+|\\", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_JOINED = re.compile(r"(\\[^\n])|\\\n[ \t]*")
_ESCAPED = re.compile(ESCAPE, re.DOTALL)
_BARE = re.compile(r"[^\s\\{}\"$\[\]]+")
_SPECIAL = re.compile(r'[\\"$\[\]{}]')
_CONTROLS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class ListError(Exception):
    """A text that cannot be split."""

    def __init__(self, at: int, what: str) -> None:
        self.at = at
        super().__init__(what)


def split(text: str) -> list[str]:
    """The elements of a list. Raises `ListError`."""
    return list(_elements(text))


def _elements(text: str) -> Iterator[str]:
    at = _end_of(_BLANKS, text, 0)
    while at < len(text):
        if text[at] == "{":
            end = _closing(text, at)
            yield _JOINED.sub(lambda found: found[1] or " ", text[at + 1 : end])
            end = _closed(text, end + 1, "}")
        elif text[at] == '"':
            found = _GROUP.match(text, at)
            if found is None:
                raise ListError(at, "this quotation mark is never closed")
            yield _without_escapes(found[1])
            end = _closed(text, found.end(), '"')
        else:
            end = _end_of(_ELEMENT, text, at)
            yield _without_escapes(text[at:end])
        at = _end_of(_BLANKS, text, end)


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found is not None else at


def _closing(text: str, opening: int) -> int:
    depth = 0
    for found in _BRACE.finditer(text, opening):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    raise ListError(opening, "this brace is never closed")


def _closed(text: str, end: int, mark: str) -> int:
    if end < len(text) and not text[end].isspace() and text[end : end + 2] != "\\\n":
        raise ListError(end, f"a blank is missing after the closing {mark}")
    return end


def _without_escapes(text: str) -> str:
    return _ESCAPED.sub(lambda found: unescaped(found["escape"]), text) if "\\" in text else text


def unescaped(escape: str) -> str:
    """What a backslash and what follows it stand for."""
    first = escape[0]
    if first == "\n":
        return " "
    if first in "xu" and len(escape) > 1:
        return chr(int(escape[1:], 16))
    if first in "01234567":
        return chr(int(escape, 8) & 0xFF)
    return _LETTERS.get(first, escape)


def word(text: str) -> str:
    """A text as one word of a script, or of a list."""
    if _fits_in_braces(text):
        return f"{{{text}}}"
    escaped = _SPECIAL.sub(lambda found: f"\\{found[0]}", text)
    return '"' + "".join(_CONTROLS.get(character, character) for character in escaped) + '"'


def listed(elements: Iterable[str]) -> str:
    """Texts as a list of Tcl's."""
    return " ".join(one if _BARE.fullmatch(one) else word(one) for one in elements)


def _fits_in_braces(text: str) -> bool:
    """Is it the same between braces, and do its own match?"""
    depth = 0
    for found in _BRACE.finditer(text):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth < 0 or found[0] == "\\\n":
            return False
    open_end = (len(text) - len(text.rstrip("\\"))) % 2
    return not depth and not open_end and "\r" not in text
