"""Job files and job maps, right and wrong: real ones with parts of the tree bent, and texts with parts of them bent.

Whatever it is, reading gives something, or an error of the user's with words in it, soon. A job that was read is the
same again when it is written and read, and compiles or is refused.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from headrace import jobmap
from headrace.pipeline.errors import UserError
from headrace.pipeline.styles import jobfile

HURTING: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1 << 70, 9e999, "", "a", "\x00", "é" * 300, "$x", "{}", [], {}, [[]], {"": ""},
    ["a", "a"], [None], {"Task": {}}, {"Job": {"title": "t"}}, {"Instance": {"title": "t"}}, {"a": {"b": {"c": []}}},
    "all", "input", "function", "output", "spread", "words", "upper", "main", "../..", "a b", 99999999999, "1e999",
)  # fmt: skip
KEYS = (
    "title", "children", "cmds", "argv", "input", "parallel", "expand", "_role", "_retry", "_timeout", "_priority",
    "name", "type", "tasks", "workflow", "datasource", "source", "content", "namespace", "method", "consumes",
    "produces", "id", "init_args", "aggregate", "options", "Job", "Task", "Action", "Instance", "$schema", "", "a",
    "\x00", "description",
)  # fmt: skip
JOB = {
    "Job": {
        "title": "Film", "_priority": 3, "_retry": {"tries": 2}, "children": [
            {"Task": {"title": "Prepare", "parallel": False, "cmds": [{"Action": {"argv": ["sh", "-c", "true"]}}],
                      "children": [{"Action": {"input": "prepare", "_role": "shell"}}]}},
            {"Task": {"title": "Frames", "children": [{"Instance": {"title": "Prepare"}}, {"Action": {"input": 5}}]}},
        ],
    }
}  # fmt: skip
MAP = {
    "name": "shout", "id": "S1", "description": "loud", "options": {"priority": 3},
    "datasource": {"source": "direct", "content": {"text": "hello"}},
    "tasks": [
        {"name": "in", "type": "input"},
        {"name": "upper", "type": "function", "namespace": "words", "method": "upper", "consumes": "text",
         "produces": "string", "init_args": {"language": "en"}, "options": {"timeout": 60, "retry": {"tries": 2}}},
        {"name": "again", "type": "function", "namespace": "words", "method": "upper", "consumes": "string",
         "produces": "string", "init_args": {"language": "de"}, "aggregate": "all"},
        {"name": "out", "type": "output"},
    ],
    "workflow": [["in", "upper"], ["upper", "again"], ["again", "out"]],
}  # fmt: skip
TOML = """[Job]
title = "Film"
[[Job.children]]
[Job.children.Task]
title = "Prepare"
parallel = false
[[Job.children.Task.cmds]]
[Job.children.Task.cmds.Action]
argv = ["sh", "-c", "true"]
"""
BITS = (
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\",
    "\\u0000",
    "\\ud800",
    "\n",
    "[[",
    "]]",
    "=",
    "'''",
    "1e999",
    "NaN",
    "\x00",
)
DEEP = 2000
NAMESPACE = {
    "tasks.py": "def upper(init_args):\n    return lambda text: text.upper()\n",
    "upper.json": json.dumps(
        {
            "name": "upper",
            "consumes": ["string", "text", "list"],
            "produces": ["string"],
            "init_args": [{"name": "language", "type": "string", "required": True}],
        }
    ),
}
"""The files of the namespace `words`, which stands in the current folder."""


class Documents:
    """Of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def job(self) -> Any:
        """A document, or a text."""
        if self._random.random() < 0.15:
            return self._bent_text(TOML)
        return self._some(JOB)

    def map(self) -> Any:
        return self._some(MAP)

    def _some(self, good: dict[str, Any]) -> Any:
        if self._random.random() < 0.01:
            return self._nested()
        tree = copy.deepcopy(good)
        for _ in range(self._random.choice((0, 1, 1, 2, 3, 8))):
            self._bend(tree)
        return tree if self._random.random() < 0.6 else self._bent_text(json.dumps(tree))

    def _nested(self) -> str:
        opener, closer = self._random.choice((("[", "]"), ('{"Task":', "}"), ('{"a":', "}")))
        count = self._random.choice((100, DEEP))
        return opener * count + "1" + closer * self._random.choice((count, 0))

    def _bend(self, tree: Any) -> None:
        """Something somewhere below: replaced, gone, doubled, renamed, put elsewhere."""
        pick = self._random
        places = list(_places(tree))
        if not places:
            return
        inside, key = pick.choice(places)
        match pick.randrange(6):
            case 0 | 1:
                inside[key] = copy.deepcopy(pick.choice(HURTING))
            case 2:
                del inside[key]
            case 3 if isinstance(inside, list):
                inside.insert(key, copy.deepcopy(inside[key]))
            case 4 if isinstance(inside, dict):
                inside[pick.choice(KEYS)] = inside.pop(key)
            case _:
                other, at = pick.choice(places)
                inside[key] = copy.deepcopy(other[at]) if _still_there(other, at) else None

    def _bent_text(self, text: str) -> str:
        pick = self._random
        for _ in range(pick.choice((0, 1, 1, 2, 5))):
            at = pick.randrange(len(text) + 1)
            to = min(len(text), at + pick.choice((0, 1, 3, 50)))
            text = text[:at] + pick.choice((*BITS, "", text[at:to] * 2)) + text[to:]
        return text


def _places(tree: Any) -> Any:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(inner):
        yield tree, key
        yield from _places(value)


def _still_there(place: Any, key: Any) -> bool:
    return key in place if isinstance(place, dict) else key < len(place)


def check_job(given: Any) -> str:
    """Read it; what became of it. Raises for whatever must not be."""
    try:
        if isinstance(given, str):
            job = jobfile.loads_toml(given) if "[Job" in given[:20] else jobfile.loads(given)
        else:
            job = jobfile.from_document(given)
    except UserError as error:
        assert str(error)
        return "refused"
    text = jobfile.dumps(job)
    assert jobfile.dumps(jobfile.loads(text)) == text
    try:
        job.to_pipeline().definition()
    except UserError as error:
        assert str(error)
        return "read, but no pipeline"
    return "read"


def check_map(given: Any) -> str:
    try:
        document = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        return "no JSON"
    try:
        jobmap.load(document)
    except (UserError, jobmap.JobMapError) as error:
        assert str(error)
        return "refused"
    return "read"
