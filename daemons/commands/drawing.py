"""`headrace dot`: a pipeline, or a run's pipeline, as text for graphviz."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import click

from ..config import ClientConfig
from .connecting import connect
from .options import command, json_option, settings
from .printing import print_json, prints_aside, say

if TYPE_CHECKING:
    from ...pipeline.definition import Definition

_ID = re.compile(r"[0-9a-fA-F]{1,32}")


@command("dot", "headrace dot pipeline.py", "headrace dot pipelines:nightly", "headrace dot 3f9a | dot -Tsvg > run.svg")
@click.argument("target", metavar="FILE|ID")
@json_option
@settings(ClientConfig)
def dot_command(target: str, as_json: bool, **given: Any) -> None:
    """Print the DOT text of a pipeline in a file or module, or of a run."""
    text = _of_run(target, given) if is_id(target) else _of_file(target)
    if as_json:
        print_json("dot", {"target": target, "dot": text})
    else:
        say(text)


def is_id(target: str) -> bool:
    """An id or its beginning; a file of that name comes first."""
    return bool(_ID.fullmatch(target)) and not os.path.exists(target)


def _of_file(target: str) -> str:
    from ...pipeline.loading import load

    with prints_aside():
        return str(load(target))


def _of_run(target: str, given: dict[str, Any]) -> str:
    with connect(given) as cluster:
        return definition_text(cluster.definition(cluster.find(target)))


def definition_text(definition: Definition) -> str:
    """Gates are drawn as points: they do no work."""
    from ...pipeline.dot import quoted

    names = [quoted(node.name) for node in definition.nodes]
    lines = ["digraph graphname {"]
    for node, name in zip(definition.nodes, names, strict=True):
        lines.append(f"    {name} [shape=point];" if node.kind == "gate" else f"    {name};")
    lines.append("")
    lines.extend(f"    {names[source]} -> {names[target]};" for source, target, _ in definition.edges)
    return "\n".join([*lines, "}"])
