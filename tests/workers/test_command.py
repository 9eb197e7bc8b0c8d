"""Workers in any language: real programs, started for real."""

import contextlib
import datetime
import decimal
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.pipeline.definition import CommandLine
from headrace.pipeline.errors import ValueNotSupported
from headrace.pipeline.payload import pack, unpack
from headrace.pipeline.task import COMMAND, Assignment, Outcome, RunHeader
from headrace.workers.command import as_json
from headrace.workers.interruption import Interruption

Told = Callable[[Outcome], str]
NO_DATA = object()


class Commands:
    def __init__(self, lab: Any) -> None:
        self.lab = lab

    def run(self, *argv: str, shell: str | None = None, data: Any = NO_DATA, **options: Any) -> Outcome:
        line = CommandLine(argv, shell, options.pop("cwd", None), options.pop("env", {}))
        execution = self.lab.execution(**options.pop("execution", {}))
        assignment: Assignment = self.lab.assignment("job", worker=COMMAND, command=line, **options)
        return execution.run(RunHeader("run", None if data is NO_DATA else pack(data)), assignment)

    def result(self, *argv: str, **options: Any) -> Any:
        outcome = self.run(*argv, **options)
        assert outcome.kind == "success", outcome.error
        return unpack(outcome.result)


def until_it_ended(pid: int) -> None:
    """Wait for the end of a process that is not our child: whoever inherits it may be slow to reap it."""
    deadline = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"{process} goes on"
            threading.Event().wait(0.01)


@pytest.fixture
def commands(lab: Any) -> Commands:
    return Commands(lab)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a fresh one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Input --------------------------------------------------------------------------------------------------------------


def test_the_input_is_json_on_standard_input_and_in_a_file(commands: Commands) -> None:
    data = {"text": "grüße", "rows": [1, 2.5, None, True]}
    assert commands.result("cat", data=data) == data
    assert commands.result(shell='cat "$HEADRACE_INPUT"', data=data) == data


def test_every_bind_makes_an_input(commands: Commands, given: Callable[..., Any]) -> None:
    inputs = [given("a", 1), given("b", {"x": 2})]
    assert commands.result("cat", data={"d": 0}, bind="args", inputs=inputs) == [1, {"x": 2}]
    assert commands.result("cat", data={"d": 0}, bind="named", inputs=inputs) == {"d": 0, "a": 1, "b": {"x": 2}}
    assert commands.result("cat", data={"d": 0}, bind="gather", inputs=inputs) == [1, {"x": 2}]
    assert commands.result("cat", data={"d": 0}, bind="item", inputs=inputs[:1]) == 1
    assert commands.result("cat", data={"d": 0}, bind="item") == {"d": 0}
    assert commands.result("cat", data={"d": 0}, inputs=inputs) == {"d": 0, "x": 2}
    assert commands.result("cat", data={"d": 0}, bind="literal") is None


def test_values_that_json_has_no_form_for_become_texts_or_are_refused(commands: Commands, told: Told) -> None:
    day = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
    assert as_json([day, day.date()]) == '["2024-02-29T12:00:00+00:00", "2024-02-29"]'
    assert as_json([decimal.Decimal("1.50"), Path("a/b"), (1, 2), {3}]) == '["1.50", "a/b", [1, 2], [3]]'
    assert as_json(uuid.UUID(int=1)) == '"00000000-0000-0000-0000-000000000001"'
    assert as_json(datetime.timedelta(minutes=1)) == "60.0"
    with pytest.raises(ValueNotSupported, match="hand over a file's path"):
        as_json({"image": b"\x00"})
    assert "failed: ValueNotSupported: the input of the command: a value of type bytes" in told(
        commands.run("cat", data={"image": b"\x00"})
    )


def test_a_command_knows_what_it_works_for(commands: Commands) -> None:
    names = ["RUN", "JOB", "PATH", "ATTEMPT", "ATTEMPT_KEY"]
    text = " ".join(f"$HEADRACE_{name}" for name in names)
    result = commands.result(shell=f'echo "{text}"', path=(1, 2), attempt=3)
    assert result == {"stdout": "run job 1.2 3 run/0/job/1.2\n"}


def test_a_command_has_its_own_environment_and_folder(commands: Commands, tmp_path: Path) -> None:
    assert commands.result(shell="echo $COLOUR", env={"COLOUR": "red"}) == {"stdout": "red\n"}
    assert commands.result("pwd", cwd=str(tmp_path)) == {"stdout": f"{tmp_path.resolve()}\n"}


# Result -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [("[1, 2]", [1, 2]), ("5", 5), ("plain words", {"stdout": "plain words\n"}), ("{half", {"stdout": "{half\n"})],
)
def test_standard_output_is_the_result(commands: Commands, text: str, result: Any) -> None:
    assert commands.result("echo", text) == result


def test_a_silent_command_has_no_result(commands: Commands) -> None:
    assert commands.result("true") is None


def test_the_output_file_counts_before_standard_output(commands: Commands) -> None:
    assert commands.result(shell='echo chatter; echo \'{"x": 1}\' > "$HEADRACE_OUTPUT"') == {"x": 1}


def test_an_output_file_that_is_not_json_is_a_failure(commands: Commands, told: Told) -> None:
    text = told(commands.run(shell='echo nonsense > "$HEADRACE_OUTPUT"'))
    assert "wrote something to $HEADRACE_OUTPUT that is not JSON" in text


def test_output_that_is_no_utf8_does_no_harm(commands: Commands) -> None:
    assert commands.result(shell="printf '\\377 \\101'") == {"stdout": "\ufffd A"}


def test_a_list_can_be_spread(commands: Commands) -> None:
    outcome = commands.run("echo", "[1, 2, 3]", spread=True)
    assert outcome.signs is not None
    assert outcome.signs.spread == 3


# Failure ------------------------------------------------------------------------------------------------------------


def test_an_exit_code_is_a_failure_with_the_last_words(commands: Commands, told: Told) -> None:
    outcome = commands.run(shell="echo working; echo first >&2; echo 'no such page' >&2; exit 3")
    assert outcome.error is not None
    assert outcome.error.exit_code == 3
    assert told(outcome).startswith("failed: CommandFailed: command `echo working; ")
    assert told(outcome).endswith("ended with exit code 3: no such page")
    assert outcome.error.log_tail == "first\nno such page\n"
    assert "Traceback" not in outcome.error.traceback


def test_a_signal_counts_as_128_and_its_number(commands: Commands, told: Told) -> None:
    outcome = commands.run(shell="kill -SEGV $$")
    assert outcome.error is not None
    assert outcome.error.exit_code == 139
    assert told(outcome).endswith("was ended by SIGSEGV")


def test_a_program_that_is_not_there_is_told_with_where_it_was_looked_for(
    commands: Commands, told: Told, folder: Path
) -> None:
    outcome = commands.run("no-such-program", "-x")
    assert outcome.error is not None
    assert outcome.error.exit_code == 127
    assert told(outcome).endswith(f"was not found: no 'no-such-program' in {os.getcwd()} or on the PATH")
    assert "has no folder 'nowhere' to run in" in told(commands.run("true", cwd="nowhere"))


def test_a_file_that_cannot_be_executed_is_told(commands: Commands, told: Told, folder: Path) -> None:
    (folder / "letter").write_text("dear reader")
    outcome = commands.run("./letter")
    assert outcome.error is not None
    assert outcome.error.exit_code == 126
    assert "cannot be run: Permission denied" in told(outcome)


def test_the_current_folder_comes_before_the_path(commands: Commands, folder: Path) -> None:
    script = folder / "cat"
    script.write_text("#!/bin/sh\necho '\"from here\"'\n")
    script.chmod(0o755)
    (folder / "sub").mkdir()
    assert commands.result("cat") == "from here"
    assert commands.result(shell="cat") == "from here"
    assert commands.result("cat", cwd="sub") == "from here"


def test_a_loud_command_does_not_fill_a_pipe(commands: Commands) -> None:
    program = "import sys; sys.stderr.write('x' * 1_000_000); print('y' * 1_000_000)"
    result = commands.result(sys.executable, "-c", program, execution={"inline_limit": None})
    assert len(result["stdout"]) == 1_000_001


# The process group --------------------------------------------------------------------------------------------------


def test_what_a_command_leaves_behind_ends_with_it(commands: Commands, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    assert commands.result(shell=f"sleep 600 & echo $! > {pids}; echo 1") == 1
    child = int(pids.read_text())
    until_it_ended(child)


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_interrupted_command_ends_with_its_whole_group(
    lab: Any, tmp_path: Path, stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGALRM stands in for the SIGTERM of a worker process: a handler that interrupts."""
    import signal

    monkeypatch.setattr("headrace.workers.command.GRACE", 0.3)
    interruption = Interruption()

    def stop(*_: Any) -> None:
        interruption.stop(1, "timeout")
        interruption.check()

    before = signal.signal(signal.SIGALRM, stop)
    pids = tmp_path / "pids"
    trap = "trap '' TERM;" if stubborn else ""
    line = CommandLine(shell=f"{trap} sleep 600 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait; sleep 600")

    def interrupt_when_it_runs() -> None:
        while not pids.exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    watcher = threading.Thread(target=interrupt_when_it_runs)
    try:
        watcher.start()
        execution = lab.execution(interruption=interruption)
        outcome = execution.run(RunHeader("run"), lab.assignment("job", worker=COMMAND, command=line))
    finally:
        watcher.join()
        signal.signal(signal.SIGALRM, before)
    assert outcome.kind == "timeout"
    for pid in map(int, pids.read_text().split()):
        until_it_ended(pid)
