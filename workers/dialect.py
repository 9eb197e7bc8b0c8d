"""Commands of Alfred scripts: what is put in when the program is started, and what its output says.

    ~  ~user     home folders, at the beginning of an argument
    %D(path)     the path as it is called on this machine, by the script's -dirmaps
    %j %t %c     the run's id, the names of its task and of the command, without what file names cannot have
    %n %h %H     slots, host, hosts
    %r %R %q     1 when the command is tried again, else 0
    %idref(ID)   the host that the command of this id runs on: this one
    %%           a per cent sign

A line `TR_EXIT_STATUS n` (or `ALF_EXIT_STATUS n`) of the output replaces the exit code, and `TR_PROGRESS n%` tells how
far the work is. With `-expand` the output is itself a script of tasks, which are grafted into the run; a command that
ends sooner than its -minrunsecs has failed.
"""

from __future__ import annotations

import os
import pathlib
import re
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from ..pipeline.definition import Bind, CommandLine
from ..pipeline.styles.alfexpand import expanded
from ..pipeline.task import Assignment
from .command import CommandFailed, CommandRunnable
from .current import running
from .interruption import Interruption
from .runnable import Subject

ZONES = {"linux": ("nfs", "linux", "unix"), "darwin": ("nfs", "macos", "osx", "mac", "unix")}
"""What the path maps call the machines of this kind; $HEADRACE_ZONE has another name for this one."""
MAX_LINE = 4096
CHUNK = 1 << 16
_TEXTS = re.compile(r"%(?:(?P<sign>[jtcnhHrRq%])|D\((?P<path>[^()]*)\)|idref\((?P<id>[^()]*)\))")
_DIRECTIVE = re.compile(rb"\s*(?:TR|ALF)_(?P<what>EXIT_STATUS|PROGRESS)\s+(?P<number>-?\d{1,6})\b")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


class AlfredCommand(CommandRunnable):
    """One command line of an Alfred script."""

    def __init__(self, name: str, command: CommandLine, interruption: Interruption) -> None:
        super().__init__(name, command, interruption)
        self._written = self._argv
        self._given: Mapping[str, Any] = {}
        self._job = ""
        self._output = Output()
        self._began = 0.0

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        self._given = value if isinstance(value, Mapping) else {}
        self._job = subject.assignment.job
        maps = self._given.get("dirmaps", ())
        self._argv = [launched(text, subject.assignment, maps) for text in self._written]
        self._output = Output()
        self._began = time.monotonic()
        return super().invoke(bind, value, subject)

    def inputs(self, bind: Bind, value: Any, subject: Subject) -> dict[str, Any]:
        """With what is put in: a command that is told its run is another one in every run."""
        maps = value.get("dirmaps", ()) if isinstance(value, Mapping) else ()
        launch = [launched(text, subject.assignment, maps) for text in self._written]
        return {**super().inputs(bind, value, subject), "launched": launch}

    def _look(self, folder: pathlib.Path) -> None:
        self._output.read(folder / "stdout")
        if self._output.progress is not None and (job := running.get(None)) is not None:
            job.progress(self._output.progress, 100)

    def _judged(self, code: int, folder: pathlib.Path) -> int:
        self._output.read(folder / "stdout", to_end=True)
        code = code if self._output.status is None else self._output.status
        shortest = self._given.get("minrunsecs", 0)
        if not code and (took := time.monotonic() - self._began) < shortest:
            raise CommandFailed(self.shown, f"ended after {took:.1f} s, sooner than its -minrunsecs {shortest:g}", 1)
        return code

    def _from_output(self, text: str) -> Any:
        if "expand" not in self._given:
            return super()._from_output(text)
        return expanded(text, self._given, self._job)


class Output:
    """The directives in a file that grows."""

    def __init__(self) -> None:
        self.status: int | None = None
        """The exit code that was told last."""
        self.progress: int | None = None
        self._at = 0
        self._rest = b""

    def read(self, file: pathlib.Path, to_end: bool = False) -> None:
        """Look at what was added; `to_end`: nothing will come any more."""
        with file.open("rb") as source:
            source.seek(self._at)
            while chunk := source.read(CHUNK):
                self._at += len(chunk)
                *lines, rest = (self._rest + chunk).split(b"\n")
                self._rest = rest[:MAX_LINE]
                for line in lines:
                    self._line(line)
        if to_end:
            self._line(self._rest)

    def _line(self, line: bytes) -> None:
        found = _DIRECTIVE.match(line)
        if found is not None and found["what"] == b"PROGRESS":
            self.progress = max(0, min(100, int(found["number"])))
        elif found is not None:
            self.status = int(found["number"])


def launched(text: str, assignment: Assignment, maps: Any = ()) -> str:
    """An argument as the program gets it."""
    if text.startswith("~"):
        text = os.path.expanduser(text)
    return _TEXTS.sub(lambda found: _put_in(found, assignment, maps), text) if "%" in text else text


def _put_in(found: re.Match[str], assignment: Assignment, maps: Any) -> str:
    if found["path"] is not None:
        return mapped(found["path"], maps, zones())
    if found["id"] is not None:
        return socket.gethostname()
    sign = found["sign"]
    task, _, _ = assignment.job.rpartition("/")
    slots = assignment.needs.resources.get("slots", 1) if assignment.needs is not None else 1
    again = "1" if assignment.attempt > 1 else "0"
    host = socket.gethostname()
    return {
        "%": "%",
        "j": assignment.run,
        "t": _UNFIT.sub("_", task),
        "c": _UNFIT.sub("_", assignment.job),
        "n": f"{slots:g}",
        "h": host,
        "H": host,
    }.get(sign, again)


def mapped(path: str, maps: Any, here: tuple[str, ...]) -> str:
    """The path by the first map for a zone of this machine that it begins with."""
    for source, target, zone in maps:
        if path.startswith(source) and (not zone or zone.lower() in here):
            return f"{target}{path[len(source) :]}"
    return path


def zones() -> tuple[str, ...]:
    """What this machine is called in path maps."""
    own = os.environ.get("HEADRACE_ZONE", "")
    return (own.lower(),) if own else ZONES.get(sys.platform, ("nfs",))
