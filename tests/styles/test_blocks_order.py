"""The pipeline that a tree becomes: order, names, priorities, and whatever cannot be."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from headrace.blocks import Action, Instance, Job, Task, loads
from headrace.pipeline.definition import unpack_definition
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.pipeline import Pipeline
from headrace.pipeline.styles.tree import graft_of


def edges(pipeline: Pipeline) -> set[tuple[str, str]]:
    names = [job.name for job in pipeline.jobs]
    return {(names[source], names[target]) for source, target in pipeline.edges if target is not None}


def names(pipeline: Pipeline) -> list[str]:
    return [job.name for job in pipeline.jobs]


def readme() -> Job:
    with Job("Echo Job") as a_job:
        with Task("Task #1"):
            Action("[Task #1] Let's initiate something here first.")
        with Task("Task #2", parallel=True):
            with Task("Task #2.1"):
                Action("[Task #2.1] Do something here. $(sleep)")
                Action("[Task #2.1] Another action here at $(date).")
            with Task("Task #2.2"):
                Action("[Task #2.2] Do something here. $(sleep)")
                Action("[Task #2.2] Another action here at $(date).")
        with Task("Task #3"):
            Action("All is done!")
    return a_job


def test_groups_are_serial_or_parallel_as_they_say() -> None:
    pipeline = readme().to_pipeline()
    assert pipeline.title == "Echo Job"
    assert edges(pipeline) == {
        ("Task #1/Action1", "Task #2/Task #2.1/Action1"),
        ("Task #1/Action1", "Task #2/Task #2.2/Action1"),
        ("Task #2/Task #2.1/Action1", "Task #2/Task #2.1/Action2"),
        ("Task #2/Task #2.2/Action1", "Task #2/Task #2.2/Action2"),
        ("Task #2/Task #2.1/Action2", "Task #3/Action1"),
        ("Task #2/Task #2.2/Action2", "Task #3/Action1"),
    }


def test_priorities_rise_along_the_serial_order_so_that_what_is_begun_is_finished_first() -> None:
    assert {job.name: job.priority for job in readme().to_pipeline().jobs} == {
        "Task #1/Action1": 2,
        "Task #2/Task #2.1/Action1": 5,
        "Task #2/Task #2.1/Action2": 6,
        "Task #2/Task #2.2/Action1": 5,
        "Task #2/Task #2.2/Action2": 6,
        "Task #3/Action1": 8,
    }


def test_a_long_chain_does_not_bury_what_others_have_submitted() -> None:
    with Job("j") as job:
        for number in range(500):
            Action(number=number)
    assert max(one.priority for one in job.to_pipeline().jobs) == 100


def test_actions_and_tasks_may_be_mixed() -> None:
    with Job("j") as job:
        Action("a")
        with Task("t", parallel=True):
            Action("b")
            Action("c")
        Action("d")
    assert edges(job.to_pipeline()) == {
        ("Action1", "t/Action1"),
        ("Action1", "t/Action2"),
        ("t/Action1", "Action2"),
        ("t/Action2", "Action2"),
    }


def test_many_before_many_meet_in_a_gate() -> None:
    with Job("j") as job:
        for title in ("a", "b"):
            with Task(title, parallel=True):
                for number in range(100):
                    Action(number=number)
    pipeline = job.to_pipeline()
    assert [one.name for one in pipeline.jobs if one.kind == "gate"] == ["b starts"]
    assert len(edges(pipeline)) == 200


def test_empty_tasks_change_nothing() -> None:
    with Job("j") as job:
        Task("nothing")
        Action("a")
        with Task("outer", parallel=True):
            Task("nothing")
            Action("b")
        with Task("empty again"):
            Task("nothing")
        Action("c")
    assert edges(job.to_pipeline()) == {("Action1", "outer/Action1"), ("outer/Action1", "Action2")}


def test_a_job_without_actions_ends_well_at_once() -> None:
    run = Job("").run()
    assert run.state == "success"
    assert run.states == {}


def test_commands_come_after_the_children_one_after_the_other() -> None:
    job = Job("j", parallel=True)
    job.children = [{"Action": {"input": "a"}}, {"Action": {"input": "b"}}]
    job.cmds = [{"Action": {"argv": ["x"]}}, {"Action": {"argv": ["y"]}}]
    pipeline = job.to_pipeline()
    assert edges(pipeline) == {("Action1", "Action3"), ("Action2", "Action3"), ("Action3", "Action4")}
    assert [one.command_line is not None for one in pipeline.jobs] == [False, False, True, True]
    assert [one.retry is not None for one in pipeline.jobs] == [True, True, False, False]


def test_titles_may_repeat_and_be_empty() -> None:
    with Job("") as job:
        for _ in range(3):
            with Task("same"):
                Action("x")
        with Task(""):
            Action("x")
        with Task("same#2"):
            Action("y")
        with Task("hook:failure"):
            Action("z")
    assert names(job.to_pipeline()) == [
        "same/Action1",
        "same#2/Action1",
        "same#3/Action1",
        "Task4/Action1",
        "same#2#2/Action1",
        "/hook:failure/Action1",
    ]


def test_long_titles_are_shortened_in_names() -> None:
    with Job("j") as job, Task("x" * 1000):
        Action("a")
    assert len(names(job.to_pipeline())[0]) < 120


def test_a_name_that_is_given_is_kept() -> None:
    with Job("j") as job:
        Action("a", _name="first")
        Action("b", _name="first")
    with pytest.raises(DefinitionError, match=r"Job\.children\[1\]\.Action: _name='first' is the name of another job"):
        job.to_pipeline()
    job.children.pop()
    assert names(job.to_pipeline()) == ["first"]


def test_roles_are_inherited_and_echo_is_the_default() -> None:
    with Job("j") as job:
        Action("a")
        with Task("t", _role="encode"):
            Action(source="b")
            Action("c", _role="shell")
    plain, encode, shell = job.to_pipeline().jobs
    assert (plain.worker_name, plain.role, plain.data) == ("echo", None, {"input": "a"})
    assert (encode.worker_name, encode.role, encode.bind) == ("encode", "encode", "literal")
    assert (shell.worker_name, shell.role) == ("shell", "shell")
    first, *_ = job.to_pipeline(role="cmd").jobs
    assert (first.worker_name, first.role) == ("cmd", "cmd")


def test_options_of_the_system_are_inherited() -> None:
    with Job("j", _retry=2, _env={"A": "1"}, _limits=["licence"]) as job:
        Action("a", _role="cmd", _timeout=5, _resources={"gpu": 1})
        with Task("t", _env={"B": "2"}, _cwd="/tmp", _limits="disk"):
            Action(argv=["ls"], _retry={"tries": 5, "on": [7]})
    one, two = job.to_pipeline().jobs
    assert (one.retry.tries, one.timeout, one.resources, one.limits) == (2, 5.0, {"gpu": 1.0}, ("licence",))
    assert one.data == {"env": {"A": "1"}, "input": "a"}
    assert two.retry.tries == 5
    assert two.limits == ("licence", "disk")
    assert two.command_line.env == {"A": "1", "B": "2"}
    assert (two.command_line.argv, two.command_line.cwd) == (("ls",), "/tmp")


def test_options_of_the_run_stand_on_the_job() -> None:
    with Job("j", _priority=3, _max_active=2, _on_error="block", _not_before="2030-01-31T06:00:00+01:00") as job:
        Action("a")
    pipeline = job.to_pipeline()
    assert (pipeline.priority, pipeline.max_active, pipeline.on_error) == (3, 2, "block")
    assert pipeline.not_before == 1896066000.0
    assert job.to_pipeline(priority=9).priority == 9


def test_an_argument_list_is_a_command_where_no_function_is_meant() -> None:
    with Job("j") as job:
        Action(argv=["ls", "-l"])
        Action(argv=["ls"], _role="encode")
        Task("t", cmds=[{"Action": {"argv": ["ls"], "_role": "Linux && !Slow"}}])
    command, call, placed = job.to_pipeline().jobs
    assert command.command_line.argv == ("ls", "-l")
    assert (call.worker_name, call.command_line, call.data) == ("encode", None, {"argv": ["ls"]})
    assert (placed.command_line.argv, placed.role) == (("ls",), "Linux && !Slow")


def test_handlers_of_errors_belong_to_the_group_around_them() -> None:
    with Job("j") as job:
        with Task("t"):
            Action("work")
            Action("mend", _whenerror=True)
            Action("more work")
        Action("tell", _whenerror=True)
    pipeline = job.to_pipeline()
    assert edges(pipeline) == {("t/Action1", "t/Action3")}
    inner, outer = pipeline.groups
    assert (inner.title, inner.members) == ("t", ("t/Action1", "t/Action3"))
    assert (outer.title, outer.members) == ("j", ("t/Action1", "t/Action3"))
    assert [one.data for one in inner.hooks["failure"]] == [{"_inputs": {"input": "mend"}}]
    assert [one.data for one in outer.hooks["failure"]] == [{"_inputs": {"input": "tell"}}]


def test_an_instance_comes_after_the_task_that_it_stands_for() -> None:
    with Job("j", parallel=True) as job:
        with Task("late"):
            Instance("early")
            Action("b")
        with Task("early", parallel=True):
            Action("a1")
            Action("a2")
    assert edges(job.to_pipeline()) == {
        ("late/Instance of early", "late/Action1"),
        ("early/Action1", "early ends"),
        ("early/Action2", "early ends"),
        ("early ends", "late/Instance of early"),
    }


def test_an_instance_of_a_task_without_work_comes_after_what_comes_before_that() -> None:
    with Job("j", parallel=True) as job:
        with Task("chain"):
            Action("a")
            Task("nothing")
        with Task("late"):
            Instance("nothing")
            Action("b")
    assert ("chain/Action1", "chain/nothing ends") in edges(job.to_pipeline())
    assert ("chain/nothing ends", "late/Instance of nothing") in edges(job.to_pipeline())


@pytest.mark.parametrize(
    ("title", "problem"),
    [
        ("erly", r"Job\.children\[1\]\.Instance: unknown task 'erly'; did you mean 'early'\?"),
        ("twice", r"Job\.children\[1\]\.Instance: 2 tasks are called 'twice': which one is meant\?"),
        ("outer", r"\('outer'\): an Instance waits for a task that waits for it"),
    ],
)
def test_an_instance_that_stands_for_nothing_is_refused(title: str, problem: str) -> None:
    with Job("j", parallel=True) as job:
        Task("early")
        if title == "outer":
            with Task("outer"):
                Instance(title)
                Action("x")
        else:
            Instance(title)
        Task("twice")
        Task("twice")
    with pytest.raises(DefinitionError, match=problem):
        job.to_pipeline()


def test_five_thousand_actions_compile_in_less_than_a_second() -> None:
    action = {"Action": {"_role": "shell", "cmd": "echo hello"}}
    tasks = [{"Task": {"title": f"t{n}", "parallel": n % 2 == 0, "children": [action] * 50}} for n in range(100)]
    text = json.dumps({"Job": {"title": "big", "children": tasks}})
    spent = []
    for _ in range(3):
        start = time.process_time()
        packed = loads(text).to_pipeline().definition()
        spent.append(time.process_time() - start)
    definition = unpack_definition(packed)
    assert sum(node.kind == "job" for node in definition.nodes) == 5000
    assert len(definition.edges) < 3 * 5000
    assert min(spent) < 1


def test_tasks_that_a_command_has_written_become_a_graft() -> None:
    trees: list[Any] = [
        {"Task": {"title": "n", "children": [{"Action": {"input": "x"}}, {"Action": {"input": "y"}}]}},
        {"Task": {"title": "m", "cmds": [{"Action": {"argv": ["a"]}}]}},
    ]
    graft = graft_of(trees, name="t/Action1", before="t/Action1 ends", result=3)
    assert [job.name for job in graft.jobs] == ["t/Action1/n/Action1", "t/Action1/n/Action2", "t/Action1/m/Action1"]
    assert set(graft.edges) == {
        ("t/Action1/n/Action1", "t/Action1/n/Action2"),
        ("t/Action1/n/Action2", "t/Action1 ends"),
        ("t/Action1/m/Action1", "t/Action1 ends"),
    }
    assert graft.result == 3


def test_an_action_that_expands_is_followed_by_a_gate_that_it_is_told() -> None:
    job = Job("j", cmds=[{"Action": {"argv": ["a"], "expand": {}}}, {"Action": {"argv": ["b"]}}])
    pipeline = job.to_pipeline()
    assert edges(pipeline) == {("Action1", "Action1 ends"), ("Action1 ends", "Action2")}
    assert pipeline.jobs[0].data["before"] == "Action1 ends"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"argv": ["a", "\ud800"]}, r"Job.children\[0\].Action: argv\[1\] must be a text that can be written as UTF-8"),
        ({"argv": ["a"], "_env": {"A": "\0"}}, r"Job.children\[0\].Action: _env must be a text without NUL"),
        ({"argv": ["a"], "_env": {"A=B": "c"}}, r"Job.children\[0\].Action: _env must be .* without ="),
        ({"argv": ["a"], "_cwd": "a\0"}, r"Job.children\[0\].Action: _cwd must be a text without NUL"),
        ({"_retry": {"tries": 2, "on": ["\ud800"]}}, "can be written as UTF-8"),
    ],
)
def test_what_no_program_can_be_given_is_refused_with_its_path(fields: dict[str, Any], told: str) -> None:
    with Job("j") as job:
        Action(**fields)
    with pytest.raises(DefinitionError, match=told):
        job.to_pipeline().definition()
