"""The DOT text, exactly; and that graphviz reads from it the names that were meant."""

import html
import os
import re
import shutil

import pytest

from headrace.pipeline.drawing import svg
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.job import Job
from headrace.pipeline.pipeline import Pipeline


def test_nodes_and_edges_stand_in_order_of_first_appearance():
    pipeline = Pipeline({Job("A"): Job("B"), Job("C"): None})
    assert str(pipeline) == (
        'digraph graphname {\n    "A";\n    "B";\n    "C";\n\n    "A" -> "B";\n    "C" -> "(None)";\n}'
    )


def test_a_job_that_stands_in_many_edges_is_one_node():
    text = str(Pipeline({(Job("A"), Job("B")): [Job("C"), Job("D")]}))
    assert re.findall(r'^    "(\w)";$', text, re.MULTILINE) == ["A", "B", "C", "D"]
    assert re.findall(r'"(\w)" -> "(\w)";', text) == [("A", "C"), ("A", "D"), ("B", "C"), ("B", "D")]


def test_names_are_shown_not_workers():
    assert '"second" -> "(None)"' in str(Pipeline({Job("W", name="second"): None}))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("café ☕", '"café ☕"'),
        ('say "hi"', r'"say \"hi\""'),
        ("C:\\new", r'"C:\\new"'),
        ("two\nlines", r'"two\nlines"'),
        ("a\\", r'"a\\"'),
        ("R&D", '"R&D"'),
        ("&lt;", '"&amp;lt;"'),
        ("graph", '"graph"'),
        ("a -> b; }", '"a -> b; }"'),
    ],
)
def test_names_are_escaped(name, text):
    assert f"    {text};\n" in str(Pipeline({Job(name): None}))


@pytest.fixture
def graphviz():
    if not shutil.which("dot"):
        assert not os.environ.get("CI"), "graphviz has to be there in CI"
        pytest.skip("graphviz is not installed")


@pytest.mark.parametrize(
    "name",
    [
        "A",
        "café ☕",
        'say "hi"',
        '"',
        "C:\\new",
        "a\\",
        "\\N",
        '\\"',
        "R&D",
        "&lt;b&gt;",
        "&#65;",
        "<b>x</b>",
        "a->b;}",
    ],
)
def test_graphviz_draws_exactly_the_names(graphviz, name):
    drawn = svg(str(Pipeline({Job(name): Job("end")})))
    texts = [html.unescape(text) for text in re.findall(r"<text[^>]*>(.*?)</text>", drawn)]
    assert texts == [name, "end"]


def test_graphviz_draws_a_line_break_as_one(graphviz):
    drawn = svg(str(Pipeline({Job("two\nlines"): None})))
    assert re.findall(r"<text[^>]*>(.*?)</text>", drawn) == ["two", "lines", "(None)"]


def test_what_graphviz_cannot_read_is_an_error_with_its_words(graphviz):
    with pytest.raises(ConfigError, match="syntax error"):
        svg("digraph {")
