"""The graph of a step, to be looked at: SVG in notebooks, DOT text elsewhere."""

from __future__ import annotations

from pathlib import Path

from ..dot import dot_text
from ..drawing import svg, svg_if_possible
from .stepgraph import StepGraph
from .steps import Step


class StepDrawing:
    """All steps that a head needs, whatever its Contexts hold, with arrows from each to what depends on it."""

    def __init__(self, head: Step) -> None:
        from .stepjobs import whole

        self._text = dot_text(whole(StepGraph(head)))

    def save_dot(self, filename: str | Path, encoding: str = "utf-8") -> None:
        """Write the DOT text into a file."""
        Path(filename).write_text(f"{self}\n", encoding=encoding)

    def to_svg(self) -> str:
        """The drawing. Needs graphviz; a `ConfigError` says so when it is not installed."""
        return svg(self._text)

    def _repr_svg_(self) -> str | None:
        return svg_if_possible(self._text)

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__
