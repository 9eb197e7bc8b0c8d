"""The options of a run: what each may be, in one table, and what stands for its not being given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from .checks import Check, any_text, fault, flag, one_of, seconds, text, unknown, whole
from .definition import HookKind
from .group import Group, hooks_of
from .job import Job


def checked(given: Mapping[str, Any], jobs: Iterable[Job]) -> dict[str, Any]:
    """The options that say something, checked. None says nothing, as does an option's default."""
    title = given["title"]
    where = f"pipeline {title!r}" if isinstance(title, str) else "pipeline"
    options = {o: RUN_OPTIONS[o](where, o, value) for o, value in given.items() if value is not None}
    names = {job.name for job in jobs}
    for group in options.get("groups", ()):
        for member in group.members:
            if member not in names:
                raise unknown(f"{where}: group {group.title!r}", member, names, "job")
    return {option: value for option, value in options.items() if value != UNSET[option] and value != {}}


def _moment(where: str, option: str, value: Any) -> float:
    """Wall time as epoch seconds. A datetime without a zone means another moment on every machine: refused."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LAST_MOMENT
    if not fits:
        raise fault(where, option, "an aware datetime (with a time zone) or epoch seconds", value)
    return float(value)


def _runs(where: str, option: str, value: Any) -> tuple[Any, ...]:
    several = (value,) if isinstance(value, str) or hasattr(value, "to_dict") else value
    if isinstance(several, Mapping) or not isinstance(several, Iterable):
        raise fault(where, option, "a list of run ids or pipelines", value)
    several = tuple(several)
    for one in several:
        if not hasattr(one, "to_dict") and not (isinstance(one, str) and _RUN_ID.fullmatch(one)):
            raise fault(where, option, "run ids (32 hex characters) or pipelines that were started", one)
    return several


def _groups(where: str, option: str, value: Any) -> tuple[Group, ...]:
    if isinstance(value, Mapping | str) or not isinstance(value, Iterable):
        raise fault(where, option, "a list of Groups", value)
    several = tuple(value)
    for one in several:
        if not isinstance(one, Group):
            raise fault(where, option, "a list of Groups", one)
    return several


def _hooks(where: str, option: str, value: Any) -> dict[HookKind, Job]:
    return hooks_of(where, value)


LAST_MOMENT = 1e12
_RUN_ID = re.compile("[0-9a-f]{32}")
RUN_OPTIONS: dict[str, Check] = {
    "title": any_text,
    "key": text,
    "on_duplicate": one_of("return", "reject", "replace"),
    "priority": whole(-(2**31)),
    "on_error": one_of("fail", "block", "continue"),
    "deadline": seconds,
    "not_before": _moment,
    "after": _runs,
    "max_active": whole(1),
    "paused": flag,
    "hooks": _hooks,
    "groups": _groups,
}
UNSET: dict[str, Any] = {
    **dict.fromkeys(RUN_OPTIONS),
    "on_duplicate": "return",
    "priority": 0,
    "on_error": "fail",
    "after": (),
    "paused": False,
    "groups": (),
}
