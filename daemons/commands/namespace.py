"""`headrace namespace`: the packages of function tasks that job maps are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import command, json_option
from .printing import print_json, print_table, say

if TYPE_CHECKING:
    from ...pipeline.styles.namespaces import Namespace

EXAMPLES = (
    "headrace namespace new weather.stations smooth --map smooth.json",
    "headrace namespace list",
    "headrace namespace show weather.stations smooth",
)


@command("namespace", *EXAMPLES)
@click.argument("action", type=click.Choice(["new", "list", "show"]), metavar="new|list|show")
@click.argument("name", required=False)
@click.argument("methods", nargs=-1, metavar="METHOD...")
@click.option("--map", "map_file", metavar="FILE", help="of `new`: write a job map that runs the first new method")
@json_option
def namespace_command(
    action: str, name: str | None, methods: tuple[str, ...], map_file: str | None, as_json: bool
) -> None:
    """Make a namespace (or add methods to one), list them, or show definitions.

    Namespaces are the packages below the current folder with a `tasks.py` and a definition, METHOD.json, per function
    task. Definitions are shown as JSON.
    """
    if map_file is not None and action != "new":
        raise click.UsageError("--map belongs to `new`")
    if action == "list":
        if name is not None:
            raise click.UsageError("`list` lists all namespaces; `show` takes a name")
        return _list(as_json)
    if name is None:
        raise click.UsageError(f"`{action}` needs the NAME of a namespace, such as weather.stations")
    if action == "new":
        return _new(name, methods, map_file, as_json)
    return _show(name, methods, as_json)


def _new(name: str, methods: tuple[str, ...], map_file: str | None, as_json: bool) -> None:
    from ...pipeline.errors import ConfigError
    from ...pipeline.styles.scaffold import EXAMPLE, example_map, new_namespace

    if map_file is not None and Path(map_file).exists():
        raise ConfigError(f"there is a file {map_file}: it is left as it is, and nothing was made")
    written = new_namespace(Path.cwd(), name, methods)
    if map_file is not None:
        text = json.dumps(example_map(name, (*methods, EXAMPLE)[0]), indent=4)
        Path(map_file).write_text(text + "\n", encoding="utf-8")
        written.append(Path(map_file))
    if as_json:
        print_json("files", {"files": [str(path.absolute()) for path in written]})
        return
    for path in written:
        whole = path.absolute()
        say(str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole))
    if map_file is not None:
        say(f"`headrace run {map_file}` runs it")


def _list(as_json: bool) -> None:
    from ...pipeline.styles.namespaces import Namespaces

    found = list(Namespaces(Path.cwd()))
    if as_json:
        print_json("namespaces", {"namespaces": [_told(one) for one in found]})
        return
    rows = []
    for namespace in found:
        for method in namespace.methods:
            definition = namespace.definition(method)
            types = [_types(definition[field]) for field in ("consumes", "produces")]
            rows.append([namespace.name, method, *types, definition.get("description", "")])
    print_table(["namespace", "method", "consumes", "produces", "description"], rows)


def _show(name: str, methods: tuple[str, ...], as_json: bool) -> None:
    from ...pipeline.errors import NotFound
    from ...pipeline.styles.namespaces import Namespaces

    namespaces = Namespaces(Path.cwd())
    found = namespaces.get(name)
    if found is None or not found.methods:
        known = ", ".join(one.name for one in namespaces) or "none"
        raise NotFound("namespace", name, f"there are below {Path.cwd()}: {known}")
    for method in methods:
        if method not in found.methods:
            raise NotFound("method", method, f"{name} has: {', '.join(found.methods)}")
    definitions = [found.definition(method) for method in methods or found.methods]
    if as_json:
        print_json("definitions", {"namespace": name, "definitions": definitions})
    else:
        say(json.dumps(definitions[0] if len(methods) == 1 else definitions, indent=4, ensure_ascii=False))


def _told(namespace: Namespace) -> dict[str, Any]:
    definitions = [namespace.definition(method) for method in namespace.methods]
    return {"name": namespace.name, "folder": str(namespace.folder), "definitions": definitions}


def _types(given: Any) -> str:
    return ", ".join(map(str, given)) if isinstance(given, list) else str(given)
