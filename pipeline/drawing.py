"""Drawings of DOT text, made by graphviz when it is installed."""

from __future__ import annotations

import subprocess

from .errors import ConfigError

PROGRAM = "dot"
SECONDS = 60.0
"""Laying a graph out may take for ever; a drawing that nobody can read is not worth the wait."""


def svg(text: str) -> str:
    try:
        done = subprocess.run(  # the text goes in on standard input; nothing of it becomes an argument
            [PROGRAM, "-Tsvg"], input=text.encode(), capture_output=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError:
        raise ConfigError(
            f"graphviz draws pipelines, and its program `{PROGRAM}` was not found: install graphviz "
            "(`apt install graphviz`, `brew install graphviz`), or write the text with save_dot() and draw it elsewhere"
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"graphviz did not lay the pipeline out within {SECONDS:g} s: it is too large to be drawn"
        ) from None
    if done.returncode:
        raise ConfigError(f"graphviz could not draw the pipeline: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def svg_if_possible(text: str) -> str | None:
    try:
        return svg(text)
    except ConfigError:
        return None
