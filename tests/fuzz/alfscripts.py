"""Alfred scripts, right and wrong: `python tests/fuzz/alfscripts.py [COUNT] [SEED]` reads 100,000 of them by default.

A script is grown from the grammar with words that hurt, or is a real one with parts cut, doubled, swapped and bent.
Whatever it is, reading it gives a tree or an `AlfscriptError` with a place in it, soon; a tree is JSON, compiles to a
pipeline or is refused as a user's fault, and is the same again when it is written and read.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter

from headrace.alfscript import AlfscriptError, dumps, loads
from headrace.pipeline.errors import UserError
from headrace.pipeline.styles.alfexpand import expanded
from headrace.pipeline.styles.alfgrammar import KEPT, OPERATORS, READ

PATIENCE = 60.0
"""Seconds that one script may take: bounds hold, and this box is busy."""
REAL = (
    """##AlfredToDo 3.0
set AlfJobPause 1
Job -title {Film (take 2)} -serialsubtasks 1 -comment {#made} -dirmaps {{{/a} {/b} NFS}} -envkey {setenv A=B}
    -init { Assign exe {/bin/sh} ; Assign show "s x" } -service {Linux && !Slow} -tags {a b} -maxactive 4 -subtasks {
    # first
    Task {Prepare $show} -id {i1} -cmds { RemoteCmd {$exe -c "echo \\"hi\\""} -retryrc {1 2} -maxrunsecs 60 }
    Iterate f -from 1 -to 3 -by 1 -template {
        Task "Frame [format %03d $f]" -subtasks { Task {Tex.${f}} -cmds { Cmd {tex %D(/a/$f) {a b}} } } -cmds {
            RemoteCmd -service {render,@.mem > 2} {prman -p $f} -tags {prman}
        } -cleanup { Cmd {rm -rf /tmp/x} }
    }
    Task -title {Join} -subtasks { Instance {Frame 002} } -cmds { Cmd {sh list} -expand 1 } -chaser {sho $f}
} -postscript { Cmd {mail} -when error } -whendone {touch done} -priority 1.5 -after {6 23 13:45}
""",
    """Job -title {} -subtasks {
    Task a -subtasks { Instance b } ; Task b -cmds { Cmd {find . -exec rm \\{\\} ;} }
    Task {c \\{ d} -serialsubtasks 1 -subtasks { Task "e\\tf" ; Task {c \\{ e} ; Instance {c \\{ e} }
}""",
)
WORDS = (
    *(
        "a",
        "x y",
        "",
        "$f",
        "${f}",
        "$HOME",
        "[exec x]",
        "[format %04d $f]",
        "\\{",
        "\\",
        '"',
        "{",
        "}",
        "{}",
        "{{a} b}",
    ),
    *("-5", "0", "1", "2", "99999999999", "1e9", "1.5", "-title", "Task", "Job", "#", ";", "\n", "\r\n", "\t", "\0"),
    *(
        "é",
        "\ud800",
        "\u2028",
        "\x1f",
        "\ufeff",
        "%D(/a)",
        "a && b",
        "!(a",
        "@.mem > 2",
        "13:45",
        "2 30 1:00",
        "setenv A=B",
    ),
    *("A" * 300, "{" * 50, "}" * 50, "\\x00", "\\ud800", "{a {b c} d}", "0123456789abcdef" * 2),
)
OPTIONS = sorted(
    {*KEPT, *(name for names in READ.values() for name in names), "nonsense", "children", "argv", "parallel"}
)
BLOCKS = {"subtasks": "tasks", "template": "tasks", "cmds": "commands", "cleanup": "commands", "postscript": "commands"}


FITTING = {
    "service": "Linux || Mac", "atleast": "2", "serialsubtasks": "1", "tags": "a b", "maxactive": "3", "priority": "7",
    "pbias": "-1", "after": "13:45", "afterjids": "", "paused": "0", "pause": "1", "envkey": "setenv A=B", "from": "1",
    "to": "3", "by": "2", "dirmaps": "{/a /b NFS}", "spoolcwd": "/tmp", "retryrc": "1 2", "minrunsecs": "0",
    "maxrunsecs": "60", "expand": "1", "when": "error", "init": "Assign x {$x y}", "whendone": "touch it",
}  # fmt: skip
"""Values that options may have: most are to be read."""


class Scripts:
    """Scripts of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> str:
        text = self._random.choice(REAL) if self._random.random() < 0.5 else self._grown()
        for _ in range(self._random.choice((0, 1, 1, 2, 5))):
            text = self._bent(text)
        return text

    def printed(self) -> str:
        """What a command with -expand could print."""
        text = " ".join(self._expression("tasks", 2) for _ in range(self._random.randrange(4)))
        return self._bent(text) if self._random.random() < 0.5 else text

    # From the grammar -----------------------------------------------------------------------------------------------

    def _grown(self) -> str:
        return "Job " + self._options("Job", 0)

    def _options(self, operator: str, depth: int) -> str:
        names = sorted(READ[operator])
        if not names:
            return ""
        chosen = {self._random.choice(names if self._random.random() < 0.9 else OPTIONS) for _ in range(3)}
        if operator in ("Job", "Task") and depth < 4:
            chosen |= {self._random.choice(("subtasks", "cmds"))}
        if operator == "Iterate":
            chosen |= {"from", "to", "template"}
        return " ".join(f"-{name} {self._value(name, depth)}" for name in sorted(chosen))

    def _value(self, name: str, depth: int) -> str:
        place = BLOCKS.get(name)
        if place is None and self._random.random() < 0.9:
            return f"{{{FITTING.get(name, 'any text $f')}}}"
        if place is None or depth > 5 or self._random.random() < 0.02:
            return self._word(self._random.choice(WORDS))
        return "{ " + " ".join(self._expression(place, depth + 1) for _ in range(self._random.randrange(4))) + " }"

    def _expression(self, place: str, depth: int) -> str:
        tasks = ("Task", "Task", "Task", "Task", "Task", "Task", "Instance", "Iterate")
        operator = self._random.choice(tasks if place == "tasks" else ("Cmd", "Cmd", "RemoteCmd", "Iterate"))
        end = self._random.choice((";", "\n", "\n# why\n", " "))
        first = f"{{{self._random.choice('abcdef')} $f}}" if operator != "Iterate" else self._random.choice("fg")
        if self._random.random() < 0.05:
            first = self._word(self._random.choice(WORDS))
        return f"{operator} {first} {self._options(operator, depth)}{end}"

    def _word(self, text: str) -> str:
        form = self._random.random()
        return f"{{{text}}}" if form < 0.6 else f'"{text}"' if form < 0.8 else text

    # From others ----------------------------------------------------------------------------------------------------

    def _bent(self, text: str) -> str:
        pick = self._random
        at, to = sorted((pick.randrange(len(text) + 1), pick.randrange(len(text) + 1)))
        to = min(to, at + pick.choice((1, 3, 20, 500)))
        part = text[at:to]
        match pick.randrange(6):
            case 0:
                return text[:at] + text[to:]
            case 1:
                return text[:to] + part * pick.choice((1, 2, 30)) + text[to:]
            case 2:
                return text[:at] + pick.choice(WORDS) + text[at:]
            case 3:
                return text[:at] + pick.choice(sorted(OPERATORS)) + " " + text[at:]
            case 4:
                return text[:at] + "".join(pick.sample(part, len(part))) + text[to:]
            case _:
                return text[:at]


def check(text: str) -> str:
    """Read a script; what became of it. Raises for whatever must not be."""
    began = time.monotonic()
    try:
        tree = loads(text)
    except AlfscriptError as error:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert 1 <= error.line <= len(lines), (error.line, len(lines))
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1, (error.line, error.column)
        outcome = "refused"
    else:
        outcome = "read"
        assert json.loads(json.dumps(tree)) == tree
        again = loads(dumps(tree))
        assert _timeless(again) == _timeless(tree), dumps(tree)
        try:
            tree.to_pipeline().definition()
        except UserError:
            outcome = "read, but no pipeline"
    took = time.monotonic() - began
    assert took < PATIENCE, f"it took {took:.1f} s"
    return outcome


def check_printed(text: str) -> str:
    """The same for what a command has printed."""
    given = {"expand": {"service": "a || b", "tags": ["t"], "env": {"A": "b"}}, "before": "x ends", "dirmaps": []}
    try:
        graft = expanded(text, given, "x")
    except AlfscriptError:
        return "refused"
    graft.definition()
    return "grafted"


def _timeless(tree: object) -> object:
    """Of a time the year is not written."""
    if isinstance(tree, dict):
        return {key: str(value)[5:16] if key == "_not_before" else _timeless(value) for key, value in tree.items()}
    return [_timeless(one) for one in tree] if isinstance(tree, list) else tree


def main(count: int = 100_000, seed: int = 1) -> None:
    scripts, outcomes = Scripts(seed), Counter[str]()
    began = time.monotonic()
    for number in range(1, count + 1):
        text = scripts.next()
        try:
            outcomes[check(text)] += 1
            text = scripts.printed()
            outcomes[check_printed(text)] += 1
        except BaseException:
            print(f"script {number} of seed {seed}:\n{text!r}", file=sys.stderr)
            raise
        if not number % 10_000 or number == count:
            print(f"{number} scripts in {time.monotonic() - began:.0f} s: {dict(outcomes)}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
