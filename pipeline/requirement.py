"""A requirement: which roles a Broker has to serve, as an expression.

    encode
    Linux && !Slow
    (Linux || Mac), "blender-4*"

`&&` (or a comma) binds stronger than `||`, and `!` strongest; a name in quotation marks may hold blanks, and `*` and
`?` stand for any characters and for one. Names are compared without regard to capitals. A comparison of a machine's
figures (`@.mem > 2`) is read and kept, but nothing here knows such figures: `without_figures` leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

MAX_NESTING = 50
SIGNS = frozenset('&|!(),"')
"""A text with one of these is meant to be an expression."""
_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>&&|\|\||[,!()])"""
    r"""|(?P<figure>@\.?[\w.]+\s*(?:(?:[<>]=?|[=!]=?)\s*[\w.+-]+)?)"""
    r"""|"(?P<quoted>[^"]+)"|(?P<name>[^\s&|,!()"@<>=]+))"""
)
_PLAIN = re.compile(r'[^\s&|,!()"@<>=*?]+')
_WILD = re.compile(r"[*?]")


class RequirementError(ValueError):
    """A text that is no requirement. `at` is where it goes wrong."""

    def __init__(self, what: str, at: int) -> None:
        self.at = at
        super().__init__(what)


class Part(NamedTuple):
    """A node of the expression: a name, a figure, or what joins parts."""

    kind: str
    """`name`, `figure`, `not`, `and` or `or`."""
    name: str = ""
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        if self.kind == "name":
            return self.name if _PLAIN.fullmatch(self.name) else f'"{self.name}"'
        if self.kind == "figure":
            return self.name
        if self.kind == "not":
            return f"!{_within(self.parts[0], 'and', 'or')}"
        if self.kind == "and":
            return " && ".join(_within(part, "or") for part in self.parts)
        return " || ".join(str(part) for part in self.parts)

    def names(self) -> Iterator[str]:
        """Every name that is wanted: one under a `!` is not."""
        if self.kind == "name":
            yield self.name
        elif self.kind in ("and", "or"):
            for part in self.parts:
                yield from part.names()

    def figures(self) -> Iterator[str]:
        if self.kind == "figure":
            yield self.name
        for part in self.parts:
            yield from part.figures()

    def met_by(self, roles: Collection[str]) -> bool:
        """Is it met by who serves these roles?"""
        if self.kind == "name":
            return serving(self.name, roles) is not None
        if self.kind == "not":
            return not self.parts[0].met_by(roles)
        if self.kind == "and":
            return all(part.met_by(roles) for part in self.parts)
        return self.kind == "figure" or any(part.met_by(roles) for part in self.parts)

    def among(self, roles: Collection[str]) -> tuple[str, ...]:
        """The roles among these that are wanted by name."""
        found = dict.fromkeys(serving(name, roles) for name in self.names())
        return tuple(role for role in found if role is not None)

    def without_figures(self) -> Part | None:
        """What is left when figures are not looked at: None when anybody would do."""
        if self.kind == "name":
            return self
        if self.kind == "figure":
            return None
        left = [part.without_figures() for part in self.parts]
        if self.kind == "and":
            return _joined("and", tuple(part for part in left if part is not None))
        if None in left:
            return None
        return Part(self.kind, "", tuple(part for part in left if part is not None))


def serving(name: str, roles: Collection[str]) -> str | None:
    """The role among these that a name of a requirement means."""
    if name in roles:
        return name
    folded = name.casefold()
    for role in roles:
        if role.casefold() == folded or (_WILD.search(name) and fnmatchcase(role.casefold(), folded)):
            return role
    return None


@lru_cache(maxsize=4096)
def requirement(text: str) -> Part:
    """Read a requirement. Raises `RequirementError`."""
    if _PLAIN.fullmatch(text):
        return Part("name", text)
    return _Reader(text).whole()


def wanted(text: str) -> Part:
    """The same of whatever a peer has sent: what is no requirement is a name."""
    try:
        return requirement(text)
    except RequirementError:
        return Part("name", text)


def all_of(*texts: str) -> str:
    """One requirement that stands for several."""
    return str(_joined("and", tuple(requirement(text) for text in texts)))


class _Reader:
    """Recursive descent: or, and, not, name."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nesting = 0
        self._ahead: re.Match[str] | None = None
        self._advance()

    def whole(self) -> Part:
        part = self._or()
        if self._ahead is not None:
            raise self._error(f"{self._ahead[0].strip()!r} is not expected here")
        return part

    def _or(self) -> Part:
        parts = [self._and()]
        while self._take("||"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Part("or", "", tuple(parts))

    def _and(self) -> Part:
        parts = [self._not()]
        while self._take("&&") or self._take(","):
            parts.append(self._not())
        return _joined("and", tuple(parts)) or parts[0]

    def _not(self) -> Part:
        refused = False
        while self._take("!"):
            refused = not refused
        part = self._one()
        return Part("not", "", (part,)) if refused else part

    def _one(self) -> Part:
        if self._take("("):
            self._nesting += 1
            if self._nesting > MAX_NESTING:
                raise self._error(f"parentheses stand more than {MAX_NESTING} deep in each other")
            part = self._or()
            if not self._take(")"):
                raise self._error("a closing parenthesis is missing")
            self._nesting -= 1
            return part
        found = self._ahead
        if found is None or found["sign"]:
            raise self._error("the name of a role is missing")
        self._advance()
        if found["figure"]:
            return Part("figure", found["figure"].strip())
        return Part("name", found["quoted"] or found["name"])

    def _take(self, sign: str) -> bool:
        if self._ahead is None or self._ahead["sign"] != sign:
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        if self._ahead is not None:
            self._at = self._ahead.end()
        found = _TOKEN.match(self._text, self._at)
        if found is None and self._text[self._at :].strip():
            self._ahead = None
            raise self._error(f"{self._text[self._at :].strip()[:20]!r} cannot be read as a role")
        self._ahead = found

    def _error(self, what: str) -> RequirementError:
        return RequirementError(what, self._at if self._ahead is None else self._ahead.start())


def _joined(kind: str, parts: tuple[Part, ...]) -> Part | None:
    """Parts of the same kind are one, and none stands twice."""
    flat: dict[Part, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.parts if part.kind == kind else (part,)))
    if len(flat) <= 1:
        return next(iter(flat), None)
    return Part(kind, "", tuple(flat))


def _within(part: Part, *kinds: str) -> str:
    return f"({part})" if part.kind in kinds else str(part)
