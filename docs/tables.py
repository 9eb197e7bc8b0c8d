"""Reference tables, read from the code: options, settings, commands, messages, facts, errors."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

import click
import examples
import msgspec

from headrace.daemons import config, protocol
from headrace.daemons.cli import COMMANDS, commands
from headrace.daemons.commands import exits
from headrace.daemons.settings import as_text
from headrace.pipeline import errors, facts
from headrace.pipeline.job import Job
from headrace.pipeline.pipeline import Pipeline

_OPTION = re.compile(r"(\w+) {2,}(\S.*)")
_HEADING = re.compile(r"^# (\w[\w :]+?) -{3,}$")
EXIT_MEANINGS = {
    "OK": "done; of `submit --wait`, `watch` and `run`: the run succeeded",
    "FAILED": "the run failed, or the command could not do its work",
    "USAGE": "the command line, a setting, a file or a request is wrong",
    "NOT_FOUND": "there is no such run, job or result",
    "UNREACHABLE": "no Router answered, or it was too busy to",
    "TIMED_OUT": "`--timeout` is over; the run goes on",
    "INTERRUPTED": "Ctrl-C",
}


def table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(headers), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    return f"`{text}`"


def first_sentence(thing: Any) -> str:
    """Of its own docstring, on one line."""
    paragraph = " ".join((thing.__dict__.get("__doc__") or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", paragraph)[0]


# Options ------------------------------------------------------------------------------------------------------------


def options_of(kind: type[Any], shown: Mapping[str, examples.Example]) -> str:
    """The options that the class's docstring explains, with the defaults of its signature and an example each."""
    parameters = inspect.signature(kind).parameters
    lines = [line for one in (inspect.getdoc(kind) or "").splitlines() if (line := _OPTION.fullmatch(one))]
    rows = [(code(one[1]), code(repr(parameters[one[1]].default)), one[2], str(shown[one[1]])) for one in lines]
    return table(["option", "default", "meaning", "example"], rows)


def examples_of(several: Iterable[examples.Row], what: str) -> Callable[[], str]:
    return lambda: table([what, "meaning", "example"], examples.rows(several))


def verbs() -> str:
    return table(["verb", "meaning", "example", "command line"], examples.verb_rows())


def settings_table() -> str:
    return "\n\n".join(f"### [{section.section}]\n\n{_settings_of(section)}" for section in config.SECTIONS)


def _settings_of(section: type[Any]) -> str:
    rows = []
    for one in config.fields_of(section):
        default = "" if one.default in (None, {}) else code(as_text(one.default))
        rows.append((code(one.key), code(config.variable(one.name)), default, one.help))
    return table(["key, and flag `--key`", "environment", "default", "meaning"], rows)


# The command line ---------------------------------------------------------------------------------------------------


def command_pages() -> str:
    context = click.Context(commands)
    parts = []
    for heading, names in COMMANDS.items():
        parts.append(f"## {heading}")
        for name in names:
            found = commands.get_command(context, name)
            assert found is not None
            parts.append("\n\n".join([f"### headrace {name}", *_command(found, name)]))
    return "\n\n".join(parts)


def _command(command: click.Command, name: str) -> Iterator[str]:
    arguments = [_argument(one) for one in command.params if isinstance(one, click.Argument)]
    yield f"```text\n{' '.join(['headrace', name, '[OPTIONS]', *arguments])}\n```"
    yield inspect.cleandoc(command.help or "")
    rows = [_option(one) for one in command.params if isinstance(one, click.Option) and not one.hidden]
    if rows:
        yield table(["option", "meaning"], rows)
    examples = getattr(command, "examples", ())
    yield "Examples:\n\n```text\n" + "\n".join(examples) + "\n```"


def _argument(one: click.Argument) -> str:
    shown = one.metavar or (one.name or "").upper()
    return shown if one.required else f"[{shown}]"


def _option(one: click.Option) -> tuple[str, str]:
    flags = "/".join([*one.opts, *one.secondary_opts])
    if isinstance(one.type, click.Choice):
        flags += f" {'|'.join(map(str, one.type.choices))}"
    elif not one.is_flag:
        flags += f" {one.metavar or 'N'}"
    default = f"  [{one.default}]" if one.show_default else ""
    return code(flags), f"{one.help or ''}{default}"


def exit_codes() -> str:
    rows = [(code(str(getattr(exits, name))), meaning) for name, meaning in EXIT_MEANINGS.items()]
    return table(["code", "meaning"], rows)


# The wire and the journal -------------------------------------------------------------------------------------------


def message_tables() -> str:
    """The messages by direction, as `protocol.py` groups them."""
    known = {kind.__name__: kind for kind in (*get_args(protocol.ToRouter), *get_args(protocol.FromRouter))}
    parts = []
    for heading, names in _sections(inspect.getsource(protocol)):
        rows = [(code(name), ", ".join(map(code, _fields(known[name]))), first_sentence(known[name])) for name in names]
        if rows:
            parts.append(f"### {heading}\n\n{table(['message', 'fields', 'meaning'], rows)}")
    return "\n\n".join(parts)


def _sections(source: str) -> Iterator[tuple[str, list[str]]]:
    heading, names = "", []
    for line in source.splitlines():
        if found := _HEADING.match(line):
            yield heading, names
            heading, names = found[1], []
        elif (found := re.match(r"class (\w+)\(Message, .*tag=", line)) is not None:
            names.append(found[1])
    yield heading, names


def fact_table() -> str:
    kinds = get_args(facts.Fact)
    rows = [(code(kind.__name__), ", ".join(map(code, _fields(kind))), first_sentence(kind)) for kind in kinds]
    return table(["fact", "fields", "meaning"], rows)


def event_schema() -> str:
    """Every fact with its fields, their types and what stands below them in the code."""
    structs = {node.name: node for node in ast.parse(inspect.getsource(facts)).body if isinstance(node, ast.ClassDef)}
    kinds = get_args(facts.Fact)
    parts = [_schema(f"### {kind.__struct_config__.tag}", kind, structs[kind.__name__]) for kind in kinds]
    inside = (facts.Signs, facts.Failure, facts.CacheNote, facts.RunError, facts.Parent)
    parts += [_schema(f"### Inside of facts: {kind.__name__}", kind, structs[kind.__name__]) for kind in inside]
    return "\n\n".join(parts)


def _schema(heading: str, kind: type[msgspec.Struct], struct: ast.ClassDef) -> str:
    rows = []
    for node, after in zip(struct.body, [*struct.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            default = "" if node.value is None else code(ast.unparse(node.value))
            rows.append(
                (code(ast.unparse(node.target)), code(ast.unparse(node.annotation)), default, " ".join(text.split()))
            )
    own = inspect.cleandoc(kind.__dict__.get("__doc__") or "")  # not that of msgspec.Struct
    return "\n\n".join([heading, *([own] if own else []), table(["field", "type", "default", "meaning"], rows)])


def _fields(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return kind.__struct_fields__


def error_tree() -> str:
    """As the module draws it."""
    lines = (inspect.getdoc(errors) or "").splitlines()
    drawn = [line for line in lines if line.startswith("    ")]
    return "```text\n" + inspect.cleandoc("\n".join(drawn)) + "\n```"


TABLES: dict[str, Callable[[], str]] = {
    "job options": lambda: options_of(Job, examples.JOB),
    "bindings": examples_of(examples.BINDINGS, "`bind`"),
    "retry options": examples_of(examples.RETRY, "option"),
    "gather options": examples_of(examples.GATHER, "option"),
    "answers": examples_of(examples.ANSWERS, "a worker returns"),
    "pipeline options": lambda: options_of(Pipeline, examples.PIPELINE),
    "run options": examples_of(examples.RUN_HERE, "option"),
    "verbs": verbs,
    "settings": settings_table,
    "commands": command_pages,
    "exit codes": exit_codes,
    "messages": message_tables,
    "facts": fact_table,
    "events": event_schema,
    "errors": error_tree,
}
"""By the name of the part that a page asks for."""
