"""What a command with `-expand` has printed: tasks, which are grafted into its run as subtasks of its own task.

They come after the command and before whatever comes after it. What stood around the command in its script is around
them too: service, tags, environment and path maps. Their `-cleanup` and the like run at the end of their own task, and
before those of the task of the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..answers import Graft
from ..errors import DefinitionError
from .alfoptions import present
from .alfsource import AlfscriptError, Source
from .alftree import Around, Builder
from .tree import graft_of


def expanded(text: str | bytes, given: Mapping[str, Any], job: str) -> Graft:
    """The graft that the printed text stands for; `given` are the command's inputs, `job` is its name.

    Raises `AlfscriptError`.
    """
    source = Source.of(text, f"the output of {job}")
    around = _around(given)
    try:
        nodes = Builder(source).tasks(around)
        result = {"tasks": [node.title for node in nodes]}
        if not nodes:
            return Graft(result)
        return graft_of(nodes, name=job, before=given["before"], options=_options(around), result=result)
    except RecursionError:
        raise source.error(0, "the tasks are nested too deeply to be read from here", shown="") from None
    except AlfscriptError:
        raise
    except DefinitionError as error:
        raise source.error(0, str(error), shown="") from None


def _around(given: Mapping[str, Any]) -> Around:
    known = dict(given["expand"])
    return Around(service=known.pop("service", ""), inherited=known, maps=given.get("dirmaps", []))


def _options(around: Around) -> dict[str, Any]:
    """What the new tasks inherit."""
    known = around.inherited
    limits = tuple(known.get("tags", ()))
    return {
        "dialect": "alfred",
        **present(role=around.service, limits=limits, env=known.get("env"), cwd=known.get("cwd")),
    }
