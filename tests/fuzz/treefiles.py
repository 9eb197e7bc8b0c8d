"""Job files and job maps, right and wrong: `python tests/fuzz/treefiles.py [COUNT] [SEED]`, 50,000 by default.

A good one is bent: values are replaced by such as hurt, moved, doubled and left out, or its text is cut and swapped.
Whatever it is then, reading it gives a pipeline or an error of its own style that says where, soon. Definitions and
sources of namespaces are bent too: what is wrong in them is a problem of the map.
"""

from __future__ import annotations

import copy
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headrace import jobmap
from headrace.blocks import dumps, loads
from headrace.jobmap import JobMapError
from headrace.pipeline.errors import DefinitionError, UserError
from headrace.pipeline.styles.files import read_file
from headrace.pipeline.styles.jobfile import loads_toml

PATIENCE = 60.0
"""Seconds that one file may take: bounds hold, and this box is busy."""
JOB: dict[str, Any] = {
    "Job": {
        "title": "Film",
        "parallel": True,
        "_role": "encode",
        "_deadline": 60,
        "_not_before": "2030-01-31T06:00:00+01:00",
        "_hooks": {"failure": [{"Action": {"input": "mail", "_role": "cmd"}}], "always": {"Action": {"argv": ["ls"]}}},
        "note": {"owner": "me"},
        "children": [
            {"Action": {"input": "prepare", "_role": None, "_whenerror": False, "_retry": 3}},
            {
                "Task": {
                    "title": "Scenes",
                    "parallel": True,
                    "_limits": ["disk"],
                    "_resources": {"gpu": 1},
                    "children": [
                        {"Action": {"_role": "encode", "source": "a.mov", "_name": "first", "_timeout": 5}},
                        {"Task": {"title": "Deep", "serialsubtasks": 1, "children": [{"Instance": {"title": "Cut"}}]}},
                        {"Action": {"input": "sorry", "_whenerror": True}},
                    ],
                }
            },
            {
                "Task": {
                    "title": "Cut",
                    "cmds": [{"Action": {"argv": ["cat", "x"], "_role": "a && !b", "_env": {"A": "b"}, "_cwd": "/"}}],
                }
            },
        ],
    }
}
TOML = """
[Job]
title = "Film"
_priority = 3

[[Job.children]]
Action = { input = "mkdir -p scenes", _role = "cmd" }

[[Job.children]]
[Job.children.Task]
title = "Scenes"
parallel = true

[[Job.children.Task.children]]
Action = { _role = "encode", source = "mill.mov" }
"""
MAP: dict[str, Any] = {
    "name": "words",
    "id": "ABC",
    "datasource": {"source": "direct", "content": {"text": "a b c"}},
    "options": {"priority": 2, "on_error": "block"},
    "tasks": [
        {"name": "in", "type": "input"},
        {
            "name": "split",
            "type": "function",
            "namespace": "fuzzed",
            "method": "split",
            "consumes": "string",
            "produces": "list[string]",
            "init_args": {"by": " "},
            "options": {"retry": {"tries": 2}, "timeout": 5},
        },
        {
            "name": "count",
            "type": "function",
            "namespace": "fuzzed",
            "method": "count",
            "consumes": "list[string]",
            "produces": "map",
            "init_args": {},
            "aggregate": {"level": 1, "size": 2},
        },
        {"name": "out", "type": "output", "description": "how many"},
    ],
    "workflow": [["in", "split"], ["split", "count"], ["count", "out"]],
}
TASKS = """
def split(init_args):
    by = init_args.get("by")

    async def run(data):
        return [{"text": one} for one in data["text"].split(by)]

    return run


def count(data):
    return {"count": len(data)}
"""
DEFINITIONS: dict[str, dict[str, Any]] = {
    "split": {
        "name": "split",
        "consumes": ["string"],
        "produces": ["list[string]"],
        "init_args": [{"name": "by", "type": "string", "required": False}],
        "returns": "list",
        "description": "Splits.",
    },
    "count": {"name": "count", "consumes": "list[string]", "produces": ["map"], "init_args": []},
}
HURTS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**63, -(2**70), 1e308, float("nan"), float("inf"), 0.5),
    *(
        "",
        " ",
        "Job",
        "Task",
        "hook:x",
        "a\0b",
        "\ud800",
        "é" * 50,
        "x" * 5000,
        "__proto__",
        "{}",
        "$x",
        "a && (",
        "\n",
    ),
    *([], {}, [[]], [None], {"": None}, {"Task": {}}, {"Action": None}, {"Job": {"title": ""}}, [["in", "out"]]),
    *(["in", "out"], {"title": "t", "children": []}, {"tries": -1}, {"by": "x", "size": 0}, "list[" * 99, "os:system"),
)
KEYS = (
    *(
        "title",
        "children",
        "cmds",
        "parallel",
        "serialsubtasks",
        "argv",
        "input",
        "expand",
        "_role",
        "_retry",
        "_hooks",
    ),
    *(
        "_whenerror",
        "_name",
        "_cache",
        "_env",
        "_on_error",
        "_after",
        "_dialect",
        "name",
        "type",
        "method",
        "aggregate",
    ),
    *("init_args", "namespace", "source", "content", "workflow", "tasks", "options", "_nonsense", "nonsense", ""),
)


class Bending:
    """Documents and texts of a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def document(self, good: Any) -> Any:
        bent = copy.deepcopy(good)
        for _ in range(self.random.choice((0, 1, 1, 2, 4))):
            bent = self._changed(bent)
        return bent

    def text(self, good: str) -> str:
        text = good
        for _ in range(self.random.choice((1, 1, 2, 5))):
            at, to = sorted(self.random.randrange(len(text) + 1) for _ in range(2))
            to = min(to, at + self.random.choice((1, 3, 30)))
            match self.random.randrange(5):
                case 0:
                    text = text[:at] + text[to:]
                case 1:
                    text = text[:to] + text[at:to] * self.random.choice((1, 20)) + text[to:]
                case 2:
                    text = (
                        text[:at]
                        + self.random.choice(('"', "{", "}", "[", "]", ",", ":", "\\", "\0", "\ud800", "="))
                        + text[at:]
                    )
                case 3:
                    text = text[:at] + str(self.random.choice(HURTS))[:200] + text[at:]
                case _:
                    text = text[:at]
        return text

    def _changed(self, document: Any) -> Any:
        """One place of it is another thing."""
        places = list(_places(document))
        holder, key = self.random.choice(places) if places else (None, None)
        if holder is None or self.random.random() < 0.02:
            return self._deep() if self.random.random() < 0.1 else copy.deepcopy(self.random.choice(HURTS))
        match self.random.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[self.random.choice(KEYS)] = holder[key]
            case 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case 3:
                other, place = self.random.choice(places)
                holder[key] = copy.deepcopy(other[place])
            case 4 if isinstance(holder, dict):
                holder[self.random.choice(KEYS)] = copy.deepcopy(self.random.choice(HURTS))
            case _:
                holder[key] = copy.deepcopy(self.random.choice(HURTS))
        return document

    def _deep(self) -> Any:
        """Nested as nobody would."""
        made: Any = []
        kind = self.random.randrange(3)
        for _ in range(self.random.choice((90, 110, 250))):
            made = [made] if kind == 0 else {"a": made} if kind == 1 else {"Task": {"title": "", "children": [made]}}
        return {"Job": {"title": "", "children": [made]}} if self.random.random() < 0.7 else made


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document, as (what holds it, its key there)."""
    left = [document]
    while left:
        holder = left.pop()
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, value in list(pairs):
            yield holder, key
            left.append(value)


# What must be ---------------------------------------------------------------------------------------------------------


def check_job_file(text: str, read: Callable[[str], Any] = loads) -> str:
    """Read a job file; what became of it. Raises for whatever must not be."""
    try:
        job = read(text)
    except DefinitionError as error:
        assert str(error)
        return "refused"
    assert isinstance(job.warnings, tuple)
    if read is loads:
        assert dumps(loads(json.dumps(job))) == dumps(job)
    try:
        job.to_pipeline().definition()
    except UserError as error:
        assert str(error)
        return "read, but no pipeline"
    return "read"


def check_map(document: Any) -> str:
    """Read a job map; what became of it."""
    try:
        jobmap.validate(document)
    except JobMapError as error:
        assert error.problems and all(str(problem) for problem in error.problems)
        return "refused"
    try:
        jobmap.load(document).definition()
    except UserError as error:
        assert str(error)
        return "read, but no pipeline"
    return "read"


def check_file(path: Path) -> str:
    """Read a file of whatever style its content tells; what became of it."""
    try:
        written = read_file(path)
        (written if hasattr(written, "definition") else written.to_pipeline()).definition()
    except UserError as error:
        assert str(error)
        return "refused"
    return "read"


class Namespaces:
    """A folder with the namespace of the map, right or bent. It has to be the current one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fuzzed"
        self.folder.mkdir(exist_ok=True)
        self.restore()

    def restore(self) -> None:
        (self.folder / "tasks.py").write_text(TASKS)
        for name, definition in DEFINITIONS.items():
            (self.folder / f"{name}.json").write_text(json.dumps(definition))

    def bend(self, bending: Bending) -> None:
        if bending.random.random() < 0.5:
            text = bending.text(TASKS)
            (self.folder / "tasks.py").write_text(text, errors="surrogatepass")
        name = bending.random.choice(sorted(DEFINITIONS))
        text = json.dumps(bending.document(DEFINITIONS[name]))
        (self.folder / f"{name}.json").write_text(text, errors="surrogatepass")


def one(bending: Bending, namespaces: Namespaces) -> Iterator[tuple[str, Any, Callable[[], str]]]:
    """What is tried in one round: its name, the thing itself, the trial."""
    job = json.dumps(bending.document(JOB))
    yield "job file", job, lambda: check_job_file(job)
    bent = bending.text(json.dumps(JOB, indent=1))
    yield "job file's text", bent, lambda: check_job_file(bent)
    toml = bending.text(TOML)
    yield "job file in TOML", toml, lambda: check_job_file(toml, loads_toml)
    document = bending.document(MAP)
    document = [document] if isinstance(document, str) else document  # a text would be the path of a file
    yield "job map", document, lambda: check_map(document)
    path = namespaces.folder.parent / bending.random.choice(("map.json", "map.txt", "map.alf", "map.toml"))
    text = bending.text(json.dumps(bending.random.choice((MAP, JOB))))
    path.write_text(text, errors="surrogatepass")
    yield "file", text, lambda: check_file(path)
    namespaces.bend(bending)
    yield "namespace", [file.read_bytes() for file in namespaces.folder.iterdir()], lambda: check_map(MAP)
    namespaces.restore()


def trials(bending: Bending, namespaces: Namespaces, count: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    warnings.simplefilter("ignore", SyntaxWarning)  # of sources that were bent
    for _ in range(count):
        for name, thing, trial in one(bending, namespaces):
            began = time.monotonic()
            try:
                outcomes[f"{name} {trial()}"] += 1
            except BaseException:
                print(f"{name}:\n{thing!r}", file=sys.stderr)
                raise
            took = time.monotonic() - began
            assert took < PATIENCE, f"{name} took {took:.1f} s:\n{thing!r}"
    return outcomes


def main(count: int = 50_000, seed: int = 1) -> None:
    import os

    began, outcomes = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        os.chdir(folder)
        namespaces = Namespaces(Path(folder))
        for number in range(0, count, 1000):
            rounds = min(1000, count - number)
            outcomes += trials(Bending(seed + number // 1000), namespaces, rounds)
            print(f"{number + rounds} rounds in {time.monotonic() - began:.0f} s: {dict(outcomes)}", flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
