"""What the options of Alfred scripts become."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from headrace.alfscript import AlfscriptError, loads
from headrace.pipeline.definition import unpack_definition
from headrace.pipeline.pipeline import Pipeline


def job(options: str) -> dict[str, Any]:
    inside: dict[str, Any] = loads(f"Job {options}")["Job"]
    return inside


def command(options: str, around: str = "") -> dict[str, Any]:
    inside: dict[str, Any] = job(f"{around} -cmds {{ RemoteCmd {{prog}} {options} }}")["cmds"][0]["Action"]
    return inside


def compiled(options: str) -> Pipeline:
    return loads(f"Job -title x {options}").to_pipeline()


def only(pipeline: Pipeline) -> Any:
    (node,) = unpack_definition(pipeline.definition()).nodes
    return node


# Where --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("around", "own", "role"),
    [
        ("", "-service PixarRender", "PixarRender"),
        ("", "-service {Linux && !Slow}", "Linux && !Slow"),
        ("", '-service {"PixarRender", "a*"}', 'PixarRender && "a*"'),
        ("", "-service {a||b,c}", "a || b && c"),
        ("", "-service {local:PixarRender}", "local:PixarRender"),
        ("-service linux", "-service {a || b}", "linux && (a || b)"),
        ("-service linux", "-service linux", "linux"),
        ("-service linux", "", None),
        ("", "-service {}", None),
        ("", "-service {@.mem > 2, big}", "big"),
        ("", "-service {@.mem > 2 || big}", None),
    ],
)
def test_a_service_is_a_requirement_and_adds_to_what_is_around_it(around: str, own: str, role: str | None) -> None:
    assert command(own, around)["_role"] == role


def test_services_of_jobs_and_tasks_are_inherited_by_every_command_below() -> None:
    pipeline = compiled(
        "-service a -subtasks { Task t -service b -subtasks { Task u -cmds {Cmd x ; Cmd y -service {c||d}} } }"
    )
    assert [node.role for node in unpack_definition(pipeline.definition()).nodes] == ["a && b", "a && b && (c || d)"]


def test_figures_of_machines_are_left_out_with_one_warning() -> None:
    tree = loads("Job -cmds { Cmd a -service {x,@.mem > 2} ; Cmd b -service {@.cpu < 0.5} }")
    assert tree.warnings == (
        "line 1, column 28: figures of machines such as @.mem > 2 are not looked at: they are left out",
    )


def test_slots_tags_environment_and_folder_are_those_of_the_commands() -> None:
    node = only(
        compiled(
            "-tags {nuke {maya 2}} -atleast 2 -spoolcwd /tmp -envkey {prman-20 {setenv A=1 B=x=y}}"
            " -cmds { Cmd {prog} -tags arnold -envkey {setenv A=2 {C=a b}} }"
        )
    )
    assert node.limits == ("nuke", "maya 2", "arnold")
    assert node.resources == {"slots": 2}
    assert node.command.cwd == "/tmp"
    assert node.command.env == {"A": "2", "B": "x=y", "C": "a b"}
    assert job("-envkey {prman-20 {setenv A=1}}")["envkey"] == "prman-20"
    assert "_resources" not in command("-atleast 1 -atmost 4")


def test_a_name_that_the_script_sets_for_its_commands_is_no_surprise() -> None:
    tree = loads("Job -envkey {setenv A=1} -cmds { Cmd {sh -c {echo $A $B}} }")
    assert [warning.partition(": ")[2][:2] for warning in tree.warnings] == ["$B"]
    assert tree.cmds[0].argv[2] == "echo $A $B"


# How often, how long ------------------------------------------------------------------------------------------------


def test_a_command_is_tried_once_and_three_times_for_the_exit_codes_that_it_names() -> None:
    assert only(compiled("-cmds { Cmd {prog} }")).retry is None
    retry = only(compiled("-cmds { Cmd {prog} -retryrc {1 3 5} }")).retry
    assert (retry.tries, retry.on) == (3, (1, 3, 5))
    assert "_retry" not in command("-retryrc {}")


def test_a_longest_time_is_a_timeout_and_none_at_all_is_none() -> None:
    assert only(compiled("-cmds { Cmd {prog} -maxrunsecs 90 }")).timeout == 90
    assert only(compiled("-cmds { Cmd {prog} -maxrunsecs 0 }")).timeout is None
    assert command("-minrunsecs 2.5")["minrunsecs"] == 2.5


# The run ------------------------------------------------------------------------------------------------------------


def test_options_of_the_job_are_options_of_its_run() -> None:
    run = "0123456789abcdef" * 2
    pipeline = compiled(f"-priority 7 -maxactive 3 -afterjids {{{run}}} -paused 1 -cmds {{ Cmd x }}")
    assert (pipeline.title, pipeline.priority, pipeline.max_active) == ("x", 7, 3)
    assert (pipeline.after, pipeline.paused, pipeline.on_error) == ((run,), True, "block")


def test_nothing_and_nought_say_nothing() -> None:
    pipeline = compiled("-maxactive 0 -afterjids {} -after {} -priority {} -tags {} -dirmaps {\n {} } -whendone {}")
    assert (pipeline.max_active, pipeline.after, pipeline.not_before, pipeline.priority) == (None, (), None, 0)


def test_priorities_are_whole_numbers_and_the_old_name_counts_where_the_new_one_is_missing() -> None:
    assert job("-pbias 4")["_priority"] == 4
    assert job("-pbias 4 -priority 9")["_priority"] == 9
    tree = loads("Job -priority 2.6")
    assert tree["Job"]["_priority"] == 3
    assert tree.warnings == ("line 1, column 15: priorities are whole numbers: 2.6 counts as 3",)


def test_a_time_without_a_day_is_of_today() -> None:
    moment = datetime.fromisoformat(job("-after {23:59}")["_not_before"])
    now = datetime.now().astimezone()
    assert (moment.hour, moment.minute) == (23, 59)
    assert abs(moment - now) < timedelta(hours=25)


def test_a_time_with_a_day_is_of_the_nearest_year() -> None:
    now = datetime.now().astimezone()
    for days in (-100, -1, 1, 100, 170):
        day = now + timedelta(days=days)
        moment = datetime.fromisoformat(job(f"-after {{{day.month} {day.day} 13:45}}")["_not_before"])
        assert (moment.date(), moment.hour, moment.minute) == (day.date(), 13, 45)


def test_what_is_no_id_of_a_run_is_warned_of_and_cannot_be_waited_for() -> None:
    tree = loads("Job -title x -afterjids {12 13} -cmds { Cmd y }")
    assert "'12' is none" in tree.warnings[0]
    with pytest.raises(ValueError, match="run ids"):
        tree.to_pipeline()


# Ends ---------------------------------------------------------------------------------------------------------------


def test_commands_for_the_end_are_hooks_and_cleanup_comes_first() -> None:
    hooks = job(
        "-postscript { Cmd {p1} ; Cmd {p2} -when done ; Cmd {p3} -when error ; Cmd {p4} -when always }"
        " -cleanup { RemoteCmd {c1} -service x } -whendone {w done} -whenerror { Cmd {w error} } -whenalways {}"
    )["_hooks"]
    programs = {kind: [action["Action"]["argv"][0] for action in actions] for kind, actions in hooks.items()}
    assert programs == {"always": ["c1", "p1", "p4"], "success": ["p2", "w"], "failure": ["p3", "w"]}


def test_commands_for_the_end_may_be_iterated_and_commented() -> None:
    hooks = job(
        "-postscript { Iterate i -from 1 -to 2 -template { Cmd {p $i} -when done } }"
        " -whenerror {\n# why\n Cmd {w} -tags x } -whenalways {\n# nothing\n}"
    )["_hooks"]
    assert [action["Action"]["argv"] for action in hooks["success"]] == [["p", "1"], ["p", "2"]]
    assert [action["Action"]["argv"] for action in hooks["failure"]] == [["w"]]
    assert "always" not in hooks
    assert job('-whendone "Cmd {a}"')["_hooks"] == job("-whendone a")["_hooks"]


def test_a_task_has_a_cleanup_of_its_own() -> None:
    pipeline = compiled("-subtasks { Task t -cmds { Cmd x } -cleanup { Cmd y } } -cleanup { Cmd z }")
    groups = {group.title: group.hooks["always"][0].command_line.argv for group in pipeline.groups}
    assert groups == {"t": ("y",), "x": ("z",)}


# What is only kept --------------------------------------------------------------------------------------------------


def test_options_that_mean_nothing_here_are_kept_without_a_word() -> None:
    tree = loads(
        "Job -comment {#Created} -tier batch -crews {} -subtasks { Task t -chaser {sho x} -id i -cmds {"
        " Cmd {a} -msg {m} -refersto i -samehost 1 -metadata {k v} } }"
    )
    assert tree.warnings == ()
    assert (tree.comment, tree.tier, tree.crews) == ("#Created", "batch", "")
    task = tree.children[0]
    assert (task.chaser, task.id) == ("sho x", "i")
    assert (task.cmds[0].msg, task.cmds[0].samehost, task.cmds[0].metadata) == ("m", "1", "k v")


def test_an_option_that_nobody_knows_is_kept_under_its_name_and_warned_of_once() -> None:
    tree = loads("Job -subtasks {\n  Task a -colour red\n  Task b -colour blue -titel c -children x\n}")
    assert [task.colour for task in tree.children] == ["red", "blue"]
    assert tree.children[1]["Task"]["-children"] == "x"
    assert tree.children[1].children == []
    assert tree.warnings == (
        "line 2, column 10: option -colour of Task is not known here: it is kept, and means nothing",
        "line 3, column 23: option -titel of Task is not known here: it is kept, and means nothing; "
        "did you mean -title?",
        "line 3, column 32: option -children of Task is not known here: it is kept, and means nothing",
    )


def test_loops_are_kept_with_a_warning() -> None:
    tree = loads("Job -cmds { Cmd a -resumewhile {b} }")
    assert tree.cmds[0].resumewhile == "b"
    assert tree.warnings == (
        "line 1, column 32: -resumewhile is kept, and means nothing: commands are not run again by it",
    )


def test_warnings_come_to_an_end() -> None:
    tree = loads("Job " + " ".join(f"-o{number} x" for number in range(3000)))
    assert len(tree.warnings) == 1000
    assert tree.o2999 == "x"


# The model ----------------------------------------------------------------------------------------------------------


def test_subtasks_come_before_commands_and_commands_one_after_the_other() -> None:
    pipeline = compiled(
        "-subtasks { Task t -subtasks { Task a -cmds {Cmd 1} ; Task b -cmds {Cmd 2} } -cmds { Cmd 3 ; Cmd 4 } }"
    )
    names = [job.name for job in pipeline.jobs]
    edges = {(names[source], names[target]) for source, target in pipeline.edges if target is not None}
    assert edges == {
        ("t/a/Action1", "t/Action1"),
        ("t/b/Action1", "t/Action1"),
        ("t/Action1", "t/Action2"),
    }


def test_a_pipeline_says_that_its_commands_are_of_this_dialect() -> None:
    node = only(compiled("-cmds { Cmd {echo a} }"))
    assert node.command.argv == ("echo", "a")
    assert (node.command.dialect, node.bind, node.data) == ("alfred", "literal", None)


def test_what_cannot_be_a_requirement_is_refused_where_it_stands() -> None:
    with pytest.raises(AlfscriptError, match="line 1, column 14: -service must be shorter"):
        loads(f"Job -service {{{'a' * 1001}}}")
    around = "-service {" + "a" * 600 + "} "
    with pytest.raises(AlfscriptError, match="with what is around it, it may have 1000 characters"):
        loads(f"Job {around} -cmds {{ Cmd x {around.replace('a', 'b')} }}")
