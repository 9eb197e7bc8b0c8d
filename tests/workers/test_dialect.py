"""Commands of Alfred scripts, where they are started: what is put into them, and what their output says."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.pipeline.definition import CommandLine, unpack_definition
from headrace.pipeline.payload import unpack
from headrace.pipeline.task import COMMAND, Assignment, Needs, Outcome, RunHeader
from headrace.workers.dialect import Output, launched, mapped, zones

MAPS = [["/net/", "//server/", "UNC"], ["/net/", "/mnt/net/", "NFS"], ["C:", "/c", ""]]
EXPAND = {"expand": {"service": "linux"}, "before": "Scenes/Action1 ends"}


class Farm:
    """Runs one command of a script, as a worker process would."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.reports: list[float] = []

    def run(self, *argv: str, job: str = "Scenes/Action1", given: dict[str, Any] | None = None) -> Outcome:
        outcome: Outcome = self.lab.execution(report=self._report).run(
            RunHeader("run"), self.asked(*argv, job=job, given=given)
        )
        return outcome

    def shell(self, text: str, **options: Any) -> Outcome:
        return self.run("/bin/sh", "-c", text, **options)

    def asked(
        self, *argv: str, job: str = "Scenes/Action1", given: dict[str, Any] | None = None, **options: Any
    ) -> Assignment:
        if given is not None:
            options["data"] = given
        line = CommandLine(argv or ("true",), dialect="alfred")
        assignment: Assignment = self.lab.assignment(job, worker=COMMAND, command=line, bind="literal", **options)
        return assignment

    def _report(self, lease: int, done: float, total: float | None, message: str) -> None:
        assert total == 100
        self.reports.append(done)


@pytest.fixture
def farm(lab: Any) -> Farm:
    return Farm(lab)


def result(outcome: Outcome) -> Any:
    assert outcome.kind == "success", outcome.error
    return unpack(outcome.result)


def reason(outcome: Outcome) -> str:
    assert outcome.kind == "failed" and outcome.error is not None
    return outcome.error.message


# Going in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("plain", "plain"),
        ("%j", "run"),
        ("out.%t.%c.log", "out.My_Scenes.My_Scenes_Action1.log"),
        ("%n", "4"),
        ("%h", socket.gethostname()),
        ("%idref(a b)", socket.gethostname()),
        ("100%%", "100%"),
        ("%%j", "%j"),
        ("frame.%04d.exr %s %Y", "frame.%04d.exr %s %Y"),
        ("%D(/net/a.rib)", "/mnt/net/a.rib"),
        ("-o=%D(C:/x),%D(/other)", "-o=/c/x,/other"),
        ("%D(/net", "%D(/net"),
        ("a~", "a~"),
    ],
)
def test_texts_are_put_in_where_the_command_starts(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, text: str, arrives: str
) -> None:
    monkeypatch.setenv("HEADRACE_ZONE", "nfs")
    asked = farm.asked(job="My Scenes/Action1", needs=Needs(resources={"slots": 4}))
    assert launched(text, asked, MAPS) == arrives


def test_a_home_folder_stands_at_the_beginning_of_an_argument_only(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert [launched(text, farm.asked()) for text in ("~", "~/a", "a/~", "x~/a")] == [
        "/home/me",
        "/home/me/a",
        "a/~",
        "x~/a",
    ]


def test_a_command_that_is_tried_again_is_told(farm: Farm) -> None:
    assert launched("%r%R%q", farm.asked()) == "000"
    assert launched("%r", farm.asked(attempt=2)) == "1"


def test_paths_are_mapped_by_the_first_map_of_a_zone_of_this_machine() -> None:
    assert mapped("/net/a", MAPS, ("unc",)) == "//server/a"
    assert mapped("/net/a", MAPS, ("nfs", "linux")) == "/mnt/net/a"
    assert mapped("/net/a", MAPS, ("mars",)) == "/net/a"
    assert mapped("C:/a", MAPS, ("mars",)) == "/c/a"


def test_a_machine_has_the_zones_of_its_kind_or_the_one_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_ZONE", raising=False)
    assert "nfs" in zones() and {"linux": "linux", "darwin": "macos"}[sys.platform] in zones()
    monkeypatch.setenv("HEADRACE_ZONE", "Berlin")
    assert zones() == ("berlin",)


def test_every_attempt_gets_texts_of_its_own(farm: Farm) -> None:
    execution = farm.lab.execution()
    line = CommandLine(("echo", "%c"), dialect="alfred")
    told = [
        result(execution.run(RunHeader("run"), farm.lab.assignment(job, worker=COMMAND, command=line, bind="literal")))
        for job in ("a/Action1", "b/Action2")
    ]
    assert told == [{"stdout": "a_Action1\n"}, {"stdout": "b_Action2\n"}]


def test_no_shell_comes_between(farm: Farm) -> None:
    assert result(farm.run("echo", "$HOME", "|", "*", "'a b'")) == {"stdout": "$HOME | * 'a b'\n"}


# Coming out ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TR_EXIT_STATUS", "ALF_EXIT_STATUS"])
def test_an_exit_status_in_the_output_replaces_the_real_one(farm: Farm, name: str) -> None:
    outcome = farm.shell(f"echo {name} 7")
    assert reason(outcome).endswith("ended with exit code 7")
    assert outcome.error is not None and outcome.error.exit_code == 7
    assert result(farm.shell(f"echo working; echo {name} 0; exit 3")) == {"stdout": f"working\n{name} 0\n"}


def test_the_last_exit_status_counts_and_only_at_the_beginning_of_a_line(farm: Farm) -> None:
    assert (
        farm.shell("echo TR_EXIT_STATUS 1; echo '  TR_EXIT_STATUS 0'; printf 'no TR_EXIT_STATUS 4'").kind == "success"
    )
    assert "exit code 5" in reason(farm.shell("echo TR_EXIT_STATUS 1; printf 'TR_EXIT_STATUS 5'"))


def test_progress_in_the_output_is_told_while_the_command_runs(farm: Farm, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    noted: list[float] = []

    def report(lease: int, done: float, total: float | None, message: str) -> None:
        noted.append(done)
        if len(noted) == 1:
            gate.write_text("go on\n")

    line = CommandLine(
        ("/bin/sh", "-c", f"echo TR_PROGRESS 25%; read x < {gate}; echo TR_PROGRESS 100%"), dialect="alfred"
    )
    asked = farm.lab.assignment("job", worker=COMMAND, command=line, bind="literal")
    assert farm.lab.execution(report=report).run(RunHeader("run"), asked).kind == "success"
    assert noted[0] == 25


def test_directives_are_found_however_the_output_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "stdout"
    file.write_bytes(b"")
    output = Output()
    text = (
        b"x" * 100_000 + b"\nTR_PROGRESS 300%\n\xff\n" + b"ALF_EXIT_STATUS -9\n" + b"y" * 70_000 + b"TR_EXIT_STATUS 1"
    )
    with file.open("ab", buffering=0) as sink:
        for start in range(0, len(text), 997):
            sink.write(text[start : start + 997])
            output.read(file)
    output.read(file, to_end=True)
    assert (output.status, output.progress) == (-9, 100)


def test_a_command_that_ends_too_soon_has_failed(farm: Farm) -> None:
    assert "sooner than its -minrunsecs 60" in reason(farm.run("true", given={"minrunsecs": 60}))
    assert "exit code 3" in reason(farm.shell("exit 3", given={"minrunsecs": 60}))
    assert farm.run("true", given={"minrunsecs": 0.0001}).kind == "success"


# Output that is tasks -----------------------------------------------------------------------------------------------


def test_tasks_that_a_command_prints_are_grafted_before_what_follows_it(farm: Farm) -> None:
    outcome = farm.shell(
        "echo '##AlfredToDo 3.0'; echo 'Task a -cmds { RemoteCmd {render %%D(/x)} -service big }';"
        "echo 'Task b -subtasks { Instance a }'",
        given={**EXPAND, "dirmaps": [["/x", "/y", ""]]},
    )
    assert result(outcome) == {"tasks": ["a", "b"]}
    assert outcome.signs is not None and outcome.signs.graft is not None
    graft = unpack_definition(outcome.signs.graft)
    assert [node.name for node in graft.nodes if node.kind == "job"] == ["Scenes/Action1/a/Action1"]
    (node,) = (node for node in graft.nodes if node.kind == "job")
    assert node.role == "linux && big"
    assert node.command is not None and node.command.dialect == "alfred"
    assert unpack(node.data or b"") == {"dirmaps": [["/x", "/y", ""]]}
    assert graft.outside == ("Scenes/Action1 ends",)


def test_a_command_that_prints_no_tasks_grafts_nothing(farm: Farm) -> None:
    outcome = farm.shell("echo '# nothing to do'", given=EXPAND)
    assert result(outcome) == {"tasks": []}


@pytest.mark.parametrize(
    ("printed", "what"),
    [
        ("Task {a", "the output of Scenes/Action1:1:6: this brace is never closed"),
        ("Job -title x", "a Job cannot stand among tasks"),
        ("hello", "an operator has to stand here"),
    ],
)
def test_output_that_is_no_script_fails_the_command_with_its_place(farm: Farm, printed: str, what: str) -> None:
    assert what in reason(farm.run("echo", printed, given=EXPAND))
