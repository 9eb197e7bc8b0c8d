"""From the expressions of an Alfred script to the block tree that they describe.

A Task becomes a Task: its subtasks are its `children`, which run all at once unless `-serialsubtasks 1` says otherwise,
and its commands stand under `cmds` and run after them, one after the other. A Cmd becomes an Action with `argv`, which
is tried once. Iterate is unrolled, Assign is put in. What an option means to the system stands under the name of the
system's option (`_role`, `_limits`, `_timeout`); every other option is kept under its own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .alfgrammar import ALLOWED, FORMS, OPERATORS, PLACES, Place
from .alfinstances import Step, Steps
from .alfoptions import Options, present
from .alfparser import Expression, Parser
from .alfsource import MAX_COUNT, MAX_DEPTH, Source
from .alftexts import Reader, Scope
from .alfwords import Word
from .blocks import Action, Instance, Job, Task

Actions = list[Action]
Nodes = list[Task | Instance]
_WHEN = {"": "always", "always": "always", "done": "success", "error": "failure"}
_HOOKS = {"whendone": "success", "whenerror": "failure", "whenalways": "always"}


@dataclass(frozen=True, slots=True)
class Around:
    """What is known at a place of the script from what is around it."""

    scope: Scope = field(default_factory=Scope)
    service: str = ""
    inherited: Mapping[str, Any] = field(default_factory=dict)
    """`tags`, `env` and `cwd` of the Job, for tasks that commands print."""
    maps: list[list[str]] = field(default_factory=list)
    depth: int = 0
    step: int = 0


class Builder:
    """Builds the tree of one source, once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._parsers = {id(source): Parser(source)}
        self._reader = Reader()
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
        job.warnings = self._reader.warnings
        return job

    def tasks(self, around: Around) -> Nodes:
        """Tasks that a command has printed."""
        expressions = self._parsers[id(self._source)].whole()
        nodes = list(self._nodes(expressions, around))
        self._steps.check()
        return nodes

    # Expressions -----------------------------------------------------------------------------------------------------

    def _job(self, expression: Expression) -> Job:
        scope = self._assigned(expression)
        options = self._options(expression, scope)
        env, keys = options.settings()
        self._reader.environment.update(env)
        tags, cwd = options.names("tags"), options.stripped("spoolcwd")
        inherited = present(tags=list(tags), env=env, cwd=cwd)
        around = Around(scope, options.service(), inherited, options.maps())
        title, serial = options.text("title"), options.flag("serialsubtasks")
        self._steps = Steps(Step(expression, title, serial=serial))
        inside = {
            **self._group(options, title, serial, around),
            **present(
                _role=around.service,
                _limits=list(tags),
                _env=env,
                _cwd=cwd,
                _resources=options.slots(),
                _priority=options.priority(),
                _max_active=options.whole("maxactive", 0),
                _not_before=options.moment(datetime.now().astimezone()),
                _after=options.runs(),
                _paused=options.flag("paused") or options.flag("pause"),
                envkey=keys,
            ),
        }
        return Job.of({**inside, "_on_error": "block", "_dialect": "alfred"})

    def _task(self, expression: Expression, around: Around) -> Task:
        options = self._options(expression, around.scope)
        if not expression.words and not options.has("title"):
            raise expression.error(f"this Task has no title: Task {FORMS['Task'].words}")
        if expression.words and options.has("title"):
            raise expression.error("this Task has two titles", expression.options["title"].at)
        title = options.of(expression.words[0]) if expression.words else options.text("title")
        service, serial = options.service(around.service), options.flag("serialsubtasks")
        step = self._steps.add(around.step, Step(expression, title, serial=serial))
        inside = self._group(options, title, serial, replace(around, service=service, step=step))
        own = service if options.stripped("service") else ""
        return Task.of({**inside, **present(_role=own, _resources=options.slots())})

    def _group(self, options: Options, title: str, serial: bool, around: Around) -> dict[str, Any]:
        """What a Job and a Task have in common."""
        return {
            "title": title,
            "parallel": not serial,
            "children": list(self._block(options, "subtasks", around)),
            "cmds": self._commands(options, "cmds", around),
            **options.kept(),
            **present(_hooks=self._hooks(options, around)),
        }

    def _instance(self, expression: Expression, around: Around) -> Instance:
        title = self._options(expression, around.scope).of(expression.words[0])
        self._steps.add(around.step, Step(expression, title, instance=True))
        return Instance.of({"title": title})

    def _command(self, expression: Expression, around: Around) -> Action:
        options = self._options(expression, around.scope)
        argv = options.command(expression.words[0])
        env, keys = options.settings()
        inside: dict[str, Any] = {
            **_action(argv, options.service(around.service) if options.stripped("service") else ""),
            **present(
                _limits=list(options.names("tags")),
                _env=env,
                _resources=options.slots(),
                _retry=options.retry(),
                _timeout=options.number("maxrunsecs", 0),
                minrunsecs=options.number("minrunsecs", 0),
                envkey=keys,
            ),
        }
        if options.flag("expand"):
            inside["expand"] = {**around.inherited, **present(service=around.service)}
        if around.maps and ("expand" in inside or any("%D(" in one for one in argv)):
            inside["dirmaps"] = around.maps
        return Action.of({**inside, **options.kept()})

    # Blocks ----------------------------------------------------------------------------------------------------------

    def _block(self, options: Options, option: str, around: Around) -> Iterator[Task | Instance]:
        if options.has(option):
            inner = self._deeper(options, option, around)
            yield from self._nodes(self._expressions(options, options.needed(option)), inner)

    def _nodes(self, expressions: list[Expression], around: Around) -> Iterator[Task | Instance]:
        for expression in expressions:
            self._check(expression, "tasks")
            if expression.operator == "Task":
                yield self._task(expression, around)
            elif expression.operator == "Instance":
                yield self._instance(expression, around)
            else:
                yield from self._iterated(expression, around)

    def _commands(self, options: Options, option: str, around: Around) -> Actions:
        return [self._command(*call) for call in self._calls(options, option, around)]

    def _calls(self, options: Options, option: str, around: Around) -> Iterator[tuple[Expression, Around]]:
        """The commands of a block, each with what is around it; those of Iterates one by one."""
        if not options.has(option):
            return
        for expression in self._expressions(options, options.needed(option)):
            self._check(expression, "commands")
            if expression.operator == "Iterate":
                for inner, _ in self._rounds(expression, around):
                    yield from self._calls(self._options(expression, inner.scope), "template", inner)
            else:
                yield expression, around

    def _iterated(self, expression: Expression, around: Around) -> Iterator[Task | Instance]:
        """The template once per value. Each of its tasks comes after the -subtasks, which there are once."""
        before = list(self._block(self._options(expression, around.scope), "subtasks", around))
        yield from before
        for inner, word in self._rounds(expression, around):
            options = self._options(expression, inner.scope)
            for node in self._nodes(self._expressions(options, word), inner):
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
        options = self._options(expression, around.scope)
        name = options.variable(expression.words[0])
        template = options.needed("template")
        by = options.whole("by")
        first, last = options.bound("from"), options.bound("to")
        step = 1 if by is None else by
        if not step:
            raise options.source.error(options.needed("by").at, "-by 0 would never come to an end")
        numbers = range(first, last + (1 if step > 0 else -1), step)
        if len(numbers) > MAX_COUNT:
            raise expression.error(f"this Iterate has {len(numbers)} rounds, and may have {MAX_COUNT}")
        inner = self._deeper(options, "template", around)
        for number in numbers:
            self._reader.budget.expression(expression.source, expression.at)
            yield replace(inner, scope=around.scope.counting(name, number)), template

    def _expressions(self, options: Options, word: Word) -> list[Expression]:
        """What stands in the word of an option."""
        source = options.source
        if word.kind == "braced":
            return self._parsers[id(source)].inside(word)
        inner = Source(options.of(word), source.name, (source, word.at))
        parser = self._parsers[id(inner)] = Parser(inner)
        return parser.whole()

    def _deeper(self, options: Options, option: str, around: Around) -> Around:
        if around.depth >= MAX_DEPTH:
            raise options.source.error(
                options.needed(option).at, f"blocks stand more than {MAX_DEPTH} deep in each other"
            )
        return replace(around, depth=around.depth + 1)

    # Ends and beginnings ----------------------------------------------------------------------------------------------

    def _assigned(self, job: Expression) -> Scope:
        """The variables of -init, wherever among the options it stands."""
        scope = Scope()
        if "init" in job.options:
            for expression in self._expressions(self._options(job, scope), job.options["init"].word):
                self._check(expression, "assignments")
                options = self._options(expression, scope)
                scope.assign(options.variable(expression.words[0]), options.of(expression.words[1]))
        return scope

    def _hooks(self, options: Options, around: Around) -> dict[str, Actions]:
        """Commands for the end: cleanup first."""
        hooks: dict[str, Actions] = {"always": self._commands(options, "cleanup", around)}
        for call in self._calls(options, "postscript", around):
            hooks.setdefault(self._when(*call), []).append(self._command(*call))
        for option, kind in _HOOKS.items():
            hooks.setdefault(kind, []).extend(self._launched(options, option, around))
        return {kind: actions for kind, actions in hooks.items() if actions}

    def _launched(self, options: Options, option: str, around: Around) -> Actions:
        """Commands, or in the older form a launch expression alone."""
        text = options.stripped(option)
        if not text:
            return []
        word = options.needed(option)
        first = self._parsers[id(options.source)].first(word) if word.kind == "braced" else text.split()[0]
        if first in OPERATORS or not first:
            return self._commands(options, option, around)
        return [Action.of(_action(options.command(word)))]

    def _when(self, expression: Expression, around: Around) -> str:
        options = self._options(expression, around.scope)
        when = options.stripped("when")
        if when not in _WHEN:
            options.refuse("when", "done, error or always")
        return _WHEN[when]

    def _paused(self, expression: Expression) -> bool:
        """`set AlfJobPause 1`; any other `set` would be Tcl."""
        options = self._options(expression, Scope())
        words = [options.of(word) for word in expression.words]
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

    def _options(self, expression: Expression, scope: Scope) -> Options:
        return Options(self._reader, expression, scope)


def _action(argv: list[str], service: str = "") -> dict[str, Any]:
    return {"_role": service or None, "_whenerror": False, "argv": argv}
