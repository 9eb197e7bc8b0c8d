"""The command line: parsing, help, errors and exit codes. What needs a cluster stands in test_cli_cluster."""

from __future__ import annotations

import json
import os
import pty
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from headrace.daemons import cli
from headrace.daemons.cli import MODULES, commands
from headrace.daemons.commands import exits
from headrace.daemons.commands.configuration import stray_variables
from headrace.daemons.commands.options import Command, arguments_for
from headrace.daemons.config import BrokerConfig, RouterConfig
from headrace.pipeline.errors import Busy, ConfigError, JournalLocked, NotFound, Refused, Unreachable

PIPELINE = "from headrace import Job, Pipeline\npipeline = Pipeline({Job('A'): Job('B')})\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own, without anybody's settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(commands, list(arguments), prog_name="headrace")


def answer(*arguments: str) -> Any:
    """The one JSON value of a command."""
    result = invoke(*arguments, "--json")
    assert result.stdout.count("\n") == 1
    value = json.loads(result.stdout)
    assert value["version"] == 1
    return value


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a port where nobody listens, and nobody else can meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


# Help ---------------------------------------------------------------------------------------------------------------


def test_the_help_names_every_command_with_one_line() -> None:
    text = invoke("--help").stdout
    for name in MODULES:
        assert any(line.startswith(f"  {name} ") and len(line.split()) > 2 for line in text.splitlines()), name


def test_the_help_of_every_command_ends_with_examples_that_parse() -> None:
    for name in MODULES:
        found = commands.get_command(click.Context(commands), name)
        assert isinstance(found, Command), name
        assert found.examples, name
        shown = invoke(name, "--help").stdout.rstrip().splitlines()
        assert [line.strip() for line in shown[-len(found.examples) :]] == list(found.examples)
        for example in found.examples:
            parse(example, name)


def parse(example: str, name: str) -> None:
    """Parse an example as the shell would, and go no further."""
    words = shlex.split(example)
    begin = words.index("headrace") if "headrace" in words else None
    if begin is None:
        assert example == 'eval "$(headrace completion bash)"'
        words, begin = shlex.split("headrace completion bash"), 0
    end = words.index("|") if "|" in words else len(words)
    assert words[begin + 1] == name
    found = commands.get_command(click.Context(commands), name)
    assert found is not None
    found.make_context(name, words[begin + 2 : end])


def test_every_reading_command_can_print_json() -> None:
    reading = set(MODULES) - {"up", "router", "broker", "pipeliner", "top", "completion"}
    for name in reading:
        found = commands.get_command(click.Context(commands), name)
        assert found is not None
        assert "--json" in {option for parameter in found.params for option in parameter.opts}, name


def test_help_loads_neither_zmq_nor_rich_nor_msgspec() -> None:
    program = (
        "import sys\nfrom headrace.daemons.cli import commands\n"
        "try: commands.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'zmq', 'rich', 'msgspec', 'msgpack', 'sqlite3', 'psutil'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_installed_command_and_the_module_answer_alike(tmp_path: Path) -> None:
    module = subprocess.run([sys.executable, "-m", "headrace", "--version"], capture_output=True, text=True, check=True)
    installed = subprocess.run(
        [Path(sys.executable).with_name("headrace"), "--version"], capture_output=True, text=True, check=True
    )
    assert module.stdout == installed.stdout
    assert module.stdout.startswith("headrace ")


# Errors -------------------------------------------------------------------------------------------------------------


def test_an_unknown_command_is_a_usage_error_with_the_nearest_name() -> None:
    result = invoke("lits")
    assert result.exit_code == exits.USAGE
    assert "there is no command 'lits'; did you mean 'list'?" in result.stderr


def test_usage_errors_are_json_too_when_json_was_asked_for() -> None:
    value = answer("list", "--state", "sideways")
    assert (value["kind"], value["error"]["code"], value["error"]["exit"]) == ("error", "usage", exits.USAGE)


def test_json_behind_a_double_dash_is_an_argument() -> None:
    assert not cli.wants_json(["submit", "--", "--json"])
    assert cli.wants_json(["submit", "--json", "--", "x"])


def test_an_unreachable_cluster_is_told_in_time_with_its_own_exit_code(nowhere: str) -> None:
    result = invoke("list", "--api", nowhere, "--answer-timeout", "200ms")
    assert result.exit_code == exits.UNREACHABLE
    assert nowhere in result.stderr
    value = answer("status", "--api", nowhere, "--answer-timeout", "0.1")
    assert value["error"]["code"] == "unreachable"


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (NotFound("run", "x"), 3, "not-found"),
        (Refused("not-found", "no"), 3, "not-found"),
        (Refused("conflict", "no"), 2, "conflict"),
        (Unreachable("tcp://h:1", 10.0), 4, "unreachable"),
        (Busy("disk", 1.0), 4, "busy"),
        (ConfigError("no"), 2, "usage"),
        (TimeoutError("late"), 124, "timed-out"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (JournalLocked("/d", 7), 1, "failed"),
        (RuntimeError("a mistake"), 1, "internal"),
    ],
)
def test_every_error_has_an_exit_code_and_a_word(
    error: BaseException, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert cli.guarded(fail, as_json=True) == code
    printed = json.loads(capsys.readouterr().out)
    assert (printed["error"]["code"], printed["error"]["exit"]) == (word, code)
    assert cli.guarded(fail, as_json=False) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "headrace: " in captured.err


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text(
        "from headrace import Job, Pipeline\npipeline = Pipeline({Job('A'): [Job(f'B{n}') for n in range(20000)]})\n"
    )
    command = f"{shlex.quote(sys.executable)} -m headrace dot big.py | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["digraph", "graphname", "{", "0"]
    assert done.stderr == ""


# Commands that need no cluster --------------------------------------------------------------------------------------


def test_config_prints_every_setting_and_where_it_came_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "headrace.toml").write_text("processes = 3\n")
    monkeypatch.setenv("HEADRACE_API", "tcp://127.0.0.1:7000")
    lines = invoke("config", "broker", "--origin").stdout.splitlines()
    api, processes = (next(line for line in lines if f" {name} " in line) for name in ("api", "processes"))
    assert "tcp://127.0.0.1:7000" in api
    assert api.endswith("environment HEADRACE_API")
    assert processes.split()[2] == "3"
    assert processes.endswith("headrace.toml")


def test_on_a_terminal_tables_have_rules_and_when_piped_they_have_none(folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "headrace", "config", "client"]
    process = subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"})
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # the end of a terminal, on Linux
    assert process.wait(60) == 0
    os.close(ours)
    assert "answer-timeout" in shown.decode()
    assert "──" in shown.decode()
    assert "──" not in invoke("config", "client").stdout


def test_config_as_json_has_a_value_and_an_origin_for_each_setting() -> None:
    found = answer("config", "router")["settings"]
    assert {"daemon": "router", "setting": "keep", "value": 2592000.0, "origin": "default"} in found


def test_an_unknown_key_of_the_file_stops_every_command(folder: Path) -> None:
    (folder / "headrace.toml").write_text("[broker]\nproceses = 3\n")
    result = invoke("config")
    assert result.exit_code == exits.USAGE
    assert "did you mean 'processes'?" in result.stderr


def test_a_variable_that_nearly_is_a_setting_is_noticed() -> None:
    environ = {"HEADRACE_PROCESES": "3", "HEADRACE_API": "x", "HEADRACE_RUN": "y", "PATH": "z"}
    assert stray_variables(environ) == [("HEADRACE_PROCESES", "HEADRACE_PROCESSES")]


def test_dot_of_a_file_is_the_text_of_its_pipeline(folder: Path) -> None:
    (folder / "flow.py").write_text(PIPELINE)
    assert '"A" -> "B";' in invoke("dot", "flow.py").stdout
    assert answer("dot", "flow.py")["dot"].startswith("digraph graphname {")


def test_a_target_that_is_no_pipeline_is_a_usage_error(folder: Path) -> None:
    (folder / "empty.py").write_text("")
    assert invoke("dot", "empty.py").exit_code == exits.USAGE
    assert invoke("dot", "missing.py").exit_code == exits.USAGE
    assert invoke("submit", "missing.py").exit_code == exits.USAGE


def test_a_wrong_duration_is_a_usage_error_that_names_the_option(folder: Path) -> None:
    result = invoke("prune", "--older", "soon")
    assert result.exit_code == exits.USAGE
    assert "--older" in result.stderr
    assert invoke("watch", "3f9a", "--timeout", "soon").exit_code == exits.USAGE


def test_completion_prints_the_script_of_each_shell() -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_HEADRACE_COMPLETE" in invoke("completion", shell).stdout


def test_completion_knows_the_commands() -> None:
    environ = {**os.environ, "_HEADRACE_COMPLETE": "bash_complete", "COMP_WORDS": "headrace st", "COMP_CWORD": "1"}
    command = Path(sys.executable).with_name("headrace")
    done = subprocess.run([command], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,status"]


def test_doctor_reports_what_is_wrong_with_this_machine(
    folder: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_PROCESES", "3")
    value = answer("doctor", "--api", nowhere, "--answer-timeout", "0.1")
    grades = {finding["what"]: finding["grade"] for finding in value["findings"]}
    assert grades["Python"] == "ok"
    assert grades["cluster"] == "warning"
    assert grades["environment"] == "warning"
    (folder / "headrace.toml").write_text("nonsense = 1\n")
    result = invoke("doctor", "--json")
    assert result.exit_code != exits.OK


def test_a_child_gets_its_settings_as_flags_and_secrets_by_its_environment(folder: Path) -> None:
    (folder / "headrace.toml").write_text('[store-config]\npassword = "x"\n[broker]\nprocesses = 3\n')
    flags, environment = arguments_for(RouterConfig, {"data": "d", "processes": None})
    assert flags[flags.index("--data") + 1] == str(folder / "d")
    assert "--no-insecure" in flags
    assert not any("password" in flag for flag in flags)
    assert json.loads(environment["HEADRACE_STORE_CONFIG"]) == {"password": "x"}
    flags, _ = arguments_for(BrokerConfig, {"roles": "shell:2"})
    assert flags[flags.index("--processes") + 1] == "3"
    assert flags[flags.index("--roles") + 1] == '{"shell": 2}'
