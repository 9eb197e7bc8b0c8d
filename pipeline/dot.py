"""A pipeline as DOT text, for graphviz: jobs and edges in order of first appearance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline import Pipeline

NOWHERE = "(None)"
_ENTITY = re.compile(r"&(?=#?\w+;)")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\0": r"\\0"})


def dot_text(pipeline: Pipeline) -> str:
    names = [quoted(job.name) for job in pipeline.jobs]
    lines = ["digraph graphname {"]
    lines.extend(f"    {name};" for name in names)
    lines.append("")
    nowhere = quoted(NOWHERE)
    lines.extend(
        f"    {names[source]} -> {nowhere if target is None else names[target]};" for source, target in pipeline.edges
    )
    lines.append("}")
    return "\n".join(lines)


def quoted(name: str) -> str:
    """A name as DOT text that draws exactly that name: graphviz reads escapes and HTML entities in it."""
    return f'"{_ENTITY.sub("&amp;", name).translate(_ESCAPES)}"'
