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

_GROUPS = {
    *("title", "subtasks", "cmds", "serialsubtasks", "service", "atleast"),
    *("cleanup", "postscript", "whendone", "whenerror", "whenalways"),
}
_COMMANDS = {
    *("service", "tags", "atleast", "retryrc", "minrunsecs", "maxrunsecs", "expand", "envkey", "when"),
}
READ: dict[str, frozenset[str]] = {
    "Job": frozenset(
        {
            *_GROUPS,
            *("tags", "maxactive", "priority", "pbias", "after", "afterjids", "paused", "pause"),
            *("init", "envkey", "dirmaps", "spoolcwd"),
        }
    ),
    "Task": frozenset(_GROUPS),
    "Cmd": frozenset(_COMMANDS),
    "RemoteCmd": frozenset(_COMMANDS),
    "Instance": frozenset(),
    "Iterate": frozenset({"from", "to", "by", "template", "subtasks"}),
    "Assign": frozenset(),
}
"""Options with a meaning here."""
LOOPS = frozenset({"resumewhile", "resumepin", "resumeblock"})
"""They would run a command again and again: nothing here does."""
_NOTES = {"comment", "msg", "metadata", "metrics", "atmost", "samehost", "id", "refersto", "chaser", "preview"}
KEPT = frozenset({*_NOTES, *LOOPS, "tier", "projects", "crews", "editpolicy", "etalevel", "spoolcwd"})
"""Options that are known, and mean nothing here: kept under their names, without a warning but for loops."""
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
    {
        *(
            "after",
            "append",
            "array",
            "break",
            "catch",
            "cd",
            "close",
            "concat",
            "continue",
            "dict",
            "encoding",
            "eval",
        ),
        *("exec", "exit", "expr", "file", "for", "foreach", "format", "global", "if", "incr", "info", "interp", "join"),
        *("lappend", "lindex", "list", "load", "lset", "namespace", "open", "package", "proc", "puts", "pwd", "regexp"),
        *(
            "regsub",
            "rename",
            "return",
            "set",
            "socket",
            "source",
            "split",
            "string",
            "subst",
            "switch",
            "time",
            "trace",
        ),
        *("unset", "uplevel", "upvar", "variable", "vwait", "while"),
    }
)
"""Commands of Tcl's: named in the complaint about one that stands where an expression begins."""
