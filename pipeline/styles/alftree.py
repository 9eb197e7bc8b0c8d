"""From the expressions of an Alfred script to the block tree that they describe.

A Task becomes a Task: its subtasks are its `children`, which run all at once unless `-serialsubtasks 1` says otherwise,
and its commands stand under `cmds` and run after them, one after the other. A Cmd becomes an Action with `argv`, which
is tried once. Iterate is unrolled, Assign is put in. What an option means to the system stands under the name of the
system's option (`_role`, `_limits`, `_timeout`); every other option is kept under its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..requirement import all_of, requirement
from .alfgrammar import ALLOWED, FORMS, OPERATORS, OPTIONS, PLACES, Place
from .alfinstances import Step, Steps
from .alfparser import Expression, Parser
from .alfsource import MAX_COUNT, MAX_DEPTH, Source, nearest, shortened
from .alftexts import Budget, Reader, Scope
from .alfvalues import Values
from .alfwords import Word
from .blocks import Action, Instance, Job, Task

Actions = list[Action]
Nodes = list[Task | Instance]
RESERVED = frozenset({"title", "children", "cmds", "parallel", "argv", "before", "state", "error"})
"""Keys with a meaning of ours: an unknown option of such a name is kept with its hyphen."""
RETRIES = 3
"""Tries in all of a command that ends with an exit code of its -retryrc."""
_WHEN = {"": "always", "always": "always", "done": "success", "error": "failure"}
_HOOKS = {"whendone": "success", "whenerror": "failure", "whenalways": "always"}
_MEANT = frozenset(
    "title subtasks cmds serialsubtasks service tags maxactive priority pbias after afterjids paused pause init cleanup "
    "atleast postscript whendone whenerror whenalways retryrc minrunsecs maxrunsecs expand envkey dirmaps spoolcwd when "
    "template from to by".split()
)
"""Options that are read here; all others are only kept."""


@dataclass(frozen=True, slots=True)
class Around:
    """What is known at a place of the script from what is around it."""

    scope: Scope = field(default_factory=Scope)
    service: str = ""
    limits: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    maps: tuple[tuple[str, ...], ...] = ()
    depth: int = 0
    step: int = 0

    def expanded(self) -> dict[str, Any]:
        """What the tasks that a command prints have around them, as data that travels with it."""
        variables = {name: text for name, text in self.scope.values.items() if name not in self.scope.counted}
        given = {
            "service": self.service,
            "tags": list(self.limits),
            "env": dict(self.env),
            "cwd": self.cwd,
            "variables": variables,
        }
        return {name: value for name, value in given.items() if value}


class Builder:
    """Builds the tree of one source, once."""

    def __init__(self, source: Source) -> None:
        self.warnings: dict[str, str] = {}
        """By what they are about: each is told once."""
        self._source = source
        self._parsers = {id(source): Parser(source)}
        self._reader = Reader(self._warn, Budget())
        self._steps = Steps(Step(Expression("Job", source, 0), ""))

    def job(self) -> Job:
        """The one Job of a script."""
        paused = False
        found: list[Expression] = []
        for expression in self._parsers[id(self._source)].whole():
            if expression.operator == "set":
                paused = self._paused(expression)
            else:
                self._check(expression, "script")
                found.append(expression)
        if not found:
            raise self._source.error(0, "there is no Job in this script", shown="")
        if len(found) > 1:
            line, _ = self._source.place(found[0].at)
            raise found[1].error(f"a script has one Job, and there is another on line {line}")
        job = self._job(found[0])
        if paused:
            job["Job"]["_paused"] = True
        self._steps.check()
        job.warnings = tuple(self.warnings.values())
        return job

    def tasks(self, around: Around) -> Nodes:
        """Tasks that a command has printed."""
        expressions = self._parsers[id(self._source)].whole()
        nodes = list(self._nodes(expressions, around))
        self._steps.check()
        return nodes

    # Expressions -----------------------------------------------------------------------------------------------------

    def _job(self, expression: Expression) -> Job:
        around = self._assigned(Around(), expression)
        values = Values(self._reader, expression, around.scope)
        env, keys = values.setting()
        around = replace(
            around,
            service=self._service(values, ""),
            limits=tuple(values.names("tags")),
            env=tuple(env.items()),
            cwd=values.text("spoolcwd").strip(),
            maps=tuple(tuple(one) for one in values.maps()),
        )
        serial = values.flag("serialsubtasks")
        self._steps = Steps(Step(expression, values.text("title"), serial=serial))
        inside = {
            **self._group(values, values.text("title"), serial, around),
            **_present(
                _role=around.service,
                _limits=list(around.limits),
                _env=env,
                _cwd=around.cwd,
                _priority=self._priority(values),
                _max_active=values.whole("maxactive", 0),
                _resources=self._slots(values),
                _not_before=values.moment("after", datetime.now().astimezone()),
                _after=self._after(values),
                _paused=values.flag("paused") or values.flag("pause"),
                envkey=" ".join(keys),
            ),
        }
        return Job.of({**inside, "_on_error": "block", "_dialect": "alfred"})

    def _task(self, expression: Expression, around: Around) -> Task:
        values = Values(self._reader, expression, around.scope)
        if not expression.words and not values.has("title"):
            raise expression.error(f"this Task has no title: Task {FORMS['Task'].words}")
        if expression.words and values.has("title"):
            raise expression.error("this Task has two titles", expression.options["title"].at)
        title = values.of(expression.words[0]) if expression.words else values.text("title")
        service = self._service(values, around.service)
        serial = values.flag("serialsubtasks")
        step = self._steps.add(around.step, Step(expression, title, serial=serial))
        inner = replace(around, service=service, step=step)
        return Task.of(
            {
                **self._group(values, title, serial, inner),
                **_present(
                    _role=service if values.text("service").strip() else "", _resources=self._slots(values)
                ),
            }
        )

    def _group(self, values: Values, title: str, serial: bool, around: Around) -> dict[str, Any]:
        """What a Job and a Task have in common."""
        return {
            "title": title,
            "parallel": not serial,
            "children": list(self._block(values, "subtasks", around)),
            "cmds": self._commands(values, "cmds", around),
            **self._kept(values),
            **_present(_hooks=self._hooks(values, around)),
        }

    def _instance(self, expression: Expression, around: Around) -> Instance:
        title = Values(self._reader, expression, around.scope).of(expression.words[0])
        self._steps.add(around.step, Step(expression, title, instance=True))
        return Instance.of({"title": title})

    def _command(self, expression: Expression, around: Around) -> Action:
        values = Values(self._reader, expression, around.scope)
        inside: dict[str, Any] = {"_role": None, "_whenerror": False, "argv": values.command(expression.words[0])}
        service = self._service(values, around.service) if values.text("service").strip() else ""
        env, keys = values.setting()
        codes, longest = values.codes("retryrc"), values.number("maxrunsecs", 0)
        inside |= _present(
            _role=service,
            _limits=values.names("tags"),
            _env=env,
            _resources=self._slots(values),
            _retry={"tries": RETRIES, "on": codes} if codes else None,
            _timeout=longest,
            minrunsecs=values.number("minrunsecs", 0),
            envkey=" ".join(keys),
        )
        if values.flag("expand"):
            inside["expand"] = around.expanded()
        if around.maps and ("expand" in inside or any("%D(" in one for one in inside["argv"])):
            inside["dirmaps"] = [list(one) for one in around.maps]
        return Action.of({**inside, **self._kept(values)})

    # Blocks ----------------------------------------------------------------------------------------------------------

    def _block(self, values: Values, option: str, around: Around) -> Iterator[Task | Instance]:
        if values.has(option):
            inner = self._deeper(values, option, around)
            yield from self._nodes(self._expressions(values, values.needed(option)), inner)

    def _nodes(self, expressions: list[Expression], around: Around) -> Iterator[Task | Instance]:
        for expression in expressions:
            self._check(expression, "tasks")
            if expression.operator == "Task":
                yield self._task(expression, around)
            elif expression.operator == "Instance":
                yield self._instance(expression, around)
            else:
                yield from self._iterated(expression, around)

    def _commands(self, values: Values, option: str, around: Around) -> Actions:
        if not values.has(option):
            return []
        return list(self._calls(self._expressions(values, values.needed(option)), around, values))

    def _calls(self, expressions: list[Expression], around: Around, values: Values) -> Iterator[Action]:
        for expression in expressions:
            self._check(expression, "commands")
            if expression.operator == "Iterate":
                for inner, word in self._rounds(expression, around):
                    rounds = Values(self._reader, expression, inner.scope)
                    yield from self._calls(self._expressions(rounds, word), inner, rounds)
            else:
                yield self._command(expression, around)

    def _iterated(self, expression: Expression, around: Around) -> Iterator[Task | Instance]:
        """The template once per value. Each of its tasks comes after the -subtasks, which there are once."""
        before = list(self._block(Values(self._reader, expression, around.scope), "subtasks", around))
        yield from before
        for inner, word in self._rounds(expression, around):
            values = Values(self._reader, expression, inner.scope)
            for node in self._nodes(self._expressions(values, word), inner):
                if isinstance(node, Task):
                    instances = [self._standing_for(one, expression, inner) for one in before]
                    node["Task"]["children"][:0] = instances
                yield node

    def _standing_for(self, node: Task | Instance, expression: Expression, around: Around) -> Instance:
        title: str = node.title
        self._steps.add(around.step, Step(expression, title, instance=True))
        return Instance.of({"title": title})

    def _rounds(self, expression: Expression, around: Around) -> Iterator[tuple[Around, Word]]:
        """The template of an Iterate, with what is known in each of its rounds."""
        values = Values(self._reader, expression, around.scope)
        name = values.variable(expression.words[0])
        template = values.needed("template")
        bounds = [values.whole(option) for option in ("from", "to") if values.needed(option)]
        by = values.whole("by")
        first, last = (bound if bound is not None else 0 for bound in bounds)
        step = 1 if by is None else by
        if not step:
            raise values.source.error(values.needed("by").at, "-by 0 would never come to an end")
        numbers = range(first, last + (1 if step > 0 else -1), step)
        if len(numbers) > MAX_COUNT:
            raise expression.error(f"this Iterate has {len(numbers)} rounds, and may have {MAX_COUNT}")
        inner = self._deeper(values, "template", around)
        for number in numbers:
            self._reader.budget.expression(expression.source, expression.at)
            yield replace(inner, scope=around.scope.counting(name, number)), template

    def _expressions(self, values: Values, word: Word) -> list[Expression]:
        """What stands in the word of an option."""
        source = values.source
        if word.kind == "braced":
            return self._parsers[id(source)].inside(word)
        inner = Source(values.of(word), source.name, (source, word.at))
        parser = self._parsers[id(inner)] = Parser(inner)
        return parser.whole()

    def _deeper(self, values: Values, option: str, around: Around) -> Around:
        if around.depth >= MAX_DEPTH:
            raise values.source.error(values.needed(option).at, f"blocks stand more than {MAX_DEPTH} deep in each other")
        return replace(around, depth=around.depth + 1)

    # Options ---------------------------------------------------------------------------------------------------------

    def _assigned(self, around: Around, job: Expression) -> Around:
        """The variables of -init, wherever among the options it stands."""
        if "init" not in job.options:
            return around
        scope = Scope()
        for expression in self._expressions(Values(self._reader, job, scope), job.options["init"].word):
            self._check(expression, "assignments")
            values = Values(self._reader, expression, scope)
            scope.values[values.variable(expression.words[0])] = values.of(expression.words[1])
        return replace(around, scope=scope)

    def _hooks(self, values: Values, around: Around) -> dict[str, Actions]:
        """Commands for the end: cleanup first."""
        hooks: dict[str, Actions] = {}
        for action in self._commands(values, "cleanup", around):
            hooks.setdefault("always", []).append(action)
        if values.has("postscript"):
            for expression in self._expressions(values, values.needed("postscript")):
                self._check(expression, "commands")
                hooks.setdefault(self._when(expression, around), []).append(self._command(expression, around))
        for option, kind in _HOOKS.items():
            hooks.setdefault(kind, []).extend(self._launched(values, option, around))
        return {kind: actions for kind, actions in hooks.items() if actions}

    def _launched(self, values: Values, option: str, around: Around) -> Actions:
        """Commands, or in the older form a launch expression alone."""
        if not values.has(option) or not values.text(option).strip():
            return []
        word = values.needed(option)
        if values.text(option).split(maxsplit=1)[0] in OPERATORS:
            return self._commands(values, option, around)
        return [Action.of({"_role": None, "_whenerror": False, "argv": values.command(word)})]

    def _when(self, expression: Expression, around: Around) -> str:
        values = Values(self._reader, expression, around.scope)
        when = values.text("when").strip()
        if when not in _WHEN:
            raise values.source.error(values.needed("when").at, "-when must be done, error or always")
        return _WHEN[when]

    def _service(self, values: Values, outer: str) -> str:
        """The requirement of a place: its own, and that of what is around it."""
        own = values.service()
        if not own:
            return outer
        part = requirement(own)
        figures = list(part.figures())
        if figures:
            at = values.needed("service").at
            told = f"figures of machines such as {shortened(figures[0])} are not looked at: they are left out of -service"
            self._warn(values.source, at, "figures", told)
        left = part.without_figures()
        texts = [text for text in (outer, "" if left is None else str(left)) if text]
        return all_of(*texts) if texts else ""

    def _slots(self, values: Values) -> dict[str, int]:
        least = values.whole("atleast", 0)
        return {"slots": least} if least is not None and least > 1 else {}

    def _priority(self, values: Values) -> int | None:
        option = "priority" if values.text("priority").strip() else "pbias"
        number = values.number(option)
        if number is None:
            return None
        if number != int(number):
            told = f"priorities are whole numbers: {number:g} counts as {round(number)}"
            self._warn(values.source, values.needed(option).at, option, told)
        return round(number)

    def _after(self, values: Values) -> list[str]:
        runs = values.names("afterjids")
        for run in runs:
            if len(run) != 32 or not set(run) <= set("0123456789abcdef"):
                at = values.needed("afterjids").at
                told = f"-afterjids names runs by their ids, 32 hex characters; {shortened(run)!r} is none"
                self._warn(values.source, at, "afterjids", told)
        return runs

    def _kept(self, values: Values) -> dict[str, Any]:
        """Options that mean nothing here, under their names."""
        operator = values.expression.operator
        known = OPTIONS[operator]
        kept: dict[str, Any] = {}
        for name, option in values.expression.options.items():
            if name not in known:
                near = nearest(name, known)
                hint = f"; did you mean -{near}?" if near else ""
                told = f"option -{shortened(name)} of {operator} is not known here: it is kept, and means nothing{hint}"
                self._warn(values.source, option.at, f"-{name}", told)
            elif name in _MEANT:
                continue
            kept[f"-{name}" if name in RESERVED or name in _MEANT else name] = values.text(name)
        for name in ("resumewhile", "resumepin", "resumeblock"):
            if name in known and values.text(name):
                told = f"-{name} is kept, and means nothing: commands are not resumed"
                self._warn(values.source, values.needed(name).at, f"-{name}", told)
        return kept

    def _paused(self, expression: Expression) -> bool:
        """`set AlfJobPause 1`; any other `set` would be Tcl."""
        values = Values(self._reader, expression, Scope())
        words = [values.of(word) for word in expression.words]
        if len(words) != 2 or words[0] != "AlfJobPause" or expression.options:
            raise expression.error("set is a command of Tcl's, which is not executed, but for `set AlfJobPause 1`")
        return words[1].strip() not in ("", "0")

    # Complaints ------------------------------------------------------------------------------------------------------

    def _check(self, expression: Expression, place: Place) -> None:
        """May it stand here, and has it as many words as it takes?"""
        self._reader.budget.expression(expression.source, expression.at)
        operator = expression.operator
        if operator not in ALLOWED[place]:
            allowed = " or ".join([", ".join(ALLOWED[place][:-1]), ALLOWED[place][-1]]).removeprefix(" or ")
            raise expression.error(f"a {operator} cannot stand {PLACES[place]}, only {allowed}")
        form = FORMS[operator]
        if len(expression.words) < form.least:
            raise expression.error(f"this {operator} is not complete: {operator} {form.words}")
        if len(expression.words) > form.most:
            at = expression.words[form.most].at
            raise expression.error(f"this word is one too many for {operator}: {operator} {form.words}", at)

    def _warn(self, source: Source, at: int, about: str, told: str) -> None:
        if about not in self.warnings and len(self.warnings) < 1000:
            line, column = source.place(at)
            self.warnings[about] = f"line {line}, column {column}: {told}"


def _present(**options: Any) -> dict[str, Any]:
    """Options that say something."""
    return {name: value for name, value in options.items() if value}
