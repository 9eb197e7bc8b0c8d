"""What the options of Jobs, Tasks and commands mean to the system: where, when, how many at once, after whom.

An option that means nothing here is kept under its own name. What is kept but was not known, or was left out, is
warned of.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ..requirement import RequirementError, all_of, requirement
from .alfgrammar import KEPT, LOOPS, READ
from .alflists import listed
from .alfsource import nearest, shortened
from .alfvalues import Values

TRIES = 3
"""Tries in all of a command that ends with an exit code of its -retryrc."""
MAX_SERVICE = 1000
"""Characters of a requirement, with those that are around it."""
MAX_MAPS = 1000
RESERVED = frozenset(
    {
        *("title", "children", "cmds", "parallel", "serialsubtasks", "argv"),
        *("expand", "before", "dirmaps", "minrunsecs", "state", "error"),
    }
)
"""Keys with a meaning of ours: an option of such a name that is not known is kept with its hyphen."""
_TIME = re.compile(r"(?:([0-9]{1,2})\s+([0-9]{1,2})\s+)?([0-9]{1,2}):([0-9]{2})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RUN = re.compile(r"[0-9a-f]{32}")


class Options(Values):
    """The options of one expression."""

    def service(self, outer: str = "") -> str:
        """The requirement of a place: its own -service, and that of what is around it."""
        text = self.stripped("service")
        if not text:
            return outer
        try:
            part = requirement(text) if len(text) <= MAX_SERVICE else self.refuse("service", "shorter")
        except RequirementError as error:
            raise self.complaint("service", f"this -service cannot be read: {error}") from None
        figure = next(part.figures(), None)
        if figure is not None:
            told = f"figures of machines such as {shortened(figure)} are not looked at: they are left out"
            self.warn("service", "figures", told)
        left = part.without_figures()
        texts = [one for one in (outer, "" if left is None else str(left)) if one]
        if sum(map(len, texts)) > MAX_SERVICE:
            self.refuse("service", f"shorter: with what is around it, it may have {MAX_SERVICE} characters")
        combined = all_of(*texts) if texts else ""
        self.reader.budget.text(self.source, self.expression.at, len(combined))
        return combined

    def slots(self) -> dict[str, int]:
        least = self.whole("atleast", 0)
        return {"slots": least} if least is not None and least > 1 else {}

    def priority(self) -> int | None:
        option = "priority" if self.stripped("priority") else "pbias"
        number = self.number(option)
        if number is None:
            return None
        if number != int(number):
            told = f"priorities are whole numbers: {number:g} counts as {round(number)}"
            self.warn(option, option, told)
        return round(number)

    def runs(self) -> list[str]:
        """The runs that have to have ended before."""
        runs = list(self.names("afterjids"))
        wrong = next((run for run in runs if not _RUN.fullmatch(run)), None)
        if wrong is not None:
            told = (
                f"-afterjids has ids of runs, 32 hex characters; {shortened(wrong)!r} is none: no run can wait for it"
            )
            self.warn("afterjids", "afterjids", told)
        return runs

    def moment(self, now: datetime) -> str | None:
        """The -after: a time of this day, or of the day of a year that is nearest, as ISO text."""
        text = self.stripped("after")
        if not text:
            return None
        found = _TIME.fullmatch(text)
        moments = _moments(found, now) if found is not None else []
        if not moments:
            self.refuse("after", "a time such as {13:45} or {6 23 13:45} (month, day, hour:minute)")
        return min(moments, key=lambda moment: abs(moment - now)).isoformat()

    def settings(self) -> tuple[dict[str, str], str]:
        """What an -envkey sets, `setenv NAME=VALUE`, and its other keys."""
        words: list[str] = []
        for element in self.names("envkey"):
            words += self.split(self.needed("envkey"), element) if element.startswith("setenv ") else [element]
        env: dict[str, str] = {}
        keys: list[str] = []
        setting = False
        for word in words:
            name, equals, value = word.partition("=")
            if word == "setenv":
                setting = True
            elif not setting:
                keys.append(word)
            elif equals and _VARIABLE.fullmatch(name):
                env[name] = value
            else:
                self.refuse("envkey", "setenv NAME=VALUE ...")
        return env, listed(keys)

    def maps(self) -> list[list[str]]:
        """Path maps: from, to, and the zone of the machines that they are for."""
        maps = [self.split(self.needed("dirmaps"), element) for element in self.names("dirmaps")[: MAX_MAPS + 1]]
        if len(maps) > MAX_MAPS or not all(len(parts) in (0, 2, 3) for parts in maps):
            self.refuse("dirmaps", f"at most {MAX_MAPS} maps such as {{{{/from /to ZONE}}}}")
        return [[*parts, ""][:3] for parts in maps if parts]

    def retry(self) -> dict[str, Any] | None:
        codes = self.codes("retryrc")
        return {"tries": TRIES, "on": codes} if codes else None

    def kept(self) -> dict[str, Any]:
        """Options that mean nothing here, under their names."""
        operator = self.expression.operator
        kept: dict[str, Any] = {}
        for name in self.expression.options:
            if name in READ[operator]:
                continue
            if name not in KEPT:
                self._warn_of_unknown(name)
            elif name in LOOPS and self.stripped(name):
                self.warn(name, f"-{name}", f"-{name} is kept, and means nothing: commands are not run again by it")
            kept[f"-{name}" if name in RESERVED else name] = self.text(name)
        return kept

    def warn(self, option: str, about: str, told: str) -> None:
        self.reader.warn(self.source, self.needed(option).at, about, told)

    def _warn_of_unknown(self, name: str) -> None:
        about = f"-{name}"
        if self.reader.has_warned(about):
            return
        operator = self.expression.operator
        near = nearest(name, READ[operator])
        hint = f"; did you mean -{near}?" if near else ""
        told = f"option -{shortened(name)} of {operator} is not known here: it is kept, and means nothing{hint}"
        self.reader.warn(self.source, self.expression.options[name].at, about, told)


def _moments(found: re.Match[str], now: datetime) -> list[datetime]:
    """The moments that a time could mean."""
    month, day, hour, minute = (None if part is None else int(part) for part in found.groups())
    years = (now.year,) if month is None else (now.year - 1, now.year, now.year + 1)
    moments = []
    for year in years:
        try:
            moments.append(datetime(year, month or now.month, day or now.day, hour or 0, minute or 0).astimezone())
        except (ValueError, OverflowError, OSError):
            continue
    return moments


def present(**options: Any) -> dict[str, Any]:
    """Options that say something."""
    return {name: value for name, value in options.items() if value}
