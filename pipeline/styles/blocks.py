"""Blocks: a job as a tree of tasks and actions, written with `with`.

    with Job("Film") as film:
        Action("prepare")                      # one after the other ...
        with Task("Scenes", parallel=True):    # ... or all at once
            Action(_role="encode", source="a.mov")
            Action(_role="encode", source="b.mov")

Every block is a dict with one key, its kind, so that `json.dumps(film)` is the job file. Whatever is made inside of a
`with` becomes a child of the innermost open block. Which blocks are open belongs to the thread, and to the context of
a coroutine: two of them never mix. A block that an exception leaves is taken out again, and is empty from then on.

Keys that begin with an underscore are for the system, all others belong to the user: inputs of an action, notes of a
job or task. Nothing is checked here: `tree` says what may stand where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from .inputs import InputHandler

_open: ContextVar[tuple[Block, ...]] = ContextVar("headrace_blocks", default=())


class Block(dict[str, Any]):
    """A node of the tree: `{"Task": {"title": "Scenes", ...}}`; its keys are its attributes, too."""

    _kind: ClassVar[str]
    """The one key."""
    _beside = frozenset({"_broken"})
    """Attributes of the block itself; all others are keys of the dict inside."""
    _broken = False
    """An exception has left it: it is not what it was meant to be."""

    def _fill(self, fields: dict[str, Any]) -> None:
        dict.__setitem__(self, self._kind, fields)
        for key in ("children", "cmds"):
            _claim(fields.get(key))
        if opened := _open.get():
            opened[-1]._inside.setdefault("children", []).append(self)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """A block with these keys, which stands nowhere yet: for readers of files."""
        block = cls.__new__(cls)
        dict.__setitem__(block, cls._kind, dict(fields))
        return block

    @property
    def _inside(self) -> dict[str, Any]:
        found: dict[str, Any] = self[self._kind]
        return found

    def __getattr__(self, name: str) -> Any:
        inside = self.get(self._kind, {})
        if name in inside:
            return inside[name]
        raise AttributeError(f"{self} has no {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._beside:
            object.__setattr__(self, name, value)
        else:
            if name in ("children", "cmds"):
                value = _made(value)
                _claim(value)
            self._inside[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self._inside:
            raise AttributeError(f"{self} has no {name!r}")
        del self._inside[name]

    def __str__(self) -> str:
        inside = self.get(self._kind, {})
        shown = sorted((key, value) for key, value in inside.items() if key not in ("children", "cmds"))
        return f"{self._kind}({', '.join(f'{key}={value!r}' for key, value in shown)})"

    __repr__ = __str__


class Group(Block):
    """A block with others inside, which run one after the other, or all at once with `parallel=True`.

    `serialsubtasks` says the opposite of `parallel`. What stands under `cmds` runs after the children, always one after
    the other.
    """

    def __init__(self, /, title: str, **fields: Any) -> None:
        below = {key: _made(fields[key]) for key in ("children", "cmds") if fields.get(key) is not None}
        self._fill({"title": title, **fields, "children": [], **below})

    @property
    def parallel(self) -> bool:
        """Do its children run all at once?"""
        inside = self._inside
        return bool(inside["parallel"] if "parallel" in inside else not inside.get("serialsubtasks", True))

    @parallel.setter
    def parallel(self, value: bool) -> None:
        self._inside["parallel"] = value

    def __enter__(self) -> Self:
        _open.set((*_open.get(), self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        opened = _open.get()
        places = [at for at, block in enumerate(opened) if block is self]
        if places:
            _open.set(opened[: places[-1]])
        if error is not None:
            self._broken = True
            self._inside["children"] = []
            if rest := _open.get():
                _take_out(rest[-1]._inside.get("children", []), self)


class Task(Group):
    """A part of a job, with a title for people: `Task("Scenes", parallel=True)`."""

    _kind = "Task"


class Job(Group):
    """The whole: `Job("Film")`. It is what is submitted."""

    _kind = "Job"
    _beside = frozenset({"_broken", "_told", "warnings"})
    _told: tuple[str, ...] = ()
    """By the reader of a file."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may not be as it was meant: keys that look like slips, and what the reader of a file has left out."""
        from .tree_notes import doubts

        return (*self._told, *doubts(self))

    @warnings.setter
    def warnings(self, told: tuple[str, ...]) -> None:
        self._told = tuple(told)

    def to_pipeline(
        self, *, role: str | None = None, priority: int | None = None, inputs: InputHandler | None = None
    ) -> Pipeline:
        """The pipeline that it stands for. Raises `DefinitionError` with the path of what is wrong.

        role      for actions that have none, nor have inherited one
        priority  of the run: higher first
        inputs    keeps large inputs beside the pipeline
        """
        from .tree import pipeline_of

        return pipeline_of(self, role=role, priority=priority, inputs=inputs)

    def run(self, workers: Any = None, *, role: str | None = None, **options: Any) -> Any:
        """Run it here and now, without any daemon: `Pipeline.run` says how."""
        return self.to_pipeline(role=role).run(workers=workers, **options)


class Action(Block):
    """One piece of work: `Action("text")` is `Action(input="text")`; `_role` names the function that does it.

    With `_whenerror=True` it runs only when something around it has failed.
    """

    _kind = "Action"

    def __init__(self, text: Any = None, /, **fields: Any) -> None:
        given = {"_role": None, "_whenerror": False, **fields}
        if text is not None:
            if "input" in fields:
                raise TypeError(f"Action({text!r}, input={fields['input']!r}): the text is the input; give one of them")
            given["input"] = text
        self._fill(given)


class Instance(Block):
    """Stands for the task of that title, wherever it is: done when that one is done."""

    _kind = "Instance"

    def __init__(self, /, title: str) -> None:
        self._fill({"title": title})


def _made(blocks: Any) -> Any:
    """The blocks that an iterator yields, as a list of their own; what is no block is refused when it is read."""
    return list(blocks) if isinstance(blocks, Iterable) and not isinstance(blocks, Mapping | str) else blocks


def _claim(blocks: Any) -> None:
    """Blocks that were made inside of a `with` and then given to another block belong there."""
    if opened := _open.get():
        for block in blocks if isinstance(blocks, list | tuple) else ():
            _take_out(opened[-1]._inside.get("children", []), block)


def _take_out(blocks: list[Any], one: Any) -> None:
    for at in range(len(blocks) - 1, -1, -1):
        if blocks[at] is one:
            del blocks[at]
            return
