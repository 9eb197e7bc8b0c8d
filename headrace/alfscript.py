"""Alfred scripts: `loads(text)` and `load(path)` read them into a block tree."""

from .pipeline.styles.alfscript import AlfscriptError, load, loads

__all__ = ["AlfscriptError", "load", "loads"]
