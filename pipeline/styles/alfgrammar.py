"""The operators of Alfred scripts, where each may stand, and the options of each.

    Job        the whole        Iterate   tasks or commands, once per number
    Task       a part of it     Assign    a variable
    Cmd        a command        Instance  stands for a task elsewhere
    RemoteCmd  the same

An option takes exactly one word. One that is not in the tables is kept under its name, with a warning: scripts of other
sites carry options that mean nothing here, and none of them may be lost.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Place = Literal["script", "tasks", "commands", "assignments"]
Value = Literal["text", "flag", "whole", "number", "seconds", "names", "codes", "list", "tasks", "commands", "assignments"]

TEXTS = ("comment", "msg", "metadata", "metrics")
POLICIES = ("tier", "projects", "crews", "editpolicy", "etalevel")
LOOPS = ("resumewhile", "resumepin", "resumeblock")

_EVERY: dict[str, Value] = {
    "service": "text",
    "atleast": "whole",
    "atmost": "whole",
    "samehost": "flag",
    **dict.fromkeys(TEXTS, "text"),
}
_GROUPS: dict[str, Value] = {
    "title": "text",
    "subtasks": "tasks",
    "cmds": "commands",
    "serialsubtasks": "flag",
    "cleanup": "commands",
    "postscript": "commands",
    "whendone": "commands",
    "whenerror": "commands",
    "whenalways": "commands",
    "chaser": "text",
    "preview": "text",
}
_COMMANDS: dict[str, Value] = {
    "tags": "names",
    "retryrc": "codes",
    "minrunsecs": "seconds",
    "maxrunsecs": "seconds",
    "expand": "flag",
    "id": "text",
    "refersto": "text",
    "envkey": "list",
    "when": "text",
    **dict.fromkeys(LOOPS, "text"),
}

OPTIONS: dict[str, dict[str, Value]] = {
    "Job": {
        **_EVERY,
        **_GROUPS,
        "tags": "names",
        "maxactive": "whole",
        "priority": "number",
        "pbias": "number",
        "after": "text",
        "afterjids": "names",
        "paused": "flag",
        "pause": "flag",
        "init": "assignments",
        "envkey": "list",
        "dirmaps": "list",
        "spoolcwd": "text",
        **dict.fromkeys(POLICIES, "text"),
    },
    "Task": {**_EVERY, **_GROUPS, "id": "text", "refersto": "text", **dict.fromkeys(LOOPS, "text")},
    "Cmd": {**_EVERY, **_COMMANDS},
    "RemoteCmd": {**_EVERY, **_COMMANDS},
    "Instance": {},
    "Iterate": {"from": "whole", "to": "whole", "by": "whole", "template": "text", "subtasks": "tasks"},
    "Assign": {},
}
WITHOUT_OPTIONS = frozenset({"Instance", "Assign"})
"""Their words are what they are, also those that begin with a hyphen."""


class Form(NamedTuple):
    """How many words an operator takes, and what they are."""

    least: int
    most: int
    words: str


FORMS: dict[str, Form] = {
    "Job": Form(0, 0, "-title {TITLE} -subtasks {...}"),
    "Task": Form(0, 1, "{TITLE} -subtasks {...} -cmds {...}"),
    "Cmd": Form(1, 1, "{PROGRAM ARGUMENTS}"),
    "RemoteCmd": Form(1, 1, "{PROGRAM ARGUMENTS} -service {SERVICE}"),
    "Instance": Form(1, 1, "{TITLE}"),
    "Iterate": Form(1, 1, "VARIABLE -from N -to M -by I -template {...}"),
    "Assign": Form(2, 2, "VARIABLE {VALUE}"),
}
OPERATORS = frozenset(FORMS)

ALLOWED: dict[Place, tuple[str, ...]] = {
    "script": ("Job",),
    "tasks": ("Task", "Instance", "Iterate"),
    "commands": ("Cmd", "RemoteCmd", "Iterate"),
    "assignments": ("Assign",),
}
PLACES: dict[Place, str] = {
    "script": "at the top of a script",
    "tasks": "among tasks",
    "commands": "among commands",
    "assignments": "under -init",
}
TCL = frozenset(
    "after append apply array break catch cd clock close concat continue dict encoding eof error eval exec exit expr "
    "fblocked fconfigure file flush for foreach format gets glob global history if incr info interp join lappend "
    "lindex linsert list llength load lrange lreplace lsearch lset lsort namespace open package pid proc puts pwd read "
    "regexp regsub rename return scan seek set socket source split string subst switch tell time trace unknown unset "
    "update uplevel upvar variable vwait while".split()
)
"""Commands of Tcl's: named in the complaint about one that stands where an expression begins."""
