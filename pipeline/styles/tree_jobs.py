"""What one action of a tree becomes: a job that calls the function of its role, or runs a command line.

An action under `cmds` with an `argv`, or with an `argv` and no role at all, is a command: its arguments are run without
a shell, and its role, which may be an expression, says where. Any other is a call: its role is the name of the worker
and the place. The built-in `echo` is called when there is no role; `cmd` and `shell` run shell text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..checks import clean
from ..definition import CommandLine
from ..errors import DefinitionError
from ..job import Job
from ..options import Retry
from .inputs import HELD, InputHandler
from .tree_nodes import INHERITED, ActionNode

ECHO = "echo"
SHELLS = frozenset({"cmd", "shell"})
RETRY = Retry(3, delay=0.5, factor=2)
"""A call that fails is tried again; a command is not, unless it says so."""
HANDLER_WAIT = 3600.0
"""Seconds that a handler of errors waits for a place, when it does not say: a farm may be busy."""
HIGHEST = 100
"""Priority by position ends here: it orders what is under way, and must not bury what others have submitted."""
_EXPRESSION = frozenset("&|!(), ")


class Place(NamedTuple):
    """Where in the tree a node stands."""

    name: str
    """What the names of its jobs begin with."""
    titles: tuple[str, ...]
    """From the job down."""
    inherited: Mapping[str, Any]
    """Options of actions that stand on what is around them."""

    def inside(self, name: str, title: str, options: Mapping[str, Any]) -> Place:
        return Place(name, (*self.titles, title), inherited(self.inherited, options))


def inherited(outer: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The nearest counts; limits, resources and environments add up."""
    options = {**outer, **{option: value for option, value in own.items() if option in INHERITED}}
    for option in ("resources", "env"):
        if option in outer and option in own:
            options[option] = {**outer[option], **own[option]}
    if "limits" in outer and "limits" in own:
        options["limits"] = tuple(dict.fromkeys((*outer["limits"], *own["limits"])))
    return options


class Jobs:
    """Makes jobs of actions. `role` is for those that have none; `inputs` keeps large inputs elsewhere."""

    def __init__(self, role: str | None, inputs: InputHandler | None) -> None:
        self._role = role
        self._inputs = inputs

    def of(self, node: ActionNode, place: Place, name: str, number: int, priority: int) -> Job:
        """The job in the graph."""
        options = {"priority": min(priority, HIGHEST), **inherited(place.inherited, node.options), **_own(node)}
        return self._made(node, place, name, number, options, handles=False)

    def handler(self, node: ActionNode, place: Place, name: str, number: int) -> Job:
        """The same as a hook, which is also told how its group has ended."""
        options = {"queue_timeout": HANDLER_WAIT, **inherited(place.inherited, node.options), **_own(node)}
        return self._made(node, place, name, number, options, handles=True)

    def _made(
        self, node: ActionNode, place: Place, name: str, number: int, options: dict[str, Any], handles: bool
    ) -> Job:
        cwd, env, dialect = options.pop("cwd", None), options.pop("env", {}), options.pop("dialect", "")
        argv = self._argv(node, options)
        inputs = dict(node.inputs)
        if argv is not None:
            del inputs["argv"]
            options["command"] = CommandLine(argv=argv, cwd=cwd, env=env, dialect=dialect)
            return Job(None, inputs or None, name=name, bind="literal", **options)
        worker = self._worker(node, options)
        if worker in SHELLS:
            inputs = {**_present(cwd=cwd, env=env), **inputs}
        data = dict(self._inputs.packed(inputs, (*place.titles, f"Action{number}")) if self._inputs else inputs)
        options.setdefault("retry", RETRY)
        return Job(worker, {HELD: data} if handles else data, name=name, bind="literal", **options)

    def _argv(self, node: ActionNode, options: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The command line, if it is one."""
        argv = node.inputs.get("argv")
        if "argv" not in node.inputs or not (node.command or "role" not in options):
            return None
        texts = isinstance(argv, list | tuple) and all(isinstance(one, str) and "\0" not in one for one in argv)
        if not texts or not argv:
            raise DefinitionError(f"{node.path}: argv must be a list of texts that is not empty, not {argv!r:.100}")
        return tuple(clean(node.path, f"argv[{at}]", one) for at, one in enumerate(argv))

    def _worker(self, node: ActionNode, options: dict[str, Any]) -> str:
        if self._role is not None:
            options.setdefault("role", self._role)
        role: str = options.get("role", ECHO)
        if not _EXPRESSION.isdisjoint(role):
            raise DefinitionError(
                f"{node.path}: the role {role!r} is an expression, which says where a command may run; "
                "to call a function, give the name of its role"
            )
        return role


def _own(node: ActionNode) -> dict[str, Any]:
    return {option: value for option, value in node.options.items() if option not in INHERITED and option != "name"}


def _present(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}
