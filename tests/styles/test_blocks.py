"""Blocks: what can be written with `with`, and what is left of it when something goes wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from typing import Any

import pytest

from headrace.blocks import Action, Instance, Job, Task
from headrace.pipeline.errors import DefinitionError


def test_every_block_is_a_dict_with_its_kind_as_the_one_key() -> None:
    with Job("Film", owner="me") as job:
        with Task("Scenes", parallel=True):
            Action("text")
        Action(_role="encode", msg="a", _whenerror=True)
    assert job == {
        "Job": {
            "title": "Film",
            "owner": "me",
            "children": [
                {
                    "Task": {
                        "title": "Scenes",
                        "parallel": True,
                        "children": [{"Action": {"_role": None, "_whenerror": False, "input": "text"}}],
                    }
                },
                {"Action": {"_role": "encode", "_whenerror": True, "msg": "a"}},
            ],
        }
    }
    assert isinstance(job, dict)
    assert json.loads(json.dumps(job)) == job


def test_keys_are_attributes() -> None:
    job = Job(title="Film")
    assert job.title == "Film"
    job.parallel = True
    job.note = "x"
    assert (job["Job"]["parallel"], job.parallel, job["Job"]["note"]) == (True, True, "x")
    del job.note
    with pytest.raises(AttributeError, match=r"Job\(parallel=True, title='Film'\) has no 'note'"):
        job.note  # noqa: B018
    with pytest.raises(AttributeError):
        del job.note
    assert Action(title="t", name="n", input=3).title == "t"


def test_children_of_a_group_are_serial_unless_it_says_otherwise() -> None:
    assert Task("t").parallel is False
    assert Task("t", parallel=True).parallel is True
    assert Task("t", serialsubtasks=True).parallel is False
    assert Task("t", serialsubtasks=False).parallel is True


def test_a_block_is_shown_with_its_keys_and_without_its_children() -> None:
    with Task("Task #2", parallel=True) as task:
        action = Action(_role="echo", msg="a")
    assert str(task) == "Task(parallel=True, title='Task #2')"
    assert str(action) == "Action(_role='echo', _whenerror=False, msg='a')"
    assert repr(Job("j")) == "Job(title='j')"


def test_a_title_is_needed() -> None:
    with pytest.raises(TypeError, match="title"):
        Job()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="title"):
        Task()  # type: ignore[call-arg]


def test_the_text_of_an_action_is_its_input() -> None:
    assert Action("text") == Action(input="text")
    with pytest.raises(TypeError, match="the text is the input"):
        Action("one", input="two")


def test_what_is_given_as_a_child_inside_of_a_block_stands_there_only() -> None:
    with Job("j") as job:
        Task("t", cmds=[Action(argv=["a"])], children=[Action("x")])
    (task,) = job.children
    assert [one["Action"].get("argv") for one in task.cmds] == [["a"]]
    assert [one["Action"].get("input") for one in task.children] == ["x"]


def test_what_is_set_as_children_inside_of_a_block_stands_there_only() -> None:
    with Job("j") as job:
        task = Task("t")
        task.children = [Action("x")]
        task.cmds = (Action(argv=[one]) for one in "ab")
    assert job.children == [task]
    assert [one.input for one in task.children] == ["x"]
    assert [one.argv for one in task.cmds] == [["a"], ["b"]]


def test_children_may_come_from_an_iterator() -> None:
    with Job("j") as job:
        Task("t", children=map(Action, "ab"), cmds=(Action(argv=[one]) for one in "cd"))
    (task,) = job.children
    assert json.loads(json.dumps(task)) == {
        "Task": {
            "title": "t",
            "children": [{"Action": {"_role": None, "_whenerror": False, "input": one}} for one in "ab"],
            "cmds": [{"Action": {"_role": None, "_whenerror": False, "argv": [one]}} for one in "cd"],
        }
    }


def test_a_block_made_outside_of_any_other_stands_alone() -> None:
    task = Task("t")
    with Job("j") as job:
        pass
    assert task.children == []
    assert job.children == []


def test_a_block_can_be_opened_again() -> None:
    job = Job("j")
    with job:
        Action(1)
    with job:
        Action(2)
    assert [one.input for one in job.children] == [1, 2]


def test_an_exception_goes_on_and_leaves_nothing_half_built() -> None:
    job = Job("j")
    with pytest.raises(ZeroDivisionError), job, Task("t"):
        Action("before")
        raise ZeroDivisionError
    assert job.children == []
    with pytest.raises(DefinitionError, match="an exception has left its `with` block half-way"):
        job.to_pipeline()
    assert Task("alone").children == []
    with Job("next") as other:
        Action("x")
    assert len(other.children) == 1


def test_an_exception_that_is_caught_inside_takes_out_the_block_that_it_left() -> None:
    with Job("j") as job:
        Action("kept")
        try:
            with Task("half"):
                Action("lost")
                raise ValueError
        except ValueError:
            Action("instead")
    assert [one.input for one in job.children] == ["kept", "instead"]
    assert len(job.to_pipeline().jobs) == 2


def test_threads_do_not_see_each_others_blocks() -> None:
    jobs: dict[int, Job] = {}
    barrier = threading.Barrier(4)

    def build(number: int) -> None:
        with Job(f"job {number}") as job:
            barrier.wait(60)
            for part in range(20):
                with Task(f"{part}"):
                    barrier.wait(60)
                    Action(number=number)
        jobs[number] = job

    with Job("outside") as outside:
        threads = [threading.Thread(target=build, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outside.children == []
    assert sorted(jobs) == [0, 1, 2, 3]
    for number, job in jobs.items():
        assert [task.children[0].number for task in job.children] == [number] * 20


def test_coroutines_do_not_see_each_others_blocks() -> None:
    async def build(number: int) -> Job:
        with Job(f"job {number}") as job:
            for _ in range(5):
                with Task("t"):
                    await asyncio.sleep(0)
                    Action(number=number)
        return job

    async def several() -> list[Job]:
        return await asyncio.gather(*(build(number) for number in range(3)))

    for number, job in enumerate(asyncio.run(several())):
        assert [task.children[0].number for task in job.children] == [number] * 5


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda job: pickle.loads(pickle.dumps(job))])
def test_blocks_can_be_copied(copied: Any) -> None:
    with Job("j", parallel=True) as job, Task("t"):
        Action(x=[1])
        Instance("t")
    other = copied(job)
    assert other == job
    assert type(other) is Job
    assert type(other.children[0]) is Task


def test_a_class_of_ones_own_is_still_a_task() -> None:
    class Scene(Task):
        def __init__(self, number: int) -> None:
            super().__init__(f"Scene {number}")

    with Job("j") as job, Scene(7):
        Action("x")
    assert job.children == [
        {"Task": {"title": "Scene 7", "children": [{"Action": {"_role": None, "_whenerror": False, "input": "x"}}]}}
    ]
