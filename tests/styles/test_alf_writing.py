"""Trees as Alfred scripts: what is written reads as the same tree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.alfscript import dumps, loads
from headrace.blocks import Action, Job, Task
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.styles.alflists import listed, split

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12) | st.text(
    alphabet='ab {}\\"$[]#;\n\r\t-%', max_size=12
)
PROGRAM = st.lists(TEXT, min_size=1, max_size=4).filter(lambda argv: argv[0] != "")


def test_a_script_is_laid_out_for_people() -> None:
    tree = loads(
        "Job -title {Film} -serialsubtasks 1 -tags {a b} -subtasks {"
        " Task {One} -cmds { Cmd {echo 'a b' \\{} -service x }"
        ' ; Instance One } -cleanup { Cmd {rm "a b"} } -whendone {mail me}'
    )
    assert dumps(tree) == (
        "##AlfredToDo 3.0\n"
        "Job -title {Film}\n"
        "    -serialsubtasks 1\n"
        "    -tags {a b}\n"
        "    -cleanup {\n"
        "        RemoteCmd {rm {a b}}\n"
        "    }\n"
        "    -postscript {\n"
        "        RemoteCmd {mail me} -when done\n"
        "    }\n"
        "    -subtasks {\n"
        "        Task {One}\n"
        "            -cmds {\n"
        "                RemoteCmd {echo 'a b' \"\\{\"} -service {x}\n" + "            }\n"
        "        Instance {One}\n"
        "    }\n"
    )
    assert loads(dumps(tree)) == tree


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXT, PROGRAM, TEXT)
def test_any_texts_survive(title: str, argv: list[str], note: str) -> None:
    tree = Job.of(
        {
            "title": title,
            "parallel": True,
            "children": [
                Task.of(
                    {
                        "title": note,
                        "parallel": False,
                        "children": [],
                        "cmds": [Action.of({"_role": None, "_whenerror": False, "argv": argv, "msg": note})],
                    }
                )
            ],
            "cmds": [],
            "comment": note,
            "_on_error": "block",
            "_dialect": "alfred",
        }
    )
    assert loads(dumps(tree)) == tree


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TEXT, max_size=6))
def test_a_list_that_was_written_splits_into_its_elements(elements: list[str]) -> None:
    assert split(listed(elements)) == elements


def test_every_option_survives() -> None:
    run = "0123456789abcdef" * 2
    tree = loads(
        f"Job -title x -service {{a || b}} -tags {{t {{u v}}}} -atleast 3 -priority -2 -maxactive 5"
        f" -after {{6 23 13:45}} -afterjids {run} -paused 1 -envkey {{k {{setenv A=1 {{B=a b}}}}}} -spoolcwd /tmp"
        " -dirmaps {{/a /b NFS} {/c /d}}"
        " -metadata {any {thing}} -nonsense 1 -children z -cmds { Cmd {prog %D(/a/x)} -retryrc {1 -2} -maxrunsecs 2.5"
        " -minrunsecs 1 -expand 1 -envkey {setenv C=3} -tags w -atleast 2 -service {c && !d} -resumewhile r }"
        " -postscript { Cmd p -when error } -whenalways {q}"
        " -subtasks { Task t -service e -chaser {f g} -serialsubtasks 1 }"
    )
    again = loads(dumps(tree))
    assert again == tree
    assert again["Job"]["cmds"][0]["Action"]["dirmaps"] == [["/a", "/b", "NFS"], ["/c", "/d", ""]]


def test_blocks_with_commands_can_be_written_too() -> None:
    with Job("Blocks") as job, Task("t", parallel=True, cmds=[Action(argv=["echo", "a b"])]):
        pass
    read: dict[str, Any] = loads(dumps(json.loads(json.dumps(job))))["Job"]
    assert read["parallel"] is False
    assert read["children"][0]["Task"]["parallel"] is True
    assert read["children"][0]["Task"]["cmds"][0]["Action"]["argv"] == ["echo", "a b"]


@pytest.mark.parametrize(
    ("tree", "what"),
    [
        ({"Task": {"title": "t"}}, "only a whole tree"),
        (
            {"Job": {"title": "j", "children": [{"Action": {"input": "x"}}]}},
            r"Job.children\[0\]: an Action among tasks",
        ),
        ({"Job": {"title": "j", "cmds": [{"Action": {"_role": "encode"}}]}}, r"Job.cmds\[0\].Action: only a command"),
        ({"Job": {"title": "j", "cmds": [{"Action": {"argv": ["x"], "_cache": "content"}}]}}, "_cache has no form"),
        ({"Job": {"title": "j", "_key": "k"}}, "Job: _key has no form in an Alfred script"),
    ],
)
def test_what_has_no_form_there_is_refused(tree: dict[str, Any], what: str) -> None:
    with pytest.raises(DefinitionError, match=what):
        dumps(tree)
