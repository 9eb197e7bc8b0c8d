"""Words and expressions of Alfred scripts: what they mean, and what is said against those that mean nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from headrace.alfscript import AlfscriptError, load, loads
from headrace.pipeline.errors import UserError

SCRIPT = """
Job
    -title {Convert a Youtube video into some videos and audios}
    -serialsubtasks 1
    -subtasks {
        Task {Preparing a source video}
            -cmds {
                Cmd {youtube-dl https://www.youtube.com/watch?v=BI23U7U2aUY -o storytelling.mp4}
            }
        Task {Transcoding}
            -subtasks {
                Task {Transcoding to profile #0}
                    -cmds {
                        Cmd {ffmpeg -loglevel fatal -y -i storytelling.mp4 -c:v libx264 -b:v 128k -c:a copy -f mp4 output_0.mp4}
                    }
                Task {Transcoding to profile #1}
                    -cmds {
                        Cmd {ffmpeg -loglevel fatal -y -i storytelling.mp4 -c:v libx264 -b:v 250k -c:a copy -f mp4 output_0.mp4}
                    }
                Task {Transcoding to profile #2, audio only}
                    -cmds {
                        Cmd {ffmpeg -loglevel fatal -y -i storytelling.mp4 -vn -c:a libfdk_aac -b:a 96k output_2.mp4}
                    }
            }
    }
"""  # noqa: E501  as it was printed


def job(text: str) -> dict[str, Any]:
    inside: dict[str, Any] = loads(text)["Job"]
    return inside


def tasks(text: str) -> list[dict[str, Any]]:
    """The tasks of a job with these subtasks."""
    return [task["Task"] for task in job(f"Job -subtasks {{\n{text}\n}}")["children"]]


def argv(expression: str, before: str = "") -> list[str]:
    """What a launch expression is split into."""
    given: list[str] = job(f"Job -init {{{before}}} -cmds {{ Cmd {expression} }}")["cmds"][0]["Action"]["argv"]
    return given


def refused(text: str) -> AlfscriptError:
    with pytest.raises(AlfscriptError) as caught:
        loads(text)
    return caught.value


# Whole scripts ------------------------------------------------------------------------------------------------------


def test_the_script_that_every_user_knows_is_read_as_printed() -> None:
    tree = loads(SCRIPT)
    assert tree.warnings == ()
    assert tree.title == "Convert a Youtube video into some videos and audios"
    assert tree.parallel is False
    prepare, transcode = (task["Task"] for task in tree.children)
    assert prepare["cmds"][0]["Action"]["argv"] == [
        *("youtube-dl", "https://www.youtube.com/watch?v=BI23U7U2aUY", "-o", "storytelling.mp4")
    ]
    assert transcode["parallel"] is True
    assert [task["Task"]["title"] for task in transcode["children"]] == [
        "Transcoding to profile #0",
        "Transcoding to profile #1",
        "Transcoding to profile #2, audio only",
    ]
    assert transcode["children"][2]["Task"]["cmds"][0]["Action"]["argv"][-1] == "output_2.mp4"


def test_a_tree_is_json_and_the_same_however_often_it_is_read() -> None:
    tree = loads(SCRIPT)
    assert json.loads(json.dumps(tree)) == tree == loads(SCRIPT)


def test_siblings_run_in_parallel_unless_their_parent_says_otherwise() -> None:
    outer = job("Job -serialsubtasks 1 -subtasks { Task a -subtasks { Task b ; Task c } }")
    assert outer["parallel"] is False
    assert outer["children"][0]["Task"]["parallel"] is True


def test_lines_may_end_in_any_way_and_begin_with_a_byte_order_mark() -> None:
    unix = "##AlfredToDo 3.0\nJob -title {a\nb} -subtasks {\n# why\nTask {x}\n}\n"
    assert loads(unix.replace("\n", "\r\n")) == loads(unix.replace("\n", "\r")) == loads("\ufeff" + unix) == loads(unix)
    assert loads(unix.encode("utf-8-sig")) == loads(unix)


def test_a_file_is_read_and_named_in_complaints(tmp_path: Path) -> None:
    file = tmp_path / "film.alf"
    file.write_text("Job -title {Größe} -subtasks {}", encoding="utf-8")
    assert load(file).title == load(str(file)).title == "Größe"
    file.write_text("Job -title {x}\nJob")
    with pytest.raises(AlfscriptError, match=re.escape(f"{file}:2:1: a script has one Job")):
        load(file)
    file.write_bytes(b"Job\n-title {\xff}")
    with pytest.raises(AlfscriptError, match="2:9: this is not UTF-8"):
        load(file)


def test_options_and_their_values_may_stand_on_any_line_and_in_any_order() -> None:
    one = tasks("Task -cmds {\n RemoteCmd -service {X} {render a.rib}\n}\n\n   -title {T}")[0]
    assert (one["title"], one["cmds"][0]["Action"]["argv"]) == ("T", ["render", "a.rib"])
    assert tasks("Task {T} \\\n -comment \\\n {c}")[0]["comment"] == "c"


def test_comments_stand_where_an_expression_could_begin_and_nowhere_else() -> None:
    read = tasks(
        """# a {comment} with braces
        ;# after a semicolon
        Task {a}
        # Task {no}
          -comment {#text} -cmds {
            # another, to be continued \\
              on the next line
            Cmd {echo # is an argument}
        }
        Task b#c"""
    )
    assert [task["title"] for task in read] == ["a", "b#c"]
    assert read[0]["comment"] == "#text"
    assert [action["Action"]["argv"] for action in read[0]["cmds"]] == [["echo", "#", "is", "an", "argument"]]


def test_a_semicolon_ends_an_expression_but_not_within_a_word() -> None:
    assert [task["title"] for task in tasks('Task a;Task "b;c"; ;Task {d;e}')] == ["a", "b;c", "d;e"]


def test_every_option_takes_one_word_whatever_it_looks_like() -> None:
    read = job("Job -priority -5 -comment -title -title {x} -cmds {} -metadata Task")
    assert (read["_priority"], read["comment"], read["title"], read["metadata"]) == (-5, "-title", "x", "Task")
    assert read["cmds"] == []


def test_set_pauses_the_job_and_does_nothing_else() -> None:
    assert job("set AlfJobPause 1\nJob")["_paused"] is True
    assert "_paused" not in job("set AlfJobPause 0; Job -paused 0")
    assert job("Job -pause {1}")["_paused"] is True
    assert "not executed" in refused("set x 1\nJob").what


# Words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("plain", "plain"),
        ("{two words}", "two words"),
        ("{a {b} c}", "a {b} c"),
        (r"{a \{ b}", r"a \{ b"),
        ("{}", ""),
        ('""', ""),
        ('"say \\"hi\\""', 'say "hi"'),
        (r'"\{ \} \\ \$x \[exec\]"', r"{ } \ $x [exec]"),
        (r'"tab\tnew\nline"', "tab\tnew\nline"),
        (r'"\x41\u00e9\101"', "AéA"),
        ('{with "quotes" in}', 'with "quotes" in'),
        ("{[exec rm -rf /]}", "[exec rm -rf /]"),
        (r"bare\ blank", "bare blank"),
        ("{line one \\\n     line two}", "line one  line two"),
        ("{'single'}", "'single'"),
    ],
)
def test_a_word_says_what_stands_in_it(written: str, title: str) -> None:
    assert tasks(f"Task {written}")[0]["title"] == title


@pytest.mark.parametrize(
    ("expression", "arguments"),
    [
        ("{echo a  b}", ["echo", "a", "b"]),
        ("{echo 'a b'}", ["echo", "'a", "b'"]),
        ('{echo "a b" {c d}}', ["echo", "a b", "c d"]),
        ("{sh -c {a | b; c > d}}", ["sh", "-c", "a | b; c > d"]),
        ("{{my prog} {arg one} -x}", ["my prog", "arg one", "-x"]),
        (r"{find . -exec rm \{\} ;}", ["find", ".", "-exec", "rm", "{}", ";"]),
        (r"{grep {a\{2\}} f}", ["grep", r"a\{2\}", "f"]),
        ("{awk {{print $1}}}", ["awk", "{print $1}"]),
        (r"{echo a\ b \"c}", ["echo", "a b", '"c']),
        ('{echo {} ""}', ["echo", "", ""]),
        ("{echo *.rib $HOME [a]}", ["echo", "*.rib", "$HOME", "[a]"]),
        ('"echo {a b}"', ["echo", "a b"]),
        ("date", ["date"]),
        ("{echo\n  a \\\n  b}", ["echo", "a", "b"]),
        ('{say it"s}', ["say", 'it"s']),
    ],
)
def test_a_launch_expression_is_a_list_of_arguments_without_a_shell(expression: str, arguments: list[str]) -> None:
    assert argv(expression) == arguments


# Variables ----------------------------------------------------------------------------------------------------------


def test_assigned_variables_are_put_into_every_kind_of_word() -> None:
    read = job(
        "Job -title {${show}_$shot.$x} -subtasks { Task $shot -cmds { Cmd {$sh -c 'x' $show} } }"
        " -init { Assign sh {/bin/sh} ; Assign show S\n Assign shot ${show}-01 }"
    )
    assert read["title"] == "S_S-01.$x"
    task = read["children"][0]["Task"]
    assert (task["title"], task["cmds"][0]["Action"]["argv"]) == ("S-01", ["/bin/sh", "-c", "'x'", "S"])


def test_a_variable_with_blanks_is_several_arguments_unless_it_is_quoted() -> None:
    assert argv('{render $flags "$flags" {$flags}}', "Assign flags {-a -b}") == ["render", "-a", "-b", "-a -b", "-a -b"]


def test_what_is_no_variable_of_the_script_is_left_for_a_shell_with_one_warning() -> None:
    tree = loads("Job -cmds { Cmd {sh -c {echo $HOME ${HOME} $1 $(date) $$ $}} ; Cmd {echo $HOME} }")
    assert tree.cmds[0].argv == ["sh", "-c", "echo $HOME ${HOME} $1 $(date) $$ $"]
    assert tree.warnings == ("line 1, column 30: $HOME is no variable of this script: it is left as it is",)


def test_a_value_is_not_read_again_for_variables() -> None:
    assert argv("{echo $b}", "Assign a 1; Assign b {\\$a}") == ["echo", "$a"]


# Iterate ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "numbers"),
    [
        ("-from 1 -to 3", [1, 2, 3]),
        ("-from 1 -to 6 -by 2", [1, 3, 5]),
        ("-from 3 -to 1 -by -1", [3, 2, 1]),
        ("-from 3 -to 1", []),
        ("-from -1 -to 1", [-1, 0, 1]),
        ("-from {5} -to {5} -by {7}", [5]),
    ],
)
def test_iterate_makes_its_template_once_per_number(bounds: str, numbers: list[int]) -> None:
    read = tasks(f"Iterate f {bounds} -template {{ Task {{frame.$f}} -cmds {{ Cmd {{r ${{f}}x}} }} }}")
    assert [task["title"] for task in read] == [f"frame.{number}" for number in numbers]
    assert [task["cmds"][0]["Action"]["argv"] for task in read] == [["r", f"{number}x"] for number in numbers]


def test_iterates_stand_in_each_other_and_among_commands() -> None:
    read = tasks("Iterate a -from 1 -to 2 -template { Iterate b -from 1 -to 2 -template { Task {$a.$b} } }")
    assert [task["title"] for task in read] == ["1.1", "1.2", "2.1", "2.2"]
    read = tasks("Task t -cmds { Iterate i -from 1 -to 2 -template { Cmd {echo $i} } Cmd {echo end} }")
    assert [action["Action"]["argv"][1] for action in read[0]["cmds"]] == ["1", "2", "end"]


def test_numbers_are_formatted_within_iterate_and_nothing_else_is_executed() -> None:
    read = tasks('Iterate f -from 9 -to 10 -template { Task "f[format %04d $f]" -cmds { Cmd {r [format %3d ${f}]} } }')
    assert [task["title"] for task in read] == ["f0009", "f0010"]
    assert read[0]["cmds"][0]["Action"]["argv"] == ["r", "9"]
    assert "format is understood" in refused('Job -title "[format %04d $f]"').what


def test_the_subtasks_of_an_iterate_run_once_before_each_of_its_tasks() -> None:
    read = job("Job -subtasks { Iterate f -from 1 -to 2 -subtasks { Task prepare } -template { Task {f$f} } }")
    assert [task["Task"]["title"] for task in read["children"]] == ["prepare", "f1", "f2"]
    assert read["children"][2]["Task"]["children"] == [{"Instance": {"title": "prepare"}}]


# Instance -----------------------------------------------------------------------------------------------------------


def test_an_instance_may_point_forward_and_needs_the_exact_title() -> None:
    read = job("Job -subtasks { Task a -subtasks { Instance {b  c} } ; Task {b  c} }")
    assert read["children"][0]["Task"]["children"] == [{"Instance": {"title": "b  c"}}]
    complaint = refused("Job -subtasks {\n Task a -subtasks { Instance {b c} } ; Task {b  c} }")
    assert (complaint.line, complaint.column) == (2, 21)
    assert "there is no task 'b c'; did you mean 'b  c'?" in str(complaint)


def test_an_instance_of_a_title_that_two_tasks_have_is_refused() -> None:
    complaint = refused("Job -subtasks {\nTask a\nTask a\nTask b -subtasks { Instance a }\n}")
    assert complaint.line == 4
    assert "2 tasks are called 'a' (lines 2, 3)" in complaint.what


@pytest.mark.parametrize(
    "script",
    [
        "Task a -subtasks { Instance a }",
        "Task a -subtasks { Instance b } ; Task b -subtasks { Instance a }",
        "Task a -subtasks { Task b -subtasks { Instance a } }",
        "Task o -serialsubtasks 1 -subtasks { Instance b ; Task b }",
        "Task o -serialsubtasks 1 -subtasks { Task a -subtasks { Instance b } Task b }",
    ],
)
def test_what_would_wait_for_itself_is_refused(script: str) -> None:
    assert "wait for themselves" in refused(f"Job -subtasks {{ {script} }}").what


def test_an_instance_of_what_comes_before_it_is_fine() -> None:
    loads("Job -serialsubtasks 1 -subtasks { Task a ; Instance a ; Task b -subtasks { Instance a } }")


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "line", "column", "what"),
    [
        ("", 1, 1, "there is no Job"),
        ("# only a comment\n", 1, 1, "there is no Job"),
        ("Job\nJob", 2, 1, "a script has one Job"),
        ("Task {x}", 1, 1, "a Task cannot stand at the top of a script, only Job"),
        ("Job -subtasks {\n  Task {a} -cmds {\n    Cmd {x\n  }\n}", 1, 15, "never closed"),
        ("Job -title {a}}", 1, 15, "closes nothing"),
        ("Job -title {a} }", 1, 16, "closes nothing"),
        ('Job -title "a\n', 1, 12, "quotation mark is never closed"),
        ('Job -title "a"b', 1, 15, "a blank is missing"),
        ('Job -cmds {\n Cmd {echo "a}\n}', 2, 12, "quotation mark is never closed"),
        ("Job -cmds {\n Cmd {echo {a}b}\n}", 2, 15, "a blank is missing"),
        ("Job -cmds { Cmd {} }", 1, 17, "no program to run"),
        ("Job -cmds { Cmd }", 1, 13, "this Cmd is not complete"),
        ("Job -cmds { Cmd {a} {b} }", 1, 21, "one too many for Cmd"),
        ("Job -cmds { Task {a} }", 1, 13, "a Task cannot stand among commands, only Cmd, RemoteCmd or Iterate"),
        ("Job -subtasks { Cmd {a} }", 1, 17, "a Cmd cannot stand among tasks"),
        ("Job -subtasks { Task }", 1, 17, "this Task has no title"),
        ("Job -subtasks { Task {a} -title {b} }", 1, 26, "two titles"),
        ("Job -title {a} -title {b}", 1, 16, "-title stands twice"),
        ("Job -title", 1, 5, "-title needs a value"),
        ("Job -title ; -subtasks {}", 1, 5, "-title needs a value"),
        ("Job ; -title {x}", 1, 7, "belongs to no operator"),
        ("Job {x}", 1, 5, "one too many for Job"),
        ("Jobs -title {x}", 1, 1, "did you mean Job?"),
        ("Job -subtasks { {Task a} }", 1, 17, "an operator has to stand here"),
        ('Job -title "[exec date]"', 1, 13, "is not executed"),
        ("Job -subtasks { Task [exec date] }", 1, 22, "is not executed"),
        ("proc f {} {}\nJob", 1, 1, "proc is a command of Tcl's, which is not executed"),
        ("Job -subtasks {\n  for {set i 0} {$i < 3} {incr i} { Task a }\n}", 2, 3, "for is a command of Tcl's"),
        ("source other.alf\nJob", 1, 1, "source is a command of Tcl's"),
        ("Job -serialsubtasks maybe", 1, 21, "-serialsubtasks must be 0 or 1"),
        ("Job -maxactive 1.5", 1, 16, "-maxactive must be a whole number from 0 on"),
        ("Job -priority high", 1, 15, "-priority must be a number"),
        ("Job -after {25:00}", 1, 12, "-after must be a time such as {13:45}"),
        ("Job -after {13 45 9:00}", 1, 12, "-after must be a time"),
        ("Job -cmds { Cmd {a} -retryrc {1 x} }", 1, 30, "-retryrc must be a list of exit codes"),
        ("Job -cmds { Cmd {a} -maxrunsecs -1 }", 1, 33, "-maxrunsecs must be a number from 0 on"),
        ("Job -cmds { Cmd {a} -service {a b} }", 1, 30, "this -service cannot be read: 'b' is not expected here"),
        ("Job -envkey {setenv X}", 1, 13, "-envkey must be setenv NAME=VALUE"),
        ("Job -dirmaps {{a}}", 1, 14, "-dirmaps must be at most"),
        ("Job -postscript { Cmd {a} -when never }", 1, 33, "-when must be done, error or always"),
        ("Job -subtasks { Iterate f -from 1 -to 2 }", 1, 17, "this Iterate has no -template"),
        ("Job -subtasks { Iterate f -to 2 -template {} }", 1, 17, "this Iterate has no -from"),
        ("Job -subtasks { Iterate f -from 1 -to x -template {} }", 1, 39, "-to must be a whole number"),
        ("Job -subtasks { Iterate f -from 1 -to {} -template {} }", 1, 39, "-to must be a whole number"),
        ("Job -subtasks { Iterate f -from 1 -to 2 -by 0 -template {} }", 1, 45, "-by 0"),
        ("Job -subtasks { Iterate {a b} -from 1 -to 2 -template {} }", 1, 25, "the name of a variable"),
        ("Job -init { Assign x }", 1, 13, "this Assign is not complete: Assign VARIABLE {VALUE}"),
        ("Job -init { Task x }", 1, 13, "a Task cannot stand under -init, only Assign"),
        ('Job -title "a\\x00b"', 1, 12, "no character that a program can be given"),
        ("Job -title {a\0b}", 1, 14, "no program can be given"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(script: str, line: int, column: int, what: str) -> None:
    complaint = refused(script)
    assert what in complaint.what
    assert (complaint.line, complaint.column) == (line, column)


def test_a_complaint_shows_the_text_and_belongs_to_the_users_faults() -> None:
    complaint = refused("Job -title {x}\n  -subtasks {\n    Task {a} -serialsubtasks perhaps -cmds {}\n}")
    assert str(complaint) == "line 3, column 30: -serialsubtasks must be 0 or 1, at `perhaps`"
    assert (complaint.line, complaint.column, complaint.text) == (3, 30, "perhaps")
    assert isinstance(complaint, UserError) and isinstance(complaint, ValueError)


def test_what_is_no_text_is_refused_too() -> None:
    with pytest.raises(AlfscriptError, match="an Alfred script is a text, not a int"):
        loads(3)  # type: ignore[arg-type]


# Limits -------------------------------------------------------------------------------------------------------------


def nested(depth: int, inner: str = "") -> str:
    return "Job -subtasks {" + "Task t -subtasks {" * depth + inner + "}" * depth + "}"


def test_a_hundred_blocks_deep_is_fine_and_more_is_refused() -> None:
    tree = loads(nested(99))
    assert tree.to_pipeline().title == ""
    assert "more than 100 deep" in refused(nested(100)).what
    assert "more than 100 deep" in refused(nested(50_000)).what


def test_braces_may_be_nested_to_any_depth_in_a_text() -> None:
    deep = "{" * 100_000 + "}" * 100_000
    assert job(f"Job -title {{{deep}}}")["title"] == deep


@pytest.mark.parametrize(
    "script",
    [
        "Iterate a -from 1 -to 999999999 -template { Task x }",
        "Iterate a -from 1 -to 1000 -template { Iterate b -from 1 -to 1000 -template { } }",
        "Iterate a -from 1 -to 60000 -template { Task x -cmds { Cmd {y} } }",
    ],
)
def test_a_short_script_cannot_stand_for_more_than_a_hundred_thousand_expressions(script: str) -> None:
    assert re.search("may have 100000|more than 100000", refused(f"Job -subtasks {{ {script} }}").what)


def test_variables_cannot_grow_beyond_bounds() -> None:
    assigns = "".join(f"Assign v{n + 1} {{{f'$v{n}' * 10}}}\n" for n in range(30))
    complaint = refused(f"Job -init {{ Assign v0 {{0123456789}}\n{assigns} }}")
    assert "more than 1048576 characters" in complaint.what
    title = "$v" * 100
    frames = f"Iterate i -from 1 -to 1000 -template {{ Task {title} }}"
    script = f"Job -init {{ Assign v {{{'x' * 10_000}}} }} -subtasks {{ {frames} }}"
    assert "more than 67108864 characters" in refused(script).what


def test_a_script_has_a_size() -> None:
    assert "may have 16777216" in refused("#" * (16 * 1024 * 1024 + 1)).what
