"""Alfred scripts that run: in this process, by the command, and on a real cluster."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headrace.alfscript import loads

ACCEPTANCE = Path(__file__).parents[1] / "acceptance" / "conftest.py"

FILM = """##AlfredToDo 3.0
Job -title {Film} -serialsubtasks 1 -dirmaps {{{/farm/} {./} {}}} -envkey {setenv SHOW=Brazil} -subtasks {
    Task {Prepare} -cmds { RemoteCmd {sh -c {echo $SHOW > show}} -service {shell} }
    Task {Frames} -subtasks {
        Iterate f -from 1 -to 3 -template {
            Task "Frame [format %02d $f]" -cmds { RemoteCmd {sh -c {echo frame $f; echo TR_PROGRESS 100%}} }
        }
    } -cmds {
        RemoteCmd {cat %D(/farm/show)} -tags {disk}
        RemoteCmd {printf %s.%s %t %c} -maxrunsecs 60
    }
    Task {More} -cmds {
        RemoteCmd -expand 1 {sh -c {
            echo "Task {Late} -cmds { RemoteCmd {echo late} }"
            echo "Task {Later} -subtasks { Instance {Late} } -cmds { RemoteCmd {echo later} }"
        }}
    }
    Task {Again} -subtasks { Instance {Frame 02} Instance {More} } -cmds { RemoteCmd {echo again} }
} -cleanup {
    RemoteCmd {sh -c {cat > cleaned}}
}
"""
RESULTS = {
    "Prepare/Action1": None,
    "Frames/Frame 01/Action1": {"stdout": "frame 1\nTR_PROGRESS 100%\n"},
    "Frames/Frame 02/Action1": {"stdout": "frame 2\nTR_PROGRESS 100%\n"},
    "Frames/Frame 03/Action1": {"stdout": "frame 3\nTR_PROGRESS 100%\n"},
    "Frames/Action1": {"stdout": "Brazil\n"},
    "Frames/Action2": {"stdout": "Frames.Frames_Action2"},
    "More/Action1": {"tasks": ["Late", "Later"]},
    "More/Action1/Late/Action1": {"stdout": "late\n"},
    "More/Action1/Later/Action1": {"stdout": "later\n"},
    "Again/Action1": {"stdout": "again\n"},
}
BROKEN = """Job -title {Broken} -subtasks {
    Task a -cmds { Cmd {sh -c {echo x >> tried; exit 3}} -retryrc {3} ; Cmd {touch never} }
    Task b -cmds { Cmd {sh -c {echo x >> once; exit 4}} -retryrc {3} }
    Task c -cmds { Cmd {sh -c {echo TR_EXIT_STATUS 0; exit 5}} }
    Task d -subtasks { Instance a } -cmds { Cmd {touch never} }
    Task e -cmds { Cmd {touch on} } -cleanup { Cmd {touch cleaned-e} }
} -postscript {
    Cmd {touch never} -when done
    Cmd {sh -c {cat > told}} -when error
    Cmd {touch always}
} -whenerror {touch whenerror}
"""


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Here ---------------------------------------------------------------------------------------------------------------


def test_a_script_runs_in_this_process(here: Path) -> None:
    run = loads(FILM).run()
    assert (run.state, run.error) == ("success", None)
    assert run.results == RESULTS
    assert json.loads((here / "cleaned").read_text())["state"] == "success"


def test_a_failure_blocks_what_depends_on_it_and_nothing_else(here: Path) -> None:
    run = loads(BROKEN).run()
    assert run.state == "failed"
    assert run.error is not None and run.error.job in ("a/Action1", "b/Action1")
    assert run.states == {
        "a/Action1": "failed",
        "a/Action2": "skipped",
        "b/Action1": "failed",
        "c/Action1": "success",
        "d/Action1": "skipped",
        "e/Action1": "success",
    }
    assert files(here) == {"tried", "once", "on", "cleaned-e", "told", "always", "whenerror"}
    assert json.loads((here / "told").read_text())["state"] == "failed"


def test_a_command_is_tried_three_times_for_its_retry_codes_and_once_for_others(here: Path) -> None:
    loads(BROKEN).run()
    assert (here / "tried").read_text() == "x\n" * 3
    assert (here / "once").read_text() == "x\n"


def test_a_failure_among_tasks_that_a_command_has_printed_is_one_of_its_task(here: Path) -> None:
    run = loads(
        """Job -title x -serialsubtasks 1 -subtasks {
            Task make -cmds {
                Cmd {echo Task bad -cmds {{ Cmd {exit-that-is-not-there} }} } -expand 1
                Cmd {touch never}
            } -whenerror {touch handled} -whendone {touch never}
            Task next -cmds { Cmd {touch never} }
        }"""
    ).run()
    assert (run.state, run.error and run.error.job) == ("failed", "make/Action1/bad/Action1")
    assert files(here) == {"handled"}


def test_printed_tasks_may_print_tasks(here: Path) -> None:
    (here / "more.sh").write_text(
        """n=$1
        if [ $n -gt 0 ]; then echo "Task t$n -cmds { Cmd -expand 1 {sh more.sh $((n - 1))} }"; fi"""
    )
    run = loads("Job -title x -cmds { Cmd {sh more.sh 3} -expand 1 ; Cmd {echo end} }").run()
    assert run.state == "success"
    names = [
        "Action1",
        "Action1/t3/Action1",
        "Action1/t3/Action1/t2/Action1",
        "Action1/t3/Action1/t2/Action1/t1/Action1",
    ]
    assert [name for name, state in run.states.items() if state == "success"] == [names[0], "Action2", *names[1:]]


def test_printed_tasks_have_ends_of_their_own_before_those_of_the_task_that_printed_them(here: Path) -> None:
    (here / "print.sh").write_text(
        """cat <<END
        Task {part} -cmds { Cmd {sh -c {echo part >> order}} } -cleanup { Cmd {sh -c {echo cleanup of part >> order}} }
        Task {bad} -subtasks { Instance {part} } -cmds { Cmd {exit-that-is-not-there} } -cleanup {
            Cmd {sh -c {echo cleanup of bad >> order}}
        } -whenerror {sh -c {sed s/.*kind.*/told/ > told}}
END"""
    )
    run = loads(
        """Job -title x -subtasks {
            Task make -cmds { Cmd {sh print.sh} -expand 1 } -cleanup { Cmd {sh -c {echo cleanup of make >> order}} }
        } -cleanup { Cmd {sh -c {echo cleanup of the job >> order}} }"""
    ).run()
    assert (run.state, run.error and run.error.job) == ("failed", "make/Action1/bad/Action1")
    lines = (here / "order").read_text().splitlines()
    assert lines == ["part", "cleanup of part", "cleanup of bad", "cleanup of make", "cleanup of the job"]
    assert (here / "told").read_text() == "told"


def test_an_empty_script_has_nothing_to_do() -> None:
    for text in ("Job", "Job -title x -subtasks {} -cmds {}", "Job -subtasks { Task t -subtasks {\n} -cmds {\n} }"):
        assert loads(text).run().state == "success"


# On a cluster -------------------------------------------------------------------------------------------------------


def loaded(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Broker for everything but the shell, and one for the shell only."""
    daemons = loaded(ACCEPTANCE, "alf_acceptance").Daemons(tmp_path_factory.mktemp("farm"))
    try:
        daemons.start("router")
        daemons.start("pipeliner")
        daemons.start("broker", "--roles", "render:2,Linux:2")
        daemons.start("broker2", "--roles", "shell:1,linux:1,slow:1")
        with daemons.manager() as manager:
            daemons.until(lambda: len(manager.cluster()["brokers"]) == 2, what="both Brokers are there")
        yield daemons
    finally:
        daemons.stop()


def test_a_script_runs_on_a_cluster(daemons: Any) -> None:
    with daemons.manager() as manager:
        pipeline = loads(FILM).to_pipeline()
        manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert (pipeline.failed, pipeline.error) == (False, None)
        assert manager.results(pipeline) == RESULTS
    assert json.loads((daemons.folder / "cleaned").read_text())["state"] == "success"


def test_printed_tasks_have_ends_of_their_own_on_a_cluster_too(daemons: Any) -> None:
    (daemons.folder / "ends.sh").write_text(
        "echo 'Task {part} -cmds { Cmd {true} } -cleanup { Cmd {sh -c {echo inner >> ends}} }'"
    )
    text = """Job -title x -subtasks {
        Task make -cmds { Cmd {sh ends.sh} -expand 1 } -cleanup { Cmd {sh -c {echo outer >> ends}} }
    }"""
    with daemons.manager() as manager:
        run = manager.wait(manager.start(loads(text)), 60)
        assert (run.state, run.error) == ("success", None)
        assert run.states == {"make/Action1": "success", "make/Action1/part/Action1": "success"}
    assert (daemons.folder / "ends").read_text() == "inner\nouter\n"


def test_services_say_which_broker_runs_a_command(daemons: Any) -> None:
    text = """Job -title x -subtasks {
        Task a -cmds { Cmd {sh -c {echo $PPID}} -service {render && linux} }
        Task b -cmds { Cmd {sh -c {echo $PPID}} -service {LINUX && slow} }
        Task c -cmds { Cmd {sh -c {echo $PPID}} -service {linux && !slow} }
        Task d -cmds { Cmd {sh -c {echo $PPID}} -service {"sh*"} }
    }"""
    with daemons.manager() as manager:
        pipeline = loads(text).to_pipeline()
        manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert pipeline.error is None
        found = manager.results(pipeline)
    pids = {broker: {child.pid for child in daemons.children(broker)} for broker in ("broker", "broker2")}
    places = {name: next(broker for broker, several in pids.items() if pid in several) for name, pid in found.items()}
    assert places == {"a/Action1": "broker", "b/Action1": "broker2", "c/Action1": "broker", "d/Action1": "broker2"}


def test_commands_that_want_several_slots_share_those_of_a_broker(daemons: Any) -> None:
    """Two at the same time would find the folder of the other; three are more than any Broker has."""
    text = """Job -title x -subtasks {
        Iterate i -from 1 -to 4 -template {
            Task t$i -cmds { Cmd {sh -c {mkdir mine && sleep 0.1 && rmdir mine && echo %n}} -service render -atleast 2 }
        }
    }"""
    with daemons.manager() as manager:
        run = manager.wait(manager.start(loads(text)), 60)
        assert (run.state, run.error) == ("success", None)
        assert set(run.results.values()) == {2}
        many = manager.start(loads("Job -title x -cmds { Cmd {true} -atleast 3 }"))
        daemons.until(lambda: "slots" in str(manager.explain(many)), what="it is known what is missing")
        manager.cancel(many)
        manager.wait(many, 60)


def test_a_service_that_nobody_offers_is_waited_for_and_explained(daemons: Any) -> None:
    with daemons.manager() as manager:
        pipeline = loads("Job -title x -cmds { Cmd {true} -service {mars} }").to_pipeline()
        manager.start(pipeline)
        daemons.until(lambda: "mars" in str(manager.explain(pipeline)), what="it is known what is missing")
        manager.cancel(pipeline)
        manager.wait(pipeline, 60)


def test_a_paused_script_waits_until_it_is_resumed(daemons: Any) -> None:
    with daemons.manager() as manager:
        pipeline = loads("set AlfJobPause 1\nJob -title x -cmds { Cmd {true} }").to_pipeline()
        manager.start(pipeline)
        daemons.until(lambda: "paused" in str(manager.explain(pipeline)), what="it is paused")
        manager.resume(pipeline)
        manager.wait(pipeline, 60)
        assert pipeline.error is None


def test_the_command_submits_a_script_whatever_its_file_is_called(daemons: Any) -> None:
    (daemons.folder / "script.txt").write_text("Job -title {Plain} -cmds { Cmd {echo hello} }")
    for arguments in (("-a", "script.txt"), ("script.txt",)):
        done = daemons.command("submit", *arguments, "--wait")
        assert done.returncode == 0, done.stderr
    (daemons.folder / "script.txt").write_text("Job -title {Plain} -cmds {\n Cmd {echo {hello} }")
    done = daemons.command("submit", "-a", "script.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert "script.txt:1:26: this brace is never closed" in done.stderr
