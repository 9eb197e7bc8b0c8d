"""Commands: workers in any language.

A command gets its input as JSON on standard input and in the file $HEADRACE_INPUT. Its result is what it writes to the
file $HEADRACE_OUTPUT (JSON), or else its standard output: the value when that is JSON, `{"stdout": text}` when it is
other text, None when there is none. What it prints besides goes to the log of its attempt. An exit code other than 0 is
a failure that carries the code and the end of standard error; a signal counts as 128 and its number, as in a shell.

Dates, UUIDs, decimals and paths become JSON texts, tuples and sets lists; a value that JSON has no form for (bytes, a
table) fails the job before the command starts. A program is looked for in the current folder first, then on the PATH.
The command runs in a process group of its own, and everything in that group ends with it, at the latest.
"""

from __future__ import annotations

import datetime
import decimal
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

from ..pipeline.definition import Bind, CommandLine
from ..pipeline.errors import JobError, ValueNotSupported
from ..pipeline.task import Assignment
from .interruption import Interruption
from .runnable import NOTHING, Runnable, Subject

GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL when a command is stopped: shorter than the grace of the process around it."""
MAX_OUTPUT = 256 * 1024 * 1024
TAIL = 4096
LOOK_EVERY = 0.2
"""Seconds between two looks at a silent command: it may have ended while something else holds its output open."""
NOT_FOUND, NOT_EXECUTABLE = 127, 126


class CommandFailed(JobError):
    """A command that could not be started or ended badly."""

    def __init__(self, command: str, what: str, exit_code: int, tail: str = "") -> None:
        self.exit_code = exit_code
        self.tail = tail
        last = tail.rstrip().rpartition("\n")[2].strip()
        super().__init__(f"command `{command}` {what}" + (f": {last}" if last else ""))


class CommandRunnable(Runnable):
    """One command line as a worker."""

    kind = "command"

    def __init__(self, name: str, command: CommandLine, interruption: Interruption) -> None:
        super().__init__(name, (), None, command)
        self._argv = list(command.argv) or ["/bin/sh", "-c", command.shell or ""]
        self._shown = command.shell if not command.argv else subprocess.list2cmdline(command.argv)
        self._interruption = interruption

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        if value is NOTHING or (bind == "args" and not value):
            value = subject.data
        text = as_json(value)
        with tempfile.TemporaryDirectory(prefix="headrace-command-", ignore_cleanup_errors=True) as folder:
            return self._in_folder(pathlib.Path(folder), text, subject.assignment)

    def inputs(self, bind: Bind, value: Any, subject: Subject) -> dict[str, Any]:
        line = self.target
        command = {"argv": list(line.argv), "shell": line.shell, "cwd": line.cwd, "env": line.env}
        given = subject.data if value is NOTHING or (bind == "args" and not value) else value
        return {"input": given, "command": {**command, "dialect": line.dialect}}

    def _in_folder(self, folder: pathlib.Path, text: str, assignment: Assignment) -> Any:
        (folder / "input.json").write_text(text, encoding="utf-8")
        code, tail = self._execute(folder, assignment)
        code = self._judged(code, folder)
        if code:
            _to_log(folder / "stdout")
            raise CommandFailed(self.shown, _ending(code), code if code > 0 else 128 - code, tail)
        output = folder / "output.json"
        if output.exists() and output.stat().st_size:
            _to_log(folder / "stdout")
            return self._from_file(output)
        return self._from_output(self._read(folder / "stdout"))

    # What a dialect may do otherwise --------------------------------------------------------------------------------

    def _look(self, folder: pathlib.Path) -> None:
        """Called a few times a second while the program runs."""

    def _judged(self, code: int, folder: pathlib.Path) -> int:
        """The exit code that counts."""
        return code

    def _from_output(self, text: str) -> Any:
        """The result, from what the program has printed."""
        return _from_text(text)

    @property
    def shown(self) -> str:
        text = self._shown or ""
        return text if len(text) <= 200 else f"{text[:197]}..."

    # The process ----------------------------------------------------------------------------------------------------

    def _execute(self, folder: pathlib.Path, assignment: Assignment) -> tuple[int, str]:
        """Exit code (negative: a signal) and the end of standard error."""
        process: subprocess.Popen[bytes] | None = None
        try:
            with self._interruption.shielded():
                process = self._start(folder, self._environment(folder, assignment))
            tail = _pump(process, lambda: self._look(folder))
            return process.wait(), tail.decode("utf-8", "replace")
        except BaseException:
            if process is not None:
                _stop(process)
            raise
        finally:
            if process is not None:
                _signal(process, signal.SIGKILL)  # what the command left behind in its group
                if process.stderr is not None:
                    process.stderr.close()

    def _start(self, folder: pathlib.Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with open(folder / "input.json", "rb") as stdin, open(folder / "stdout", "wb") as stdout:
            try:
                return subprocess.Popen(
                    self._argv,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=subprocess.PIPE,
                    cwd=self.target.cwd,
                    env=environment,
                    process_group=0,
                )
            except FileNotFoundError as error:
                if self.target.cwd is not None and error.filename == self.target.cwd:
                    raise CommandFailed(self.shown, f"has no folder {self.target.cwd!r} to run in", NOT_FOUND) from None
                what = f"was not found: no {self._argv[0]!r} in {os.getcwd()} or on the PATH"
                raise CommandFailed(self.shown, what, NOT_FOUND) from None
            except OSError as error:
                raise CommandFailed(self.shown, f"cannot be run: {error.strerror}", NOT_EXECUTABLE) from None

    def _environment(self, folder: pathlib.Path, assignment: Assignment) -> dict[str, str]:
        environment = {**os.environ, **self.target.env}
        here = [os.path.abspath(self.target.cwd)] if self.target.cwd else []
        places = [*here, os.getcwd(), environment.get("PATH") or os.defpath]
        return {
            **environment,
            "PATH": os.pathsep.join(places),
            "HEADRACE_INPUT": str(folder / "input.json"),
            "HEADRACE_OUTPUT": str(folder / "output.json"),
            "HEADRACE_RUN": assignment.run,
            "HEADRACE_JOB": assignment.job,
            "HEADRACE_PATH": ".".join(map(str, assignment.path)),
            "HEADRACE_ATTEMPT": str(assignment.attempt),
            "HEADRACE_ATTEMPT_KEY": assignment.attempt_key,
        }

    # The result -----------------------------------------------------------------------------------------------------

    def _from_file(self, file: pathlib.Path) -> Any:
        try:
            return json.loads(self._read(file))
        except (ValueError, RecursionError) as error:
            text = f"command `{self.shown}` wrote something to $HEADRACE_OUTPUT that is not JSON: {error}"
            raise JobError(text) from None

    def _read(self, file: pathlib.Path) -> str:
        size = file.stat().st_size
        if size > MAX_OUTPUT:
            raise JobError(f"command `{self.shown}` printed {size} bytes, and a result may have {MAX_OUTPUT}")
        return file.read_text(encoding="utf-8", errors="replace")


def runnable_of(name: str, command: CommandLine, interruption: Interruption) -> CommandRunnable:
    """A command line as a worker, in its dialect."""
    if command.dialect == "alfred":
        from .dialect import AlfredCommand

        return AlfredCommand(name, command, interruption)
    return CommandRunnable(name, command, interruption)


def _pump(process: subprocess.Popen[bytes], look: Callable[[], None]) -> bytes:
    """Pass standard error on to the log until the command ends; returns its end."""
    assert process.stderr is not None
    pipe = process.stderr.fileno()
    tail = b""
    patience = 0.0
    while True:
        look()
        if not patience and process.poll() is not None:
            _signal(process, signal.SIGKILL)  # what it left behind in its group may hold the pipe open
            patience = time.monotonic() + LOOK_EVERY
        if select.select([pipe], [], [], LOOK_EVERY)[0]:
            chunk = os.read(pipe, 65536)
            if not chunk:
                return tail
            _write(2, chunk)
            tail = (tail + chunk)[-TAIL:]
        if patience and time.monotonic() > patience:
            return tail  # something outside of the group holds it


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except OSError:  # nobody is left in the group
        pass


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _to_log(file: pathlib.Path) -> None:
    sys.stdout.flush()
    with open(file, "rb") as source:
        while chunk := source.read(65536):
            _write(1, chunk)


def _write(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:  # a full disk must not fail the job
        pass


def _from_text(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"stdout": text}


# JSON ---------------------------------------------------------------------------------------------------------------


def as_json(value: Any) -> str:
    """The input of a command as text."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_json_form)
    except ValueNotSupported:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueNotSupported("the input of the command", type(value).__name__, str(error)) from None


def _json_form(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal | uuid.UUID | pathlib.PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if hasattr(value, "tolist"):  # a numpy array or scalar
        return value.tolist()
    kind = type(value).__name__
    raise ValueNotSupported(
        "the input of the command", kind, "JSON has no form for it; hand over a file's path instead"
    )
