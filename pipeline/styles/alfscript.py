"""Alfred scripts: job scripts of Alfred and Tractor, read and never executed.

    ##AlfredToDo 3.0
    Job -title {Film} -serialsubtasks 1 -subtasks {
        Task {Prepare} -cmds { RemoteCmd {prepare --all} -service {linux} }
        Iterate f -from 1 -to 3 -template { Task {Frame $f} -cmds { RemoteCmd {render $f.rib} -service {render} } }
    }

The reader is our own: it knows words, expressions and options of such scripts, and no Tcl. What it makes is a block
tree, the same that is written with `headrace.blocks`; `AlfscriptError` says where a script is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path

from .alfsource import MAX_SIZE, AlfscriptError, Source
from .alftree import Builder
from .alfwriter import dumps
from .blocks import Job


def loads(text: str | bytes, name: str | os.PathLike[str] = "") -> Job:
    """The tree of a script; `name` is what complaints call it. Its `.warnings` tell what was left out, and where."""
    source = Source.of(text, str(name))
    try:
        return Builder(source).job()
    except RecursionError:
        raise source.error(0, "the script is nested too deeply to be read from here", shown="") from None


def load(path: str | os.PathLike[str]) -> Job:
    """The tree of a script in a file."""
    place = Path(path)
    with place.open("rb") as file:
        data = file.read(4 * MAX_SIZE + 1)
    return loads(data, str(place))


__all__ = ["AlfscriptError", "dumps", "load", "loads"]
