"""Alfred scripts: `loads(text)` and `load(path)` read them into a block tree, `dumps(tree)` writes one."""

from .pipeline.styles.alfscript import AlfscriptError, dumps, load, loads

__all__ = ["AlfscriptError", "dumps", "load", "loads"]
